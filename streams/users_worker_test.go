package streams_test

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
	"kondate/streams"
)

// A worker takes the requests of its stage and answers them, several times each.
func TestWorkerAnswers(t *testing.T) {
	t.Parallel()
	onBothServers(t, [][4]string{{"ops", "admin"}, {"kondate", "server"}, {"one", "worker", "a", "allergen"}, {"all", "worker", "*", "task6"}}, workerAnswers)
}

func workerAnswers(g *guests) {
	t := g.t
	asker, _ := g.conn(t, "kondate")
	for name, subject := range map[string]string{"one": streams.WorkSubject("a", menu.Allergen), "all": streams.WorkFilter(menu.Task6)} {
		worker, denied := g.conn(t, name)
		stage, err := menu.ParseStage(g.users[name].Stage)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := worker.QueueSubscribe(subject, streams.WorkQueue(stage), func(msg *nats.Msg) {
			for range 3 {
				// What an answer asks for as its own answer is nobody's: the broker answers nothing here.
				_ = worker.PublishMsg(&nats.Msg{Subject: msg.Reply, Reply: "menu.evt.a.forged.menu.submitted", Data: msg.Data})
			}
		}); err != nil {
			t.Fatal(err)
		}
		if err := denied(); err != nil {
			t.Fatal(err)
		}
		inbox, err := asker.SubscribeSync(asker.NewInbox())
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := asker.PublishRequest(streams.WorkSubject("a", stage), inbox.Subject, []byte(name)); err != nil {
				t.Fatal(err)
			}
		}
		for range 6 {
			if msg, err := inbox.NextMsg(patience); err != nil || string(msg.Data) != name {
				t.Fatalf("%s answered %+v, %v", name, msg, err)
			}
		}
		if err := denied(); err != nil {
			t.Error(err)
		}
		if err := worker.Drain(); err != nil {
			t.Error(err)
		}
	}
}

func TestWorkerMayNot(t *testing.T) {
	t.Parallel()
	onBothServers(t, [][4]string{{"ops", "admin"}, {"one", "worker", "a", "allergen"}}, workerMayNot)
}

func workerMayNot(g *guests) {
	t := g.t
	admin := g.jetStream(t, "ops")
	g.append(t, admin, "a")
	before := g.state(t, admin)
	nc, denied := g.conn(t, "one")
	for _, sub := range [][2]string{
		{">", ""},
		{"_INBOX.>", ""},
		{"menu.evt.>", ""},
		{"menu.evt.a.>", ""},
		{"menu.retry.>", ""},
		{"sse.>", ""},
		{"$JS.>", ""},
		{"$SYS.>", ""},
		{"$O.>", ""},
		// Requests belong to one worker of the group, and a group of its own would get all of them.
		{"menu.work.a.allergen", ""},
		{"menu.work.a.allergen", "other"},
		// Other tenants.
		{"menu.work.*.allergen", "work-allergen"},
		{"menu.work.b.allergen", "work-allergen"},
		// Other stages.
		{"menu.work.a.translation", "work-allergen"},
		{"menu.work.a.*", "work-allergen"},
		{"menu.work.a.translation", "work-translation"},
		{"menu.stages.report", ""},
	} {
		if _, err := nc.QueueSubscribeSync(sub[0], sub[1]); err != nil { // an empty queue is none
			t.Fatal(err)
		}
		if err := denied(); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("a worker may subscribe to %s in queue %q: %v", sub[0], sub[1], err)
		}
	}
	for _, subject := range []string{
		"menu.evt.a.s1.allergen.completed", "menu.evt.b.s1.allergen.completed", "menu.retry.due.allergen", "menu.work.a.allergen", "menu.stages.report",
		"sse.a.s1.progress", "_INBOX.guessed.1", "$O.MENU_IMAGES.M.eA", "$JS.ACK.MENU_EVENTS.stage-allergen-v1.1.1.1.0.0",
		"$JS.API.INFO", "$JS.API.STREAM.INFO.MENU_EVENTS", "$JS.API.CONSUMER.CREATE.MENU_EVENTS", "$JS.API.DIRECT.GET.MENU_EVENTS." + mine,
		"$JS.API.STREAM.DELETE.MENU_EVENTS", "$SYS.REQ.SERVER.PING",
	} {
		if err := nc.PublishRequest(subject, "menu.evt.a.forged.menu.submitted", nil); err != nil {
			t.Fatal(err)
		}
		if err := denied(); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("a worker may publish on %s: %v", subject, err)
		}
	}
	if after := g.state(t, admin); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}
}

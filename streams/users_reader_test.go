package streams_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
	"kondate/streams/natstest"
)

// A reader reads its tenant's events, and no others, in each of the three ways that it has.
func TestReaderReads(t *testing.T) {
	t.Parallel()
	onBothServers(t, [][4]string{{"ops", "admin"}, {"alpha", "reader", "a"}, {"everything", "reader", "*"}}, readerReads)
}

func readerReads(g *guests) {
	t := g.t
	admin := g.jetStream(t, "ops")
	g.append(t, admin, "a")
	g.append(t, admin, "b")
	for _, reader := range []struct {
		name string
		want int
	}{{"alpha", 3}, {"everything", 6 + 2}} { // the second one also gets what the first one is told live
		name, want := reader.name, reader.want
		js := g.jetStream(t, name)
		live, err := js.Conn().SubscribeSync(">")
		if err != nil {
			t.Fatal(err)
		}
		if err := js.Conn().Flush(); err != nil {
			t.Fatal(err)
		}
		consumer, err := js.Consumer(t.Context(), streams.EventStream, streams.TeamConsumer(name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := consumer.Fetch(10, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for msg := range got.Messages() {
			if name == "alpha" && !strings.HasPrefix(msg.Subject(), "menu.evt.a.") {
				t.Errorf("%s got %s", name, msg.Subject())
			}
			if err := msg.DoubleAck(t.Context()); err != nil {
				t.Errorf("%s cannot acknowledge: %v", name, err)
			}
			n++
		}
		info, err := consumer.Info(t.Context())
		if err != nil || n != want || got.Error() != nil || info.NumAckPending != 0 || info.AckFloor.Consumer != uint64(n) {
			t.Errorf("%s got %d events, %+v, %v, %v; want %d", name, n, info, err, got.Error(), want)
		}
		last, err := js.Conn().Request("$JS.API.DIRECT.GET.MENU_EVENTS.menu.evt.a.s1.menu.completed", nil, patience)
		if err != nil || string(last.Data) != `{"of":"a"}` {
			t.Errorf("%s cannot read the last event on a subject: %+v, %v", name, last, err)
		}
		if _, err := admin.Publish(t.Context(), "menu.evt.b.s2.menu.expired", []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.Publish(t.Context(), "menu.evt.a.s2.menu.expired", []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		for msg, err := live.NextMsg(patience); msg == nil || msg.Subject != "menu.evt.a.s2.menu.expired"; msg, err = live.NextMsg(patience) {
			if err != nil {
				t.Fatalf("%s does not hear an event: %v", name, err)
			}
			if name == "alpha" && strings.HasPrefix(msg.Subject, "menu.evt.b.") {
				t.Errorf("%s hears %s", name, msg.Subject)
			}
		}
	}
}

// attack is a message that a reader of the tenant a sends. None may be answered with anything that is not its own, and
// none may change anything.
type attack struct {
	subject, reply, body string
	header               nats.Header
}

const (
	api = "$JS.API."
	// foreign and mine are events that exist.
	foreign = "menu.evt.b.s1.menu.submitted"
	mine    = "menu.evt.a.s1.menu.submitted"
)

func attacks() []attack {
	consumer := func(more string) string {
		return `{"stream_name":"MENU_EVENTS","config":{"ack_policy":"none",` + more + `}}`
	}
	all := []attack{
		// Consumers of its own, in every way in which the server has ever made them.
		{subject: api + "CONSUMER.CREATE.MENU_EVENTS.x.menu.evt.b.>", body: consumer(`"name":"x","filter_subject":"menu.evt.b.>"`)},
		{subject: api + "CONSUMER.CREATE.MENU_EVENTS.x.menu.evt.a.>", body: consumer(`"name":"x","filter_subject":"menu.evt.b.>"`)},
		{subject: api + "CONSUMER.CREATE.MENU_EVENTS.x", body: consumer(`"name":"x","filter_subjects":["menu.evt.a.>","menu.evt.b.>"]`)},
		{subject: api + "CONSUMER.CREATE.MENU_EVENTS", body: consumer(`"filter_subject":"menu.evt.b.>"`)},
		{subject: api + "CONSUMER.DURABLE.CREATE.MENU_EVENTS.x", body: consumer(`"durable_name":"x","filter_subject":"menu.evt.b.>"`)},
		{subject: api + "CONSUMER.CREATE.MENU_EVENTS.team-alpha", body: consumer(`"durable_name":"team-alpha","name":"team-alpha","filter_subject":"menu.evt.>"`)},
		{subject: api + "CONSUMER.CREATE.MENU_EVENTS.team-alpha.menu.evt.>", body: consumer(`"durable_name":"team-alpha","name":"team-alpha","filter_subject":"menu.evt.>"`)},
		{subject: api + "CONSUMER.CREATE.MENU_EVENTS.x.menu.evt.a.>", body: consumer(`"name":"x","filter_subject":"menu.evt.a.>","deliver_subject":"menu.retry.due.allergen"`)},
		{subject: api + "CONSUMER.CREATE.MENU_RETRIES.x", body: `{"stream_name":"MENU_RETRIES","config":{"name":"x","ack_policy":"none"}}`},
		// Reads past a consumer.
		{subject: api + "DIRECT.GET.MENU_EVENTS", body: `{"seq":4}`},
		{subject: api + "DIRECT.GET.MENU_EVENTS", body: `{"multi_last":["menu.evt.>"]}`},
		{subject: api + "DIRECT.GET.MENU_EVENTS." + foreign},
		{subject: api + "DIRECT.GET.MENU_EVENTS.menu.evt.*.s1.menu.submitted"},
		{subject: api + "DIRECT.GET.MENU_EVENTS.menu.evt.>"},
		{subject: api + "DIRECT.GET.MENU_EVENTS." + mine, body: `{"seq":4}`},
		{subject: api + "DIRECT.GET.MENU_EVENTS." + mine, body: `{"seq":1,"next_by_subj":"menu.evt.b.>"}`},
		{subject: api + "DIRECT.GET.MENU_EVENTS." + mine, body: `{"multi_last":["menu.evt.b.>"],"batch":10}`},
		{subject: api + "DIRECT.GET.MENU_EVENTS." + mine, body: `{"last_by_subj":"` + foreign + `"}`},
		{subject: api + "STREAM.MSG.GET.MENU_EVENTS", body: `{"seq":4}`},
		{subject: api + "STREAM.MSG.GET.OBJ_MENU_IMAGES", body: `{"seq":1}`},
		// What belongs to others.
		{subject: api + "CONSUMER.MSG.NEXT.MENU_EVENTS.team-beta", body: `{"batch":10}`},
		{subject: api + "CONSUMER.MSG.NEXT.MENU_EVENTS.stage-allergen-v1", body: `{"batch":10}`},
		{subject: api + "CONSUMER.MSG.NEXT.MENU_RETRIES.stage-allergen-retry-v1", body: `{"batch":10}`},
		{subject: api + "CONSUMER.INFO.MENU_EVENTS.team-beta"},
		{subject: api + "CONSUMER.DELETE.MENU_EVENTS.team-beta"},
		{subject: api + "CONSUMER.DELETE.MENU_EVENTS.team-alpha"},
		{subject: api + "CONSUMER.PAUSE.MENU_EVENTS.stage-allergen-v1", body: `{"pause_until":"2999-01-01T00:00:00Z"}`},
		{subject: api + "CONSUMER.RESET.MENU_EVENTS.team-beta", body: `{"seq":1}`},
		{subject: api + "CONSUMER.LEADER.STEPDOWN.MENU_EVENTS.team-beta"},
		{subject: api + "CONSUMER.NAMES.MENU_EVENTS"},
		{subject: api + "CONSUMER.LIST.MENU_EVENTS"},
		{subject: "$JS.ACK.MENU_EVENTS.team-beta.1.4.1.0.0", body: "+TERM"},
		{subject: "$JS.ACK.MENU_EVENTS.stage-allergen-v1.1.1.1.0.0", body: "+TERM"},
		// The streams.
		{subject: api + "STREAM.PURGE.MENU_EVENTS"},
		{subject: api + "STREAM.DELETE.MENU_EVENTS"},
		{subject: api + "STREAM.UPDATE.MENU_EVENTS", body: `{"name":"MENU_EVENTS","subjects":["menu.evt.>"],"republish":{"src":">","dest":"leak.>"}}`},
		{subject: api + "STREAM.MSG.DELETE.MENU_EVENTS", body: `{"seq":4}`},
		{subject: api + "STREAM.CREATE.LEAK", body: `{"name":"LEAK","sources":[{"name":"MENU_EVENTS"}]}`},
		{subject: api + "STREAM.SNAPSHOT.MENU_EVENTS", body: `{"deliver_subject":"leak"}`},
		{subject: api + "STREAM.INFO.MENU_EVENTS", body: `{"subjects_filter":">"}`},
		{subject: api + "STREAM.NAMES"},
		{subject: api + "STREAM.LIST"},
		{subject: api + "STREAM.LEADER.STEPDOWN.MENU_EVENTS"},
		{subject: api + "META.LEADER.STEPDOWN"},
		{subject: api + "INFO"},
		{subject: api + "STREAM.INFO.MENU_EVENTS", header: nats.Header{"Nats-Request-Info": {`{"acc":"KONDATE","svc":"KONDATE"}`}}},
		{subject: "$SYS.REQ.SERVER.PING"},
		{subject: "$SYS.REQ.ACCOUNT.KONDATE.CONNZ"},
		{subject: "$SYS.REQ.ACCOUNT.$G.CONNZ"},
		{subject: "$SYS.REQ.ACCOUNT.KONDATE.INFO"},
	}
	// Writing, directly and by having the broker do it: what answers a request, or traces it, goes where the sender says.
	for _, target := range []string{
		foreign, mine, "menu.evt.b.forged.menu.submitted", "menu.retry.due.allergen", "menu.retry.at.allergen.x", "menu.work.a.allergen",
		"menu.stages.report", "sse.a.s1.progress", "$O.MENU_IMAGES.M.eA", "$JS.ACK.MENU_EVENTS.team-beta.1.4.1.0.0",
	} {
		all = append(
			all,
			attack{subject: target, body: `{}`},
			attack{subject: target, body: `{}`, header: nats.Header{"Nats-Rollup": {"all"}}},
			attack{subject: api + "CONSUMER.MSG.NEXT.MENU_EVENTS.team-alpha", reply: target, body: `{"batch":1,"no_wait":true}`},
			attack{subject: api + "CONSUMER.INFO.MENU_EVENTS.team-alpha", reply: target},
			attack{subject: api + "DIRECT.GET.MENU_EVENTS." + mine, reply: target},
			attack{subject: "$JS.ACK.MENU_EVENTS.team-alpha.1.1.1.0.0", reply: target, body: "+NXT"},
			attack{subject: "$JS.ACK.MENU_EVENTS.team-alpha.1.1.1.0.0", reply: target},
			attack{subject: api + "CONSUMER.INFO.MENU_EVENTS.team-alpha", header: nats.Header{"Nats-Trace-Dest": {target}}},
			attack{subject: api + "DIRECT.GET.MENU_EVENTS." + mine, header: nats.Header{"Nats-Trace-Dest": {target}, "Nats-Trace-Only": {"true"}}},
		)
	}
	return all
}

func TestReaderMayNot(t *testing.T) {
	t.Parallel()
	onBothServers(t, [][4]string{{"ops", "admin"}, {"alpha", "reader", "a"}, {"beta", "reader", "b"}}, readerMayNot)
}

func readerMayNot(g *guests) {
	t := g.t
	admin := g.jetStream(t, "ops")
	g.append(t, admin, "a")
	g.append(t, admin, "b")
	inside := g.listen(t, "ops", "menu.>", "sse.>", "leak.>", "leak", "$O.>", "$JS.ACK.MENU_EVENTS.team-beta.>", "$JS.ACK.MENU_EVENTS.stage-allergen-v1.>",
		"$JS.API.STREAM.>", "$JS.API.META.>", "$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.DELETE.>", "$JS.API.CONSUMER.*.*.team-beta")
	other, own := g.listen(t, "beta", ">"), g.listen(t, "alpha", ">")
	before, adminInbox := g.state(t, admin), "_INBOX.ops."
	nc, _ := g.conn(t, "alpha")
	const answers = "_INBOX.alpha.attack."
	all := attacks()
	for i, a := range all {
		msg := &nats.Msg{Subject: a.subject, Reply: cmp.Or(a.reply, answers+strconv.Itoa(i)), Data: []byte(a.body), Header: a.header}
		if err := nc.PublishMsg(msg); err != nil {
			t.Fatal(err)
		}
	}
	// Each way of an answer, once more: what they bring comes after what they brought before.
	for _, question := range []string{"CONSUMER.INFO.MENU_EVENTS.team-alpha", "DIRECT.GET.MENU_EVENTS." + mine, "CONSUMER.MSG.NEXT.MENU_EVENTS.team-alpha"} {
		var body []byte
		if strings.Contains(question, "NEXT") {
			body = []byte(`{"batch":1,"no_wait":true}`)
		}
		if _, err := nc.Request(api+question, body, patience); err != nil {
			t.Fatalf("%s: %v", question, err)
		}
	}
	if after := g.state(t, admin); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}
	for _, msg := range other() {
		t.Errorf("another reader got %s %s", msg.Subject, msg.Data)
	}
	for _, msg := range inside() {
		if !strings.HasPrefix(msg.Reply, adminInbox) && msg.Subject != "menu.nothing" {
			t.Errorf("%s got into the account of the menus: %s", msg.Subject, msg.Data)
		}
	}
	answered := false
	for _, msg := range own() {
		if strings.Contains(string(msg.Data), `"of":"b"`) || strings.HasPrefix(msg.Header.Get("Nats-Subject"), "menu.evt.b") {
			t.Errorf("the reader got %s %v %s", msg.Subject, msg.Header, msg.Data)
		}
		number, ok := strings.CutPrefix(msg.Subject, answers)
		if !ok {
			continue
		}
		i, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(all[i].subject, api+"CONSUMER.INFO.MENU_EVENTS.team-alpha") {
			answered = true
		} else if !strings.HasPrefix(msg.Header.Get("Status"), "4") {
			t.Errorf("%s %s was answered: %v %s", all[i].subject, all[i].body, msg.Header, msg.Data)
		}
	}
	if !answered {
		t.Error("not even a question about its own consumer was answered: the checks above see nothing")
	}
}

// state is everything that an attack may not change: the streams, and every consumer but the attacker's own.
func (g *guests) state(t *testing.T, js jetstream.JetStream) string {
	t.Helper()
	var b strings.Builder
	list := js.ListStreams(t.Context())
	for info := range list.Info() {
		fmt.Fprintf(&b, "%s %+v %d %d %d %d\n", info.Config.Name, info.Config, info.State.Msgs, info.State.FirstSeq, info.State.LastSeq, info.State.Consumers)
		stream, err := js.Stream(t.Context(), info.Config.Name)
		if err != nil {
			t.Fatal(err)
		}
		consumers := stream.ListConsumers(t.Context())
		for c := range consumers.Info() {
			if c.Name != streams.TeamConsumer("alpha") {
				fmt.Fprintf(&b, "%s %s %d %d %v\n", c.Name, c.Config.FilterSubject, c.Delivered.Consumer, c.AckFloor.Consumer, c.Paused)
			} else {
				fmt.Fprintf(&b, "%s %s\n", c.Name, c.Config.FilterSubject)
			}
		}
		if err := consumers.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The limit of the log's consumers is not the teams' alone: the stages and the tails of processes need some.
func TestTeamsLeaveRoom(t *testing.T) {
	t.Parallel()
	g := newGuests(t, [4]string{"ops", "admin"})
	js := g.jetStream(t, "ops")
	stream, err := js.Stream(t.Context(), streams.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxConsumers = stream.CachedInfo().State.Consumers + 101
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	reader := func(name string) streams.User {
		u, _, err := streams.NewUser(name, streams.RoleReader, "a", "", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	if _, err := streams.EnsureTeam(t.Context(), js, reader("first"), true); err != nil {
		t.Fatal(err)
	}
	if _, err := streams.EnsureTeam(t.Context(), js, reader("second"), true); !errors.Is(err, streams.ErrTooManyTeams) {
		t.Errorf("a team got the consumer that was kept: %v", err)
	}
	if _, err := streams.EnsureTeam(t.Context(), js, reader("first"), true); err != nil {
		t.Errorf("the same reader again: %v", err)
	}
	other := reader("first")
	other.Tenant = "b"
	var incompatible *streams.IncompatibleError
	if _, err := streams.EnsureTeam(t.Context(), js, other, true); !errors.As(err, &incompatible) {
		t.Errorf("the consumer of another tenant was taken: %v", err)
	}
	for _, want := range []bool{true, false} {
		if found, err := streams.RemoveTeam(context.WithoutCancel(t.Context()), js, "first"); err != nil || found != want {
			t.Errorf("removed %v, %v; want %v", found, err, want)
		}
	}
}

// Why a reader has an account of its own: within the menus' account, whoever may read one event may write it on any subject.
// When the broker refuses that, permissions will do.
func TestReadsWriteWithinAnAccount(t *testing.T) {
	t.Parallel()
	js := natstest.New(t).JetStream()
	if _, err := js.Publish(t.Context(), mine, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if err := js.Conn().PublishRequest(api+"DIRECT.GET.MENU_EVENTS."+mine, foreign, nil); err != nil {
		t.Fatal(err)
	}
	if err := js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), streams.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); stream.CachedInfo().State.LastSeq < 2 && time.Now().Before(end); {
		if _, err := stream.Info(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := stream.GetLastMsgForSubject(t.Context(), foreign); err != nil {
		t.Errorf("the broker did not write the answer into the log: %v", err)
	}
}

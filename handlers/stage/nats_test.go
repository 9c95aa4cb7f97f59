package stage_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
	"kondate/streams"
	"kondate/streams/natstest"
)

// exactlyOnce checks that a history holds one answer for every dish and stage of a menu of n dishes.
func exactlyOnce(tb testing.TB, history []eventstore.Entry, n int) {
	tb.Helper()
	counts := tally(history)
	if len(counts) != menu.StageCount*n {
		tb.Errorf("%d answers, want %d", len(counts), menu.StageCount*n)
	}
	for a, c := range counts {
		if c != 1 {
			tb.Errorf("%v was answered %d times", a, c)
		}
	}
}

func TestAllStagesAnswerAMenu(t *testing.T) {
	t.Parallel()
	for _, n := range []int{35, 250} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := &scripted{answer: answerOK}
			_, stop := s.start(p)
			exactlyOnce(t, s.answered(s.submit("s", n)), n)
			s.idle(false)
			stop()
			if got := len(p.asked()); got != menu.StageCount*n {
				t.Errorf("the provider was asked %d times for %d dishes and eight stages", got, n)
			}
		})
	}
}

// A dish may take longer than the ack wait: the delivery stays with the process that works on it.
func TestSlowDishKeepsItsDelivery(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := &scripted{answer: func(ctx context.Context, r stage.Request) (menu.Result, error) {
		select {
		case <-time.After(2*natstest.AckWait + natstest.AckWait/2):
			return ok(r), nil
		case <-ctx.Done():
			return menu.Result{}, ctx.Err()
		}
	}}
	s.start(p)
	s.start(p) // somebody who would take it over
	exactlyOnce(t, s.answered(s.submit("s", 1)), 1)
	s.idle(false)
	if got := len(p.asked()); got != menu.StageCount {
		t.Errorf("the provider was asked %d times for one dish and eight stages", got)
	}
}

// A process that stops in the middle of a menu hands it over in less than two seconds, and the next one repeats only
// what has no answer.
func TestStopInTheMiddleHandsOver(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const dishes, parallel = 40, 4
	started := make(chan struct{}, menu.StageCount*dishes)
	first := &scripted{answer: func(ctx context.Context, r stage.Request) (menu.Result, error) {
		if r.Item.Position < dishes/2 {
			return ok(r), nil
		}
		started <- struct{}{}
		<-ctx.Done() // these never end in this process
		return menu.Result{}, ctx.Err()
	}}
	taken := make(chan struct{})
	var once sync.Once
	second := &scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
		once.Do(func() { close(taken) })
		return ok(r), nil
	}}
	few := func(cfg *stage.Config) { cfg.MaxParallelTasks = parallel }
	_, stop := s.start(first, few)
	key := s.submit("s", dishes)
	for range menu.StageCount * parallel {
		<-started
	}
	s.start(second, few)
	begin := time.Now()
	go stop()
	<-taken
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("the hand-over took %s", took)
	}
	exactlyOnce(t, s.answered(key), dishes)
	s.idle(false)
	if got, want := len(second.asked()), menu.StageCount*dishes/2; got != want {
		t.Errorf("the second process asked %d times, %d dishes and stages were open", got, want)
	}
	if got, most := len(first.asked()), menu.StageCount*(dishes/2+parallel); got != most {
		t.Errorf("the first process asked %d times, want %d", got, most)
	}
}

// A process that dies hands nothing back. What it had in hand comes again after the ack wait, and only what it had not
// recorded is worked on again.
func TestDeathInTheMiddleRepeatsOnlyWhatWasOpen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const dishes = 30
	stuck := make(chan struct{}, menu.StageCount*dishes)
	cfg := config(&scripted{answer: func(ctx context.Context, r stage.Request) (menu.Result, error) {
		if r.Item.Position < dishes/2 {
			return ok(r), nil
		}
		stuck <- struct{}{}
		<-ctx.Done()
		return menu.Result{}, ctx.Err()
	}})
	cfg.AckWait = natstest.AckWait
	js := s.srv.JetStream()
	_, bury := start(t, eventstore.NewJetStream(js, eventstore.Config{Logger: cfg.Logger}), streams.NewRetries(js), consumers(js), cfg)
	defer bury()
	key := s.submit("s", dishes)
	s.until(0, func(sessions map[menu.Key]menu.Session) bool { // the first half is in the log
		return sessions[key].Exists() && sessions[key].Unanswered() == menu.StageCount*dishes/2
	})
	for range menu.StageCount * cfg.MaxParallelTasks {
		<-stuck
	}
	js.Conn().Close() // as far as the broker can tell, it is dead

	p := &scripted{answer: answerOK}
	s.start(p)
	exactlyOnce(t, s.answered(key), dishes)
	s.idle(false)
	if got, want := len(p.asked()), menu.StageCount*dishes/2; got != want {
		t.Errorf("the second process asked %d times, %d dishes and stages were open", got, want)
	}
}

func TestBrokerRestartInTheMiddle(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const dishes = 30
	running, proceed := make(chan struct{}, menu.StageCount*dishes), make(chan struct{})
	p := &scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
		if r.Item.Position%2 == 1 {
			running <- struct{}{}
			<-proceed
		}
		return ok(r), nil
	}}
	s.start(p)
	key := s.submit("s", dishes)
	for range menu.StageCount * 8 {
		<-running
	}
	s.srv.Stop()
	close(proceed) // results come while the broker is away
	s.srv.Restart()
	exactlyOnce(t, dedupe(s.answered(key)), dishes)
	s.idle(false)
	if got := len(p.asked()); got > menu.StageCount*dishes {
		t.Logf("%d calls were repeated", got-menu.StageCount*dishes)
	}
}

// dedupe leaves out what the fold leaves out: an answer after the first one.
func dedupe(history []eventstore.Entry) []eventstore.Entry {
	seen := map[answered]bool{}
	var kept []eventstore.Entry
	for _, entry := range history {
		if e, is := entry.Event.(menu.StageCompleted); is {
			var first []menu.DishResult
			for _, r := range e.Results {
				if a := (answered{e.Stage, r.ID, r.Epoch}); !seen[a] {
					seen[a] = true
					first = append(first, r)
				}
			}
			e.Results = first
			entry.Event = e
		}
		kept = append(kept, entry)
	}
	return kept
}

// Two processes share the work; attempts fail now and then and wait at the broker.
func TestTwoProcessesAndFailingAttempts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const dishes = 120
	fails := func(r stage.Request) bool { return (r.Item.Position+int(r.Stage))%3 == 0 }
	answer := func(_ context.Context, r stage.Request) (menu.Result, error) {
		if fails(r) && r.Attempt == 1 {
			return menu.Result{}, errPlain
		}
		return ok(r), nil
	}
	a, b := &scripted{answer: answer}, &scripted{answer: answer}
	soon := func(cfg *stage.Config) { cfg.RetryDelay = 100 * time.Millisecond }
	s.start(a, soon)
	s.start(b, soon)
	key := s.submit("s", dishes)
	history := s.answered(key)
	exactlyOnce(t, history, dishes)
	s.idle(false)
	calls := 0
	for _, r := range append(a.requests(), b.requests()...) {
		calls++
		if want := 1; r.Attempt > want && !fails(r) {
			t.Errorf("attempt %d for a dish that never failed: %+v", r.Attempt, r)
		}
	}
	want := 0
	for id, dish := range fold(history).Dishes {
		for _, st := range menu.Stages() {
			attempts := 1
			if fails(stage.Request{Stage: st, Item: dish.Item}) {
				attempts = 2
			}
			want += attempts
			if got := dish.Stages[st].Attempts; got != attempts {
				t.Errorf("%s of %s took %d attempts, want %d", st, id, got, attempts)
			}
		}
	}
	if calls != want {
		t.Errorf("%d calls, want %d", calls, want)
	}
}

// poison are messages on the stages' subjects that nobody can make sense of.
func poison(tb testing.TB) map[string]*nats.Msg {
	tb.Helper()
	key := menu.Key{Tenant: menu.DefaultTenant, Session: "poison"}
	good := func() *nats.Msg {
		msg, err := eventstore.Encode(key, submission(tb, key, 2)[0])
		if err != nil {
			tb.Fatal(err)
		}
		msg.Header.Del(jetstream.MsgIDHeader)
		return msg
	}
	body := func(data string) *nats.Msg {
		msg := good()
		msg.Data = []byte(data)
		return msg
	}
	header := func(name string, values ...string) *nats.Msg {
		msg := good()
		msg.Header[name] = values
		return msg
	}
	return map[string]*nats.Msg{
		"empty":            {Subject: good().Subject},
		"bytes":            body("\x00\xff\xfe garbage"),
		"no headers":       {Subject: good().Subject, Data: good().Data},
		"repeated id":      header(eventstore.HeaderID, "a", "b"),
		"repeated schema":  header(eventstore.HeaderSchema, "1", "1"),
		"unknown version":  header(eventstore.HeaderSchema, "99"),
		"no version":       header(eventstore.HeaderSchema, "one"),
		"no time":          header(eventstore.HeaderTime, "yesterday"),
		"long id":          header(eventstore.HeaderID, strings.Repeat("x", 10<<10)),
		"long correlation": header(eventstore.HeaderCorrelation, strings.Repeat("x", 10<<10)),
		"a megabyte":       body(strings.Repeat("x", 1<<20)),
		"a list":           body("[]"),
		"two values":       body("{}{}"),
		"no dishes":        body("{}"),
		"negative":         body(`{"item_count":-5,"items":[{"menu_id":"d0"}]}`),
		"deep":             body(strings.Repeat("[", 100_000)),
	}
}

func TestPoisonIsSetAside(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := &scripted{answer: answerOK}
	engine, _ := s.start(p)
	bad := poison(t)
	for name, msg := range bad {
		if _, err := s.js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	key := menu.Key{Tenant: menu.DefaultTenant, Session: "nobody"}
	for _, e := range []menu.Event{
		menu.StageRetryRequested{Stage: menu.Allergen, IDs: []menu.DishID{"d0"}, Epoch: 1}, // of a session that nobody submitted
	} {
		if _, err := s.store.Append(t.Context(), key, eventstore.Proposed{Event: e, Time: time.Now(), Causation: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	exactlyOnce(t, s.answered(s.submit("good", 10)), 10)
	s.idle(false)
	for _, st := range menu.Stages() {
		want := uint64(len(bad))
		if st == menu.Allergen {
			want++
		}
		if got := engine.SetAside(st); got < want { // on a busy machine one comes again before its acknowledgement is there
			t.Errorf("%s set %d messages aside, want at least %d", st, got, want)
		}
	}
	if got := len(p.asked()); got != 10*menu.StageCount {
		t.Errorf("the provider was asked %d times for the good menu", got)
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/asyncapi/asyncapitest"
	"kondate/handlers/stage/external"
	"kondate/streams"
)

// listener holds everything that comes over NATS against the description of the messages, as another team's program
// would see it.
type listener struct {
	checker *asyncapitest.Checker
	seen    map[string]int // messages by their names in the document
}

// listen hears everything from now on.
func listen(t *testing.T, s *system) (l *listener, live <-chan *nats.Msg, log jetstream.Consumer) {
	t.Helper()
	document := (&caller{s: s}).send(t, http.MethodGet, "/asyncapi.json", "")
	if document.status != http.StatusOK {
		t.Fatalf("%d: %s", document.status, document.body)
	}
	nc, err := nats.Connect(s.broker.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	heard := make(chan *nats.Msg, 10_000)
	for _, subject := range []string{streams.ChannelFilter("said"), streams.WorkFilter(menu.Allergen)} {
		if _, err := nc.ChanSubscribe(subject, heard); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.CreateOrUpdateConsumer(t.Context(), streams.EventStream, jetstream.ConsumerConfig{Durable: "team-test", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	return &listener{checker: asyncapitest.New(t, document.body), seen: map[string]int{}}, heard, consumer
}

// until reads the log up to the first event of a type.
func (l *listener) until(t *testing.T, log jetstream.Consumer, typ menu.Type) {
	t.Helper()
	for late := time.Now().Add(patience); ; {
		m, err := log.Next(jetstream.FetchMaxWait(time.Second))
		if err != nil {
			if time.Now().After(late) {
				t.Fatalf("no %s comes; seen are %v", typ, l.seen)
			}
			continue
		}
		if err := m.Ack(); err != nil {
			t.Fatal(err)
		}
		l.check(t, m.Subject(), m.Headers(), m.Data())
		if m.Headers().Get(eventstore.HeaderType) == string(typ) {
			return
		}
	}
}

func (l *listener) check(t *testing.T, subject string, header nats.Header, data []byte) {
	t.Helper()
	name, err := l.checker.Message(subject, header, data)
	if err != nil {
		t.Error(err)
		return
	}
	l.seen[name]++
	e := eventstore.Decode(subject, 1, time.Time{}, header, data)
	completed, ok := e.Event.(menu.StageCompleted)
	if !ok {
		return
	}
	for _, r := range completed.Results {
		if err := l.checker.Schema(completed.Stage.String()+".data", r.Result.Data); err != nil && string(r.Result.Data) != "null" {
			t.Errorf("what %s found of %s: %v", completed.Stage, r.ID, err)
		}
	}
}

// TestDescribedMessages: a menu with all eight stages, one of them asked of a worker, a temporary failure, a parked stage,
// its retry, a picture and an erasure: everything that comes over NATS, and every frame of the stream, is as described.
func TestDescribedMessages(t *testing.T) {
	t.Parallel()
	s := startSystem(t, nil, "--stages-allergen-provider", "external", "--stages-task7-provider", "external", "--nats-listen", "127.0.0.1:0",
		"--sse-channel-prefix", "said", "--processing-progress-update-interval", "50ms", "--processing-retry-delay", "50ms")
	l, live, log := listen(t, s)
	startWorker(t, s.broker.URL())
	slow := make(chan struct{}) // until progress was told
	l.refuse(t, s.broker.URL(), slow)
	answer, err := s.client().submit(t.Context(), body(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	key := menu.Key{Tenant: menu.DefaultTenant, Session: menu.SessionID(answer.SessionID)}
	frames := make(chan error, 1)
	shown := make(chan struct{}) // closed when the stream tells progress
	go func() {
		frames <- l.frames(t.Context(), s.client(), answer.StreamURL, sync.OnceFunc(func() { close(shown) }))
	}()
	late := time.After(patience)
	for progress, requests := 0, 0; progress == 0 || requests < 3; {
		select {
		case m := <-live:
			name, err := l.checker.Message(m.Subject, m.Header, m.Data)
			if schema := "live.progress"; strings.HasSuffix(m.Subject, "."+progressMessage) {
				name, err, progress = schema, l.checker.Schema(schema, m.Data), progress+1
			} else {
				requests++
			}
			if err != nil {
				t.Error(err)
			}
			l.seen[name]++
		case <-late:
			t.Fatalf("%d messages of progress, %d requests", progress, requests)
		}
	}
	select {
	case <-shown:
	case <-late:
		t.Fatal("the stream tells no progress")
	}
	close(slow)
	l.until(t, log, menu.Completed{}.Type())
	if err := <-frames; err != nil {
		t.Error(err)
	}

	cl := s.client()
	if err := cl.call(t.Context(), http.MethodPost, "/v1/failures/retry", []byte(`{"all":true}`), &struct{}{}); err != nil {
		t.Fatal(err)
	}
	l.until(t, log, menu.Completed{}.Type())
	if err := cl.call(t.Context(), http.MethodPost, "/v1/menus/"+string(answer.Items[0].MenuID)+"/image", nil, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	l.until(t, log, menu.ImageCompleted{}.Type())
	if err := cl.call(t.Context(), http.MethodDelete, "/v1/sessions/"+string(key.Session), nil, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	l.until(t, log, menu.Erased{}.Type())

	want := []string{"live.progress", "work.request", "menu.submitted.v1", "menu.completed.v1", "menu.erased.v1", "image.requested.v1", "image.completed.v1"}
	for _, st := range menu.Stages() {
		want = append(want, st.String()+".completed.v2")
	}
	want = append(want, "task7.attempt_failed.v2", "task7.failed.v1", "task7.retry_requested.v1")
	for _, name := range want {
		if l.seen[name] == 0 {
			t.Errorf("no %s was heard", name)
		}
	}
}

// refuse is a worker of task7 that has no time at first, then no answer, and knows nothing after a retry.
func (l *listener) refuse(t *testing.T, url string, slow <-chan struct{}) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	_, err = nc.QueueSubscribe(streams.WorkFilter(menu.Task7), streams.WorkQueue(menu.Task7), func(m *nats.Msg) {
		var request struct {
			Epoch, Attempt int
			Items          []menu.Item
		}
		if err := json.Unmarshal(m.Data, &request); err != nil {
			t.Errorf("request %s: %v", m.Data, err)
			return
		}
		r := nats.NewMsg(m.Reply)
		r.Header.Set(external.HeaderFinal, external.FinalValue)
		switch {
		case request.Epoch == 0 && request.Attempt == 1:
			r.Data = []byte(`{"error":{"reason":"busy"}}`)
		case request.Epoch == 0:
			select {
			case <-slow:
			case <-t.Context().Done():
			}
			r.Data = []byte(`{"error":{"reason":"refused","permanent":true}}`)
		default:
			r.Data = fmt.Appendf(nil, `{"results":[{"menu_id":%q,"result":{"stage":"task7","status":"unknown","provider":"theirs","basis":"none","confidence":0,"data":null}}]}`, request.Items[0].ID)
		}
		if err := l.checker.Schema("work.reply", r.Data); err != nil {
			t.Error(err)
		}
		_ = m.RespondMsg(r) // after the test
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// frames reads a session's stream to its end and holds the data of each frame against its message.
func (l *listener) frames(ctx context.Context, cl *client, url string, progress func()) error {
	f := &follower{client: cl, url: url, pause: 50 * time.Millisecond, attempts: 100, out: func(string, ...any) {}}
	var seen []string
	err := f.run(ctx, func(fr frame) error {
		name := "stream." + fr.event
		if strings.Contains(fr.event, ".") {
			name = "stream.event"
		}
		if seen = append(seen, name); name == "stream.progress" {
			progress()
		}
		return l.checker.Schema(name, []byte(fr.data))
	})
	for _, name := range []string{"stream.event", "stream.caught-up", "stream.progress", "stream.end"} {
		if err == nil && !slices.Contains(seen, name) {
			err = fmt.Errorf("the stream had no %s", name)
		}
	}
	return err
}

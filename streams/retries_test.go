package streams_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/streams"
	"kondate/streams/natstest"
)

// waiting is a message of the log that a stage wants to see again.
func waiting(id string) *nats.Msg {
	return &nats.Msg{
		Subject: "menu.evt.public.s.allergen.attempt_failed", Data: []byte(`{"id":"` + id + `"}`),
		Header: nats.Header{jetstream.MsgIDHeader: {id}, "ce-id": {id}},
	}
}

// due waits for n messages of a stage's retry consumer, and fails if there are more.
func due(t *testing.T, js jetstream.JetStream, stage menu.Stage, n int) []jetstream.Msg {
	t.Helper()
	consumer, err := js.Consumer(t.Context(), streams.RetryStream, streams.RetryConsumer(stage))
	if err != nil {
		t.Fatal(err)
	}
	batch, err := consumer.Fetch(n, jetstream.FetchMaxWait(5*time.Second)) // it ends with the nth
	if err != nil {
		t.Fatal(err)
	}
	var got []jetstream.Msg
	for msg := range batch.Messages() {
		got = append(got, msg)
	}
	if err := batch.Error(); err != nil {
		t.Fatal(err)
	}
	info, err := consumer.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != n || info.NumPending > 0 {
		t.Fatalf("%d messages are due for %s and %d more, want %d", len(got), stage, info.NumPending, n)
	}
	return got
}

func retryMsgs(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	stream, err := js.Stream(t.Context(), streams.RetryStream)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

// A message comes at its time, once, however often it was scheduled, with its subject and headers; then nothing is left.
func TestRetriesComeWhenTheyAreDue(t *testing.T) {
	t.Parallel()
	js := natstest.New(t).JetStream()
	retries := streams.NewRetries(js)
	at := time.Now().Add(700 * time.Millisecond)
	for range 3 {
		if err := retries.Schedule(t.Context(), menu.Allergen, waiting("e1"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := retries.Schedule(t.Context(), menu.Allergen, waiting("e2"), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := retries.Schedule(t.Context(), menu.Task6, waiting("e3"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, msg := range due(t, js, menu.Allergen, 2) {
		meta, err := msg.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := streams.LogSubject(msg, meta), waiting("").Subject; got != want {
			t.Errorf("subject %q, want %q", got, want)
		}
		id := msg.Headers().Get("ce-id")
		if string(msg.Data()) != fmt.Sprintf(`{"id":%q}`, id) {
			t.Errorf("message %s carries %s", id, msg.Data())
		}
		if id == "e1" && meta.Timestamp.Before(at) {
			t.Errorf("it came %s early", at.Sub(meta.Timestamp))
		}
		if err := msg.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := retryMsgs(t, js); got != 1 {
		t.Errorf("%d messages are left, want the one that waits", got)
	}
}

// What waits outlives the broker, also if its time comes while the broker is away.
func TestRetriesSurviveARestart(t *testing.T) {
	t.Parallel()
	srv := natstest.New(t)
	retries := streams.NewRetries(srv.JetStream())
	for i, wait := range []time.Duration{100 * time.Millisecond, 1500 * time.Millisecond} {
		if err := retries.Schedule(t.Context(), menu.Task7, waiting(fmt.Sprint(i)), time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
	}
	srv.Stop()
	srv.Restart()
	due(t, srv.JetStream(), menu.Task7, 2)
}

// A lost schedule is made up for once, whoever finds out.
func TestRedeliver(t *testing.T) {
	t.Parallel()
	js := natstest.New(t).JetStream()
	retries := streams.NewRetries(js)
	idle := func(want bool) {
		t.Helper()
		eventually(t, fmt.Sprintf("idle is %v", want), func() bool { // the broker counts a moment after it has acknowledged
			got, err := retries.Idle(t.Context(), menu.Task8)
			if err != nil {
				t.Fatal(err)
			}
			return got == want
		})
	}
	idle(true)
	for range 2 {
		if err := retries.Redeliver(t.Context(), menu.Task8, waiting("e")); err != nil {
			t.Fatal(err)
		}
	}
	idle(false)
	msg := due(t, js, menu.Task8, 1)[0]
	idle(false)
	if err := msg.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	idle(true)
}

// A message of the log cannot pass itself off as another one.
func TestLogSubjectOfTheLogIsItsOwn(t *testing.T) {
	t.Parallel()
	js := natstest.New(t).JetStream()
	msg := waiting("e")
	msg.Subject = "menu.evt.public.s.menu.submitted"
	msg.Header.Set("Kondate-Subject", "menu.evt.other.s.menu.submitted")
	if _, err := js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	consumer, err := js.Consumer(t.Context(), streams.EventStream, streams.StageConsumer(menu.Task8))
	if err != nil {
		t.Fatal(err)
	}
	got, err := consumer.Next(jetstream.FetchMaxWait(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	meta, err := got.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	if subject := streams.LogSubject(got, meta); subject != msg.Subject {
		t.Errorf("subject %q, want %q", subject, msg.Subject)
	}
}

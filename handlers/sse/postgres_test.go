package sse_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/handlers/sse"
	"kondate/projections"
	"kondate/projections/pgtest"
	"kondate/streams"
	"kondate/streams/natstest"
)

// projected is an option: history and rows from a real Postgres, kept by a running projector.
func projected(tb testing.TB, log projections.Log) option {
	tb.Helper()
	pool, err := pgxpool.New(tb.Context(), pgtest.New(tb, pgtest.WithTemplate("sse", projections.Migrate)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	projector := projections.NewProjector(pool, log, projections.ProjectorConfig{
		Identity: func(context.Context) (string, error) { return incarnation, nil }, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan error, 1)
	go func() { done <- projector.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			tb.Error(err)
		}
	})
	queries := projections.NewQueries(pool)
	return func(s *setup) { s.history, s.rows = queries, queries }
}

// Everything real: broker, Postgres, projector, sockets. Sessions run while readers come, leave and come back; the
// projector completes the sessions, the streams end.
func TestOnRealParts(t *testing.T) {
	t.Parallel()
	const sessions, readers, dishes = 3, 4, 20
	broker := natstest.New(t)
	log := eventstore.NewJetStream(broker.JetStream(), eventstore.Config{Logger: slog.New(slog.DiscardHandler)})
	s := start(t, onLog(log), projected(t, log), configured(func(c *sse.Config) { c.Window = sse.Window{Events: 10} }),
		func(set *setup) { set.channel = streams.NewChannel(broker.Conn(), "sse") })
	var wg sync.WaitGroup
	for i := range sessions {
		session := fmt.Sprintf("s%d", i)
		s.submit(session, dishes)
		wg.Go(func() {
			for _, stage := range menu.Stages() {
				for dish := range dishes {
					s.stageEvent(session, menutest.Completed(stage, menu.DishID(fmt.Sprintf("%s-%d", session, dish))))
				}
			}
		})
		for range readers {
			wg.Go(func() {
				r := resumer{path: eventsPath(session)}
				for bytes := 2000; !r.ended; bytes *= 2 {
					r.read(t, s, bytes)
				}
				want := s.logged(session)
				if !slices.Equal(r.ids, want) {
					t.Errorf("a reader of %s got %d events, the log has %d", session, len(r.ids), len(want))
				}
				if c := s.get(r.path, "Last-Event-ID: "+r.last); c.status != 204 {
					t.Errorf("at the end of %s it gets %d, want 204", session, c.status)
				}
				if c := s.get(r.path, "Last-Event-ID: "+at(1<<50)); c.mustNext().typ != "reset" {
					t.Errorf("a cursor of the future gets no reset")
				}
			})
		}
	}
	wg.Wait()
	if s.hub.Stats().Replayed == 0 {
		t.Error("nothing was read from Postgres: the test shows less than it should")
	}
}

// A message that is no event is in the history table and in no stream, wherever the stream reads from.
func TestMalformedMessagesAreNoEvents(t *testing.T) {
	t.Parallel()
	log := eventstore.NewMemory(0)
	s := start(t, onLog(log), projected(t, log), configured(func(c *sse.Config) { c.Window = sse.Window{Events: 3} }))
	s.submit("s1", 1)
	var want []string
	want = append(want, s.logged("s1")...)
	for i := range 10 {
		good := eventstore.Proposed{Event: menu.StageAttemptFailed{Stage: menu.Task6, IDs: []menu.DishID{"s1-0"}, Attempt: i}, Time: menutest.Start()}
		for kind := range 3 {
			msg, err := eventstore.Encode(key("s1"), good)
			if err != nil {
				t.Fatal(err)
			}
			switch kind {
			case 0:
				msg.Data = []byte("{broken\n\ndata: x")
			case 1:
				msg.Header.Set(eventstore.HeaderSchema, "99") // a later version writes it: its readers may know it
			case 2:
				msg.Header.Del(eventstore.HeaderID)
			}
			if seq := log.Inject(msg); kind == 1 {
				want = append(want, at(seq))
			}
		}
	}
	last, err := log.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.wait("the hub follows", func() bool { return s.hub.Stats().Head == last })
	if got := stored(s.get(eventsPath("s1")).until("caught-up")); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

package sse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/sse"
	"kondate/streams/natstest"
)

// logs are the logs that the tests of this file run on.
func logs() map[string]func(*testing.T) store {
	return map[string]func(*testing.T) store{
		"Memory": func(*testing.T) store { return eventstore.NewMemory(0) },
		"JetStream": func(t *testing.T) store {
			t.Helper()
			return eventstore.NewJetStream(natstest.New(t).JetStream(), eventstore.Config{Logger: slog.New(slog.DiscardHandler)})
		},
	}
}

// Many readers come while events are appended: each one's list is the session's log.
func TestSeam(t *testing.T) {
	t.Parallel()
	const sessions, readers, events = 3, 8, 60
	for name, open := range logs() {
		for window, bounds := range map[string]sse.Window{"Wide": {}, "Narrow": {Events: 5}, "Shared": {TotalEvents: 8}} {
			t.Run(name+window, func(t *testing.T) {
				t.Parallel()
				s := start(t, onLog(open(t)), configured(func(c *sse.Config) { c.Window = bounds }))
				var wg sync.WaitGroup
				for i := range sessions {
					session := fmt.Sprintf("s%d", i)
					s.submit(session, 1)
					wg.Go(func() {
						for n := range events {
							s.tell(session, n)
						}
						s.finish(session)
					})
					for range readers {
						wg.Go(func() {
							s.wait("some events are there", func() bool { return s.hub.Stats().Head > uint64(rand.IntN(sessions*events/2)) })
							got := stored(s.get(eventsPath(session)).until("end"))
							if want := s.logged(session); !slices.Equal(got, want) {
								t.Errorf("a reader of %s got %d events, the log has %d", session, len(got), len(want))
							}
						})
					}
				}
				wg.Wait()
				if err := s.hub.CheckWindows(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A stream that is cut at random bytes and resumed gives the log: no gap, no repeat, in order.
func TestCutAndResume(t *testing.T) {
	t.Parallel()
	const cuts, events = 50, 150
	for name, open := range logs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, onLog(open(t)), configured(func(c *sse.Config) { c.Window = sse.Window{Events: 20} }))
			s.submit("s1", 1)
			var writer sync.WaitGroup
			writer.Go(func() {
				for n := range events {
					s.tell("s1", n)
				}
				s.finish("s1")
			})
			r := resumer{path: eventsPath("s1")}
			for range cuts {
				r.read(t, s, rand.IntN(2500))
			}
			for !r.ended {
				r.read(t, s, 1<<30)
			}
			writer.Wait()
			if want := s.logged("s1"); !slices.Equal(r.ids, want) {
				t.Errorf("got %d events, the log has %d", len(r.ids), len(want))
			}
			if c := s.get(r.path, "Last-Event-ID: "+r.last); c.status != 204 {
				t.Errorf("at its end the client gets %d, want 204", c.status)
			}
		})
	}
}

// resumer is a client that is cut again and again.
type resumer struct {
	path  string
	last  string
	ids   []string
	ended bool

	enough func() bool // asked after each event; nil: there is never enough
}

// read takes at most this many bytes of a new connection.
func (r *resumer) read(tb testing.TB, s *server, bytes int) {
	tb.Helper()
	conn := dial(tb, s.address)
	defer conn.Close() //nolint:errcheck // it is cut
	var headers []string
	if r.last != "" {
		headers = append(headers, "Last-Event-ID: "+r.last)
	}
	c := ask(tb, conn, r.path, headers...)
	if c.parser == nil {
		if r.ended = c.status == 204; !r.ended {
			tb.Fatalf("status %d: %s", c.status, c.body)
		}
		return
	}
	c.parser = newParser(io.LimitReader(c.r, int64(bytes)))
	c.idBuffer, c.parser.lastID = r.last, r.last
	for {
		c.patient()
		e, err := c.next()
		if r.last = c.lastID; err != nil {
			if !errors.Is(err, io.EOF) {
				tb.Fatal(err)
			}
			return
		}
		r.ids = append(r.ids, stored([]event{e})...)
		switch e.typ {
		case "end":
			r.ended = true
			return
		case "reset":
			tb.Fatalf("reset: %s", e.data)
		}
		if r.enough != nil && r.enough() {
			return
		}
	}
}

// The broker goes away and comes back while clients listen.
func TestBrokerRestarts(t *testing.T) {
	t.Parallel()
	broker := natstest.New(t)
	log := eventstore.NewJetStream(broker.JetStream(), eventstore.Config{Logger: slog.New(slog.DiscardHandler)})
	s := start(t, onLog(log))
	s.submit("s1", 1)
	c := s.get(eventsPath("s1"))
	got := stored(c.until("caught-up"))
	for i := range 3 {
		broker.Restart()
		s.appendAgain("s1", i)
		for len(got) < 2+i {
			got = append(got, stored([]event{c.mustNext()})...)
		}
	}
	if want := s.logged("s1"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// appendAgain tells of an event until the log takes it.
func (s *server) appendAgain(session string, n int) {
	s.tb.Helper()
	e := menu.StageAttemptFailed{Stage: menu.Task6, IDs: []menu.DishID{menu.DishID(session + "-0")}, Attempt: n}
	s.wait("the broker takes events", func() bool {
		ctx, cancel := context.WithTimeout(s.tb.Context(), time.Second)
		defer cancel()
		_, err := s.log.Append(ctx, key(session), eventstore.Proposed{Event: e, Time: time.Now()})
		return err == nil
	})
}

// Replay costs what a session has, whatever else is stored.
func TestReplayAmongForeignEvents(t *testing.T) {
	t.Parallel()
	s := start(t, configured(func(c *sse.Config) { c.Window = sse.Window{Events: 5, TotalEvents: 100} }))
	s.submit("s1", 1)
	for i := range 300 {
		s.tell("s1", i)
	}
	for i := range 2000 {
		s.tell("other", i)
	}
	want := s.logged("s1")
	last, err := s.log.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.wait("the hub follows", func() bool { return s.hub.Stats().Head == last })
	if got := stored(s.get(eventsPath("s1")).until("caught-up")); !slices.Equal(got, want) {
		t.Errorf("got %d events, want %d", len(got), len(want))
	}
	if s.hub.Stats().Replayed != int64(len(want)) {
		t.Errorf("%d events were read from history, want %d", s.hub.Stats().Replayed, len(want))
	}
	if !strings.HasPrefix(want[0], incarnation) {
		t.Errorf("ids look like %s", want[0])
	}
}

package sse_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/sse"
)

// A stream that is cut after any of its bytes, and resumed, gives the log. The bytes are those of one connection; what a
// client knows after the first n of them is worked out for every n, and each such state resumes.
func TestCutAtEveryByte(t *testing.T) {
	t.Parallel()
	for name, window := range map[string]sse.Window{"FromTheWindow": {}, "FromHistory": {Events: 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, configured(func(c *sse.Config) { c.Window = window }))
			s.submit("s1", 3)
			s.submit("other", 1)
			s.tell("s1", 1)
			s.tell("other", 1)
			s.tell("s1", 2)
			for _, stage := range menu.Stages() {
				for _, dish := range []menu.DishID{"s1-0", "s1-1", "s1-2"} {
					s.stageEvent("s1", menu.StageFailed{Stage: stage, IDs: []menu.DishID{dish}, Reason: "test"})
				}
			}
			s.menuEvent("s1", menu.Completed{Round: 1, Items: 3, Failed: 3, FailedMenuIDs: []menu.DishID{"s1-0", "s1-1", "s1-2"}})
			want := s.logged("s1")
			last, err := s.log.Last(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.wait("the hub follows", func() bool { return s.hub.Stats().Head == last })
			wire := s.wire(eventsPath("s1"))

			type state struct {
				last string
				seen int
			}
			states := map[state]bool{}
			for n := range len(wire) + 1 {
				p, got := newParser(bytes.NewReader(wire[:n])), []string(nil)
				for {
					e, err := p.next()
					if err != nil {
						break
					}
					got = append(got, stored([]event{e})...)
				}
				if !slices.Equal(got, want[:len(got)]) {
					t.Fatalf("the first %d bytes hold %v", n, got)
				}
				states[state{p.lastID, len(got)}] = true
			}
			if len(states) < len(want) {
				t.Fatalf("%d states of %d events", len(states), len(want))
			}
			for at := range states {
				var headers []string
				if at.last != "" {
					headers = append(headers, "Last-Event-ID: "+at.last)
				}
				c := s.get(eventsPath("s1"), headers...)
				if at.seen == len(want) {
					if c.status != http.StatusNoContent {
						t.Errorf("who has seen everything gets %d", c.status)
					}
					continue
				}
				if got := stored(c.until("end")); !slices.Equal(got, want[at.seen:]) {
					t.Errorf("after %d events and id %q come %v", at.seen, at.last, got)
				}
			}
		})
	}
}

// wire returns the bytes of a stream that ends.
func (s *server) wire(path string) []byte {
	s.tb.Helper()
	conn := dial(s.tb, s.address)
	defer conn.Close() //nolint:errcheck // it was only read
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: test\r\n\r\n"); err != nil {
		s.tb.Fatal(err)
	}
	all, err := io.ReadAll(conn)
	if err != nil {
		s.tb.Fatal(err)
	}
	_, stream, found := bytes.Cut(all, []byte("\r\n\r\n"))
	if !found {
		s.tb.Fatalf("no stream: %s", all)
	}
	return stream
}

// Two processes behind a proxy that takes them by turns, each of which may be started anew at any time; a client that is
// cut at any byte, or reads slowly while the windows move on; and the log as the model.
func TestResumeBehindARoundRobin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		log := eventstore.NewMemory(0)
		window := sse.Window{Events: rapid.IntRange(1, 8).Draw(rt, "window events"), TotalEvents: rapid.IntRange(1, 16).Draw(rt, "total events")}
		launch := func() *server {
			return startRapid(t, rt, onLog(log), configured(func(c *sse.Config) {
				c.Window, c.KeepaliveInterval = window, 2*time.Millisecond // so that something comes always
			}))
		}
		processes := []*server{launch(), launch()}
		turn := 0
		next := func() *server { turn++; return processes[turn%len(processes)] }
		processes[0].submit("s1", 1)
		attempts := 0
		tell := func(n int) {
			for range n {
				attempts++
				processes[0].tell("s1", attempts)
				processes[0].tell("other", attempts)
			}
		}
		r := &resumer{path: eventsPath("s1")}
		seenAll := func() bool { return len(r.ids) >= len(processes[0].logged("s1")) }
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) { tell(rapid.IntRange(1, 6).Draw(rt, "events")) },
			"cut": func(rt *rapid.T) {
				r.enough = seenAll
				r.read(rapidTB{t, rt}, next(), rapid.IntRange(0, 3000).Draw(rt, "bytes"))
			},
			"dawdle": func(rt *rapid.T) {
				behind := rapid.IntRange(1, 12).Draw(rt, "events meanwhile")
				r.enough = func() bool { tell(behind); behind = 0; return seenAll() }
				r.read(rapidTB{t, rt}, next(), rapid.IntRange(0, 6000).Draw(rt, "bytes"))
			},
			"restart": func(rt *rapid.T) {
				i := rapid.IntRange(0, len(processes)-1).Draw(rt, "process")
				if err := processes[i].hub.Close(t.Context()); err != nil {
					rt.Fatal(err)
				}
				processes[i] = launch()
			},
			"": func(*rapid.T) {},
		})
		processes[0].finish("s1")
		r.enough = nil
		for !r.ended {
			r.read(rapidTB{t, rt}, next(), 1<<30)
		}
		if want := processes[0].logged("s1"); !slices.Equal(r.ids, want) {
			rt.Fatalf("got %v, want %v", r.ids, want)
		}
	})
}

// A session is erased while a client reads its old events: what the client has got is the beginning of it, and then comes
// the tombstone, the end, and nothing else.
func TestEraseDuringReplay(t *testing.T) {
	t.Parallel()
	log := eventstore.NewMemory(0)
	s := start(t, onLog(log), configured(func(c *sse.Config) { c.Window = sse.Window{Events: 1} }))
	s.submit("s1", 1)
	for i := range 300 {
		s.tell("s1", i)
	}
	before := s.logged("s1")
	s.wait("the hub follows", func() bool { return at(s.hub.Stats().Head) == before[len(before)-1] })
	pages, reached, goOn := 0, make(chan struct{}), make(chan struct{})
	s.history.set(func(h *logHistory) {
		h.read = func() {
			if pages++; pages == 2 {
				close(reached)
				<-goOn
			}
		}
	})
	c := s.get(eventsPath("s1"))
	<-reached
	tombstone := s.menuEvent("s1", menu.Erased{By: "test"})
	if err := log.Erase(t.Context(), key("s1"), tombstone, tombstone-1); err != nil {
		t.Fatal(err)
	}
	s.wait("the hub follows", func() bool { return s.hub.Stats().Head == tombstone })
	close(goOn)
	events := c.until("end")
	got := stored(events)
	if n := len(got) - 1; n < 1 || n >= len(before) || !slices.Equal(got[:n], before[:n]) || got[n] != at(tombstone) {
		t.Errorf("got %d events, the last is %s; want the first ones, then %s", len(got), got[len(got)-1], at(tombstone))
	}
	if end := events[len(events)-1]; end.data != `{"reason":"erased","rows_url":"/v1/sessions/s1/menus"}` {
		t.Errorf("the end is %+v", end)
	}
	c.wantEOF()
}

// The log loses a session's old events while a client reads them, and no tombstone says why: rather no stream than one
// with a hole.
func TestPurgeDuringReplay(t *testing.T) {
	t.Parallel()
	log := eventstore.NewMemory(0)
	s := start(t, onLog(log), configured(func(c *sse.Config) { c.Window = sse.Window{Events: 1} }))
	s.history.set(func(h *logHistory) { h.failing = errors.New("connection refused") }) // the log is all there is
	s.submit("s1", 1)
	for i := range 300 {
		s.tell("s1", i)
	}
	last := s.finish("s1")
	before := s.logged("s1")
	s.wait("the hub follows", func() bool { return s.hub.Stats().Head == last })
	if err := log.Erase(t.Context(), key("s1"), last, last-1); err != nil { // as an archive makes room
		t.Fatal(err)
	}
	c := s.get(eventsPath("s1"), "Last-Event-ID: "+before[100])
	if events := c.until("closing"); len(stored(events)) > 0 {
		t.Errorf("got %v after a hole", stored(events))
	}
	c.wantEOF()
}

// Who comes back behind the end of a session while its row cannot be read, or does not know of the end, learns of it later.
func TestResumeBehindTheEndWithoutRows(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]func(*foldedSessions){
		"Away":   func(f *foldedSessions) { f.failing = errors.New("connection refused") },
		"Behind": func(f *foldedSessions) { f.missing = true },
		"Stale":  func(f *foldedSessions) { f.stale = 1 },
	} {
		for _, from := range []string{"?from=live", "?last_event_id="} {
			t.Run(name+from, func(t *testing.T) {
				t.Parallel()
				s := start(t)
				s.submit("s1", 1)
				last := s.finish("s1")
				s.sessions.set(wrong)
				path := eventsPath("s1") + from
				if from == "?last_event_id=" {
					path += fmt.Sprintf("%s.%d", incarnation, last)
				}
				c := s.get(path)
				c.until("caught-up")
				s.sessions.set(func(f *foldedSessions) { f.failing, f.missing = nil, false })
				c.until("end")
			})
		}
	}
}

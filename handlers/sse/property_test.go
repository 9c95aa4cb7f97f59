package sse_test

import (
	"net"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"kondate/domain/menu"
	"kondate/handlers/sse"
)

// A random schedule of appends, connections, cuts, resumptions and lags of every part, against the log as the model:
// what a client has seen at any moment is a prefix of the session's log, and in the end it is the log.
func TestAnyScheduleGivesTheLog(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		log := newSlowLog()
		bounds := sse.Window{
			Events:      rapid.IntRange(1, 6).Draw(rt, "window events"),
			TotalEvents: rapid.IntRange(1, 12).Draw(rt, "total events"),
			Bytes:       rapid.SampledFrom([]int{1, 2000, 1 << 20}).Draw(rt, "window bytes"),
		}
		s := startRapid(t, rt, onLog(log), configured(func(c *sse.Config) { c.Window = bounds }))
		sessions := []string{"a", "b", "c"}
		clients := map[string]*schedule{}
		attempts := 0
		for _, session := range sessions {
			s.submit(session, 1)
			clients[session] = &schedule{s: s, session: session}
		}
		pick := func() *schedule { return clients[rapid.SampledFrom(sessions).Draw(rt, "session")] }
		held := false
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				session := pick().session
				for range rapid.IntRange(1, 8).Draw(rt, "events") {
					attempts++
					s.tell(session, attempts)
				}
			},
			"picture": func(*rapid.T) {
				attempts++
				s.stageEvent(pick().session, menu.ImageRequested{ID: "x", Epoch: attempts})
			},
			"connect": func(rt *rapid.T) { pick().connect(rt) },
			"read":    func(rt *rapid.T) { pick().read(rt, rapid.IntRange(1, 10).Draw(rt, "reads"), held) },
			"cut":     func(*rapid.T) { pick().cut() },
			"hold": func(*rapid.T) {
				if !held {
					log.hold()
				} else {
					log.release()
				}
				held = !held
			},
			"lag": func(rt *rapid.T) {
				last, _ := log.Last(t.Context())
				upTo := rapid.Uint64Range(0, last).Draw(rt, "checkpoint")
				s.history.set(func(h *logHistory) { h.upTo = &upTo }) // it may even go back: a crash of Postgres
			},
			"": func(rt *rapid.T) {
				if err := s.hub.CheckWindows(); err != nil {
					rt.Fatal(err)
				}
			},
		})
		if held {
			log.release()
		}
		for _, session := range sessions {
			clients[session].finish(rt)
		}
	})
}

// schedule is one client of the property test.
type schedule struct {
	s       *server
	session string
	c       *client
	last    string
	got     []string
}

func (s *schedule) connect(rt *rapid.T) {
	s.cut()
	var headers []string
	if s.last != "" {
		headers = append(headers, "Last-Event-ID: "+s.last)
	}
	s.c = s.s.get(eventsPath(s.session), headers...)
	if s.c.status != 200 {
		rt.Fatalf("connect to %s: %d %s", s.session, s.c.status, s.c.body)
	}
}

func (s *schedule) cut() {
	if s.c == nil {
		return
	}
	if tcp, ok := s.c.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = s.c.conn.Close()
	s.c = nil
}

// read takes events that have to come: those that the log has and the client has not.
func (s *schedule) read(rt *rapid.T, n int, held bool) {
	if s.c == nil || held {
		return // while the tail is held, nobody knows what comes
	}
	for want := s.s.logged(s.session); n > 0 && len(s.got) < len(want); n-- {
		s.take(rt, want)
	}
}

// take reads up to the next stored event and compares it with the log.
func (s *schedule) take(rt *rapid.T, want []string) {
	for {
		e := s.c.mustNext()
		if e.typ == "reset" || e.typ == "closing" || e.typ == "end" {
			rt.Fatalf("%s: %+v", s.session, e)
		}
		if ids := stored([]event{e}); len(ids) > 0 {
			s.got, s.last = append(s.got, ids...), e.id
			if i := len(s.got); i > len(want) || want[i-1] != e.id {
				rt.Fatalf("%s: event %d is %s, the log has %v", s.session, i, e.id, want)
			}
			return
		}
	}
}

func (s *schedule) finish(rt *rapid.T) {
	want := s.s.logged(s.session)
	if s.c == nil {
		s.connect(rt)
	}
	for len(s.got) < len(want) {
		s.take(rt, want)
	}
	if !slices.Equal(s.got, want) {
		rt.Fatalf("%s: got %v, want %v", s.session, s.got, want)
	}
	s.cut()
}

// startRapid runs a server until one check of a property ends.
func startRapid(t *testing.T, rt *rapid.T, options ...option) *server {
	t.Helper()
	return start(rapidTB{t, rt}, options...)
}

// rapidTB lets helpers that take a testing.TB end with a rapid check instead of the whole test.
type rapidTB struct {
	testing.TB
	rt *rapid.T
}

func (r rapidTB) Cleanup(fn func())                 { r.rt.Cleanup(fn) }
func (r rapidTB) Fatal(args ...any)                 { r.rt.Fatal(args...) }
func (r rapidTB) Fatalf(format string, args ...any) { r.rt.Fatalf(format, args...) }
func (r rapidTB) Error(args ...any)                 { r.rt.Error(args...) }
func (r rapidTB) Errorf(format string, args ...any) { r.rt.Errorf(format, args...) }

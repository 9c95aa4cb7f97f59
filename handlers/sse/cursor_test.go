package sse_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/eventstore/storetest"
	"kondate/handlers/sse"
)

func TestCursors(t *testing.T) {
	t.Parallel()
	for name, window := range map[string]sse.Window{"FromTheWindow": {}, "FromHistory": {Events: 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, configured(func(c *sse.Config) { c.Window = window }))
			s.submit("s1", 1)
			for i := range 5 {
				s.tell("s1", i)
				s.submit("other-"+strings.Repeat("x", i), 1)
			}
			all := s.logged("s1")
			third, foreign := all[2], s.logged("other-")[0]
			last, err := s.log.Last(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.wait("the hub follows", func() bool { return s.hub.Stats().Head == last })
			after := func(seq string) []string {
				for i, id := range all {
					if id == seq {
						return all[i+1:]
					}
				}
				return all
			}
			tests := []struct {
				name, header, query string
				status              int
				reset               string
				want                []string
			}{
				{name: "None", want: all},
				{name: "EmptyHeader", header: "Last-Event-ID:", want: all},
				{name: "EmptyBoth", header: "Last-Event-ID: ", query: "", want: all},
				{name: "Start", query: at(0), want: all},
				{name: "Header", header: "Last-Event-ID: " + third, want: after(third)},
				{name: "Query", query: third, want: after(third)},
				{name: "HeaderWins", header: "Last-Event-ID: " + third, query: at(0), want: after(third)},
				{name: "HeaderWinsOverGarbage", header: "Last-Event-ID: " + third, query: "garbage", want: after(third)},
				{name: "EmptyHeaderLeavesQuery", header: "Last-Event-ID:", query: third, want: after(third)},
				{name: "Newest", query: all[len(all)-1], want: nil},
				// A position is a position, whichever session's event stands there; nothing of that session is told.
				{name: "AnotherSessions", query: foreign, want: all[2:]},
				{name: "Garbage", query: "garbage", status: 400},
				{name: "Number", query: "5", status: 400},
				{name: "NUL", query: "inc1.1\x00", status: 400},
				{name: "LineBreak", query: "inc1.1\nevent: end", status: 400},
				{name: "Negative", query: "inc1.-1", status: 400},
				{name: "Plus", query: "inc1.+1", status: 400},
				{name: "LeadingZero", query: "inc1.01", status: 400},
				{name: "OnlyZeros", query: "inc1.00", status: 400},
				{name: "ArabicDigits", query: "inc1.١٢", status: 400},
				{name: "WideDigits", query: "inc1.１", status: 400},
				{name: "Superscript", query: "inc1.²", status: 400},
				{name: "WideDot", query: "inc1．1", status: 400},
				{name: "ForeignIncarnation", query: "ïnc1.1", status: 400},
				{name: "Hexadecimal", query: "inc1.0x1", status: 400},
				{name: "Underscore", query: "inc1.1_0", status: 400},
				{name: "Fraction", query: "inc1.1.0", status: 400},
				{name: "Exponent", query: "inc1.1e3", status: 400},
				{name: "NoNumber", query: "inc1.", status: 400},
				{name: "NoDot", query: "inc1", status: 400},
				{name: "Blank", query: " ", status: 400},
				{name: "TrailingBlank", query: "inc1.1 ", status: 400},
				{name: "InvalidUTF8", query: "inc1.\xff", status: 400},
				{name: "LongIncarnation", query: strings.Repeat("a", 33) + ".1", status: 400},
				{name: "UnicodeDigitsInTheHeader", header: "Last-Event-ID: inc1.١", query: third, status: 400},
				{name: "LeadingZeroInTheHeader", header: "Last-Event-ID: inc1.007", query: third, status: 400},
				{name: "TooBig", query: "inc1.18446744073709551616", status: 400},
				{name: "Endless", query: "inc1." + strings.Repeat("1", 1000), status: 400},
				{name: "BadHeader", header: "Last-Event-ID: <>", query: third, status: 400},
				{name: "NoIncarnation", query: ".1", status: 400},
				{name: "Future", query: at(1 << 40), reset: "future", want: all},
				{name: "Biggest", query: at(1<<64 - 1), reset: "future", want: all},
				{name: "OtherIncarnation", query: "inc0.3", reset: "other_incarnation", want: all},
				{name: "OtherIncarnationStart", query: "inc0.0", reset: "other_incarnation", want: all},
			}
			for _, test := range tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					var headers []string
					if test.header != "" {
						headers = append(headers, test.header)
					}
					c := get(t, s.address, eventsPath("s1", "last_event_id="+url.QueryEscape(test.query)), headers...)
					if want := max(test.status, http.StatusOK); test.status != 0 {
						if c.status != want {
							t.Fatalf("status %d, want %d", c.status, want)
						}
						return
					}
					events := c.until("caught-up")
					if got := stored(events); !slices.Equal(got, test.want) {
						t.Errorf("got %v, want %v", got, test.want)
					}
					reset := struct {
						Reason  string `json:"reason"`
						Oldest  string `json:"oldest"`
						Newest  string `json:"newest"`
						RowsURL string `json:"rows_url"`
					}{}
					if events[0].typ == "reset" {
						reset = body[struct {
							Reason  string `json:"reason"`
							Oldest  string `json:"oldest"`
							Newest  string `json:"newest"`
							RowsURL string `json:"rows_url"`
						}](t, events[0])
						if reset.Oldest != all[0] || reset.Newest != all[len(all)-1] || reset.RowsURL != "/v1/sessions/s1/menus" {
							t.Errorf("reset says %+v", reset)
						}
						if events[0].id != at(0) {
							t.Errorf("after the reset the cursor is %q, want %q", events[0].id, at(0))
						}
					}
					if reset.Reason != test.reset {
						t.Errorf("reset %q, want %q", reset.Reason, test.reset)
					}
				})
			}
		})
	}
}

// A cursor into a part that is not held any more: here the session was erased and its history is gone but for the
// tombstone.
func TestExpiredCursor(t *testing.T) {
	t.Parallel()
	s := start(t)
	first := s.submit("s1", 1)
	s.tell("s1", 1)
	tombstone := s.menuEvent("s1", menu.Erased{By: "test"})
	s.wait("the hub follows", func() bool { return s.hub.Stats().Head == tombstone })
	s.history.set(func(h *logHistory) { h.purged = tombstone - 1 })
	events := s.get(eventsPath("s1"), "Last-Event-ID: "+at(first)).until("end")
	if len(events) != 3 || events[0].typ != "reset" || events[1].id != at(tombstone) {
		t.Fatalf("got %+v, want reset, the tombstone, end", events)
	}
	reset := body[map[string]string](t, events[0])
	if reset["reason"] != "expired" || reset["oldest"] != at(tombstone) || reset["newest"] != at(tombstone) {
		t.Errorf("reset says %v", reset)
	}
	if events := s.get(eventsPath("s1")).until("end"); events[0].typ != "menu.erased" {
		t.Errorf("a new client gets %+v", events)
	}
}

// Another process may have told a client of an event that this one has not followed yet.
func TestCursorAheadOfThisProcess(t *testing.T) {
	t.Parallel()
	log := newSlowLog()
	s := start(t, onLog(log))
	s.submit("s1", 1)
	s.wait("the hub follows", func() bool { return s.hub.Stats().Head == 2 })
	log.hold()
	ahead := s.tell("s1", 1)
	c := s.get(eventsPath("s1"), "Last-Event-ID: "+at(ahead))
	next := s.tell("s1", 2)
	log.release()
	if events := c.until("task6.attempt_failed"); len(events) > 2 || events[len(events)-1].id != at(next) {
		t.Errorf("got %+v, want the event after the cursor", events)
	}
}

// What existed when the client came is history: it comes before caught-up, even if this process has not followed it yet.
func TestCaughtUpWaitsForTheTail(t *testing.T) {
	t.Parallel()
	log := newSlowLog()
	s := start(t, onLog(log))
	log.hold()
	seq := s.submit("s1", 1)
	c := s.get(eventsPath("s1"))
	s.wait("the stream is open", func() bool { return s.hub.Stats().Opened > 0 })
	log.release()
	if events := c.until("caught-up"); len(events) != 2 || events[0].id != at(seq) {
		t.Errorf("got %+v, want the event, then caught-up", events)
	}
}

func TestHistoryIsAwayOrBehind(t *testing.T) {
	t.Parallel()
	const events = 500
	s := start(t, configured(func(c *sse.Config) { c.Window = sse.Window{Events: 7} }))
	s.submit("s1", 1)
	for i := range events {
		s.tell("s1", i)
	}
	all := s.logged("s1")
	s.wait("the hub follows", func() bool { return at(s.hub.Stats().Head) == all[len(all)-1] })
	behind := func(seq uint64) func(*logHistory) { return func(h *logHistory) { h.upTo = &seq } }
	for _, test := range []struct {
		name   string
		change func(*logHistory)
	}{
		{"BehindByMuch", behind(3)},
		{"BehindByLess", behind(220)},
		{"Empty", behind(0)},
		{"Away", func(h *logHistory) { h.failing = errors.New("connection refused") }},
	} {
		s.history.set(test.change)
		if got := stored(s.get(eventsPath("s1")).until("caught-up")); !slices.Equal(got, all) {
			t.Errorf("%s: got %d events, want %d", test.name, len(got), len(all))
		}
	}
}

func TestOlderEventsCannotBeRead(t *testing.T) {
	t.Parallel()
	log := newSlowLog()
	s := start(t, onLog(log), configured(func(c *sse.Config) { c.Window = sse.Window{Events: 1} }))
	s.submit("s1", 1)
	last := s.tell("s1", 1)
	s.wait("the hub follows", func() bool { return s.hub.Stats().Head == last })
	s.history.set(func(h *logHistory) { h.failing = errors.New("connection refused") })
	log.failPages(errors.New("no responders"))
	c := s.get(eventsPath("s1"))
	if events := c.until("closing"); len(events) != 1 || !strings.Contains(events[0].data, "history_unavailable") {
		t.Errorf("got %+v, want closing: never a hole", events)
	}
	c.wantEOF()
}

// A session that was archived out of the log is read from the history alone: what the log has left of it is no stream.
func TestArchivedSessionIsNotReadFromTheLog(t *testing.T) {
	t.Parallel()
	log := eventstore.NewMemory(0)
	key := menutest.Key("s1")
	first, err := log.AppendMenu(t.Context(), key, 0, storetest.Propose(menutest.Submitted(menutest.Items("d", 1)))...)
	if err != nil {
		t.Fatal(err)
	}
	done, err := log.AppendMenu(t.Context(), key, first.Seq, storetest.Propose(menu.Completed{Round: 1})...)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Erase(t.Context(), key, done.Seq, done.Seq); err != nil { // all but the last menu event, as an archive leaves it
		t.Fatal(err)
	}
	s := start(t, onLog(log))
	s.history.set(func(h *logHistory) { h.failing = errors.New("connection refused") })
	c := s.get(eventsPath("s1"))
	if events := c.until("closing"); len(events) != 1 || !strings.Contains(events[0].data, "history_unavailable") {
		t.Errorf("got %+v, want closing: never a hole", events)
	}
	c.wantEOF()
}

func FuzzParseCursor(f *testing.F) {
	for _, seed := range []string{"", "inc1.0", "inc1.18446744073709551615", "a.b.c", "inc1.", ".1", "x.\x00", strings.Repeat("9", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		inc, seq, err := sse.ParseCursor(raw)
		if err != nil {
			return
		}
		if inc+"."+uintString(seq) != raw {
			t.Errorf("%q was read as %s and %d", raw, inc, seq)
		}
		if strings.ContainsAny(raw, "\r\n\x00 ") {
			t.Errorf("%q would break a frame", raw)
		}
	})
}

package sse_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/handlers/sse"
)

func TestStreamTellsTheWholeSession(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.submit("s1", 1)
	s.submit("other", 1)
	s.tell("s1", 1)

	began := time.Now()
	c := s.get(eventsPath("s1"), "Origin: https://example.com", "Accept-Encoding: gzip")
	if c.status != http.StatusOK {
		t.Fatalf("status %d", c.status)
	}
	first := c.mustNext()
	if took := time.Since(began); took > 100*time.Millisecond {
		t.Errorf("the first event took %s, want less than 100ms", took)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no",
		"Access-Control-Allow-Origin": "*", "Content-Length": "", "Content-Encoding": "", "Etag": "", "Transfer-Encoding": "",
	} {
		if got := c.header.Get(name); got != want {
			t.Errorf("header %s = %q, want %q", name, got, want)
		}
	}
	if c.header.Get("X-Request-Id") == "" {
		t.Error("the headers of the middleware are missing")
	}
	if c.retry != "5000" || !slices.Contains(c.comments, "connected") {
		t.Errorf("retry %q, comments %q", c.retry, c.comments)
	}

	type data struct {
		ID        string          `json:"id"`
		Type      string          `json:"type"`
		Seq       uint64          `json:"seq"`
		Time      string          `json:"time"`
		Tenant    string          `json:"tenant"`
		SessionID string          `json:"session_id"`
		Data      json.RawMessage `json:"data"`
	}
	entries, err := s.log.Load(t.Context(), menutest.Key("s1"))
	if err != nil {
		t.Fatal(err)
	}
	got, want := body[data](t, first), entries[0]
	if first.id != at(want.Seq) || first.typ != "menu.submitted" || got.ID != want.ID || got.Type != "menu.submitted" || got.Seq != want.Seq ||
		got.Time != eventstore.FormatTime(want.Time) || got.Tenant != "public" || got.SessionID != "s1" || string(got.Data) != string(want.Data) {
		t.Errorf("first event is %+v", first)
	}
	if rest := c.until("caught-up"); len(rest) != 2 || rest[0].typ != "task6.attempt_failed" || rest[1].id != rest[0].id {
		t.Errorf("then came %+v, want one more event, and caught-up without an id of its own", rest)
	}
	s.tell("s1", 2)
	if live := c.mustNext(); live.id != s.logged("s1")[2] {
		t.Errorf("then came %+v live", live)
	}
}

func TestStreamPrimesTheCursor(t *testing.T) {
	t.Parallel()
	s := start(t)
	head := s.submit("s1", 1)
	s.wait("the hub follows", func() bool { return s.hub.Stats().Head == head })
	for query, want := range map[string]string{"": at(0), "from=start": at(0), "from=live": at(head), "last_event_id=" + at(1): at(1)} {
		c := s.get(eventsPath("s1", query))
		for c.idBuffer = ""; c.idBuffer == ""; {
			line, err := c.line()
			if err != nil {
				t.Fatal(err)
			}
			if id, ok := strings.CutPrefix(line, "id: "); ok {
				c.idBuffer = id
			}
		}
		if blank, err := c.line(); c.idBuffer != want || blank != "" || err != nil {
			t.Errorf("%q starts with id %q, want %q, then %q, %v", query, c.idBuffer, want, blank, err)
		}
	}
}

func TestStreamStartsLater(t *testing.T) {
	t.Parallel()
	s := start(t, configured(func(c *sse.Config) { c.Window = sse.Window{Events: 3} }))
	s.submit("s1", 1)
	var times []time.Time
	key := menutest.Key("s1")
	for i := range 300 {
		at := menutest.Start().Add(time.Duration(i) * time.Second)
		times = append(times, at)
		e := menu.StageAttemptFailed{Stage: menu.Task6, IDs: []menu.DishID{"s1-0"}, Attempt: i}
		if _, err := s.log.Append(t.Context(), key, eventstore.Proposed{Event: e, Time: at}); err != nil {
			t.Fatal(err)
		}
	}
	all := s.logged("s1")
	s.wait("the hub follows", func() bool { return at(s.hub.Stats().Head) == all[len(all)-1] })
	tests := map[string][]string{
		"from=live":                  nil,
		"since=2999-01-01T00:00:00Z": nil,
		"since=2020-01-01T00:00:00Z": all,
	}
	// The submission carries the present time, which is later than those of the events after it.
	for _, i := range []int{0, 1, 150, 298, 299} {
		tests["since="+times[i].Format(time.RFC3339)] = all
	}
	for query, want := range tests {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			c := get(t, s.address, eventsPath("s1", query))
			if got := stored(c.until("caught-up")); !slices.Equal(got, want) {
				t.Errorf("got %d events, want %d", len(got), len(want))
			}
		})
	}
}

func TestStreamEndsWithItsSession(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.submit("s1", 1)
	c := s.get(eventsPath("s1"))
	c.until("caught-up")
	last := s.finish("s1")
	events := c.until("end")
	if end := events[len(events)-1]; end.data != `{"reason":"completed","rows_url":"/v1/sessions/s1/menus"}` || end.id != at(last) {
		t.Errorf("end is %+v", end)
	}
	c.wantEOF()

	whole := s.get(eventsPath("s1")).until("end")
	if got, want := stored(whole), s.logged("s1"); !slices.Equal(got, want) {
		t.Errorf("the closed session has %v, want %v", got, want)
	}
	if types := []string{whole[len(whole)-2].typ, whole[len(whole)-1].typ}; !slices.Equal(types, []string{"caught-up", "end"}) {
		t.Errorf("it ends with %v", types)
	}
	if live := s.get(eventsPath("s1", "from=live")).until("end"); len(live) != 2 {
		t.Errorf("from=live gives %+v, want caught-up and end", live)
	}
	if c := s.get(eventsPath("s1"), "Last-Event-ID: "+at(last)); c.status != http.StatusNoContent {
		t.Errorf("a client that has seen everything gets %d, want 204", c.status)
	}

	// A picture asked for reopens the session; its answer closes it again, without another menu event.
	s.stageEvent("s1", menu.ImageRequested{ID: "s1-0", Epoch: 1})
	c = s.get(eventsPath("s1"), "Last-Event-ID: "+at(last))
	if c.status != http.StatusOK {
		t.Fatalf("a reopened session gives %d, want 200", c.status)
	}
	if got := c.until("caught-up"); len(got) != 2 || got[0].typ != "image.requested" {
		t.Fatalf("a reopened session gives %+v", got)
	}
	s.stageEvent("s1", menu.ImageCompleted{ID: "s1-0", Epoch: 1, URL: "/x", MediaType: "image/svg+xml"})
	if got := c.until("end"); len(got) != 2 || got[0].typ != "image.completed" {
		t.Fatalf("the session closes with %+v", got)
	}
}

// Rows that do not know yet that a session was reopened do not end its stream.
func TestReopenedBeforeTheRowsKnow(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.submit("s1", 1)
	s.finish("s1")
	s.stageEvent("s1", menu.ImageRequested{ID: "s1-0", Epoch: 1})
	s.sessions.set(func(f *foldedSessions) { f.stale = 2 }) // at the stream's start, and when it has caught up
	c := s.get(eventsPath("s1"))
	for _, e := range c.until("image.requested") {
		if e.typ == "end" {
			t.Fatal("the stream ended before the picture was there")
		}
	}
	s.wait("the rows were asked", func() bool { return s.sessions.asked() > 0 })
	s.stageEvent("s1", menu.ImageCompleted{ID: "s1-0", Epoch: 1, URL: "/x", MediaType: "image/svg+xml"})
	if got := c.until("end"); got[len(got)-2].typ != "image.completed" {
		t.Fatalf("the stream ends with %+v", got)
	}
}

func TestStreamOfAnErasedSessionEndsAtTheTombstone(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.submit("s1", 1)
	c := s.get(eventsPath("s1"))
	c.until("caught-up")
	s.sessions.set(func(f *foldedSessions) { f.failing = fmt.Errorf("away") }) // nobody has to be asked
	seq := s.menuEvent("s1", menu.Erased{By: "test"})
	s.tell("s1", 1)
	if events := c.until("end"); len(events) != 2 || events[0].id != at(seq) || !strings.Contains(events[1].data, `"erased"`) {
		t.Errorf("got %+v", events)
	}
	c.wantEOF()
}

func TestAnswersStandInOrder(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := start(t, configured(func(c *sse.Config) {
		c.EventHistoryTTL = time.Hour
		c.MaxConnections = 2
		c.MaxConnectionsPerSession = 1
		c.Now = func() time.Time { return now }
	}))
	for _, session := range []string{"old", "done", "running"} {
		s.submit(session, 1)
	}
	done := s.finish("done")
	key := menutest.Key("old")
	for _, stage := range menu.Stages() {
		s.stageEvent("old", menutest.Completed(stage, "old-0"))
	}
	old := eventstore.Proposed{Event: menu.Completed{Round: 1, Items: 1, Completed: 1, FailedMenuIDs: []menu.DishID{}}, Time: now.Add(-2 * time.Hour)}
	lane, err := s.log.LoadLane(t.Context(), key, menu.LaneMenu, 0)
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := s.log.AppendMenu(t.Context(), key, lane[0].Seq, old)
	if err != nil {
		t.Fatal(err)
	}
	s.wait("no stream is left of the start", func() bool { return s.hub.Stats().Open == 0 })

	check := func(name string, status int, path string, headers ...string) *client {
		t.Helper()
		c := s.get(path, headers...)
		if c.status != status {
			t.Errorf("%s: status %d, want %d: %s", name, c.status, status, c.body)
		}
		if status < 400 || status == 429 || status == 503 {
			return c
		}
		var p struct {
			Status  int    `json:"status"`
			Title   string `json:"title"`
			RowsURL string `json:"rows_url"`
		}
		if err := json.Unmarshal(c.body, &p); err != nil || p.Status != status || p.Title == "" || c.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: no problem document: %v %s %s", name, err, c.header.Get("Content-Type"), c.body)
		}
		if status == http.StatusGone && p.RowsURL != "/v1/sessions/old/menus" {
			t.Errorf("%s: rows_url %q", name, p.RowsURL)
		}
		return c
	}
	check("bad id of an unknown session", 400, eventsPath("no%2Abody"))
	check("too long id", 400, eventsPath(strings.Repeat("x", 65)))
	check("bad cursor of an unknown session", 400, eventsPath("nobody", "last_event_id=x"))
	check("bad from", 400, eventsPath("running", "from=now"))
	check("bad since", 400, eventsPath("running", "since=yesterday"))
	check("from and since", 400, eventsPath("running", "from=live", "since=2026-01-01T00:00:00Z"))
	check("unknown", 404, eventsPath("nobody"))
	check("expired", 410, eventsPath("old"))
	check("expired before seen", 410, eventsPath("old"), "Last-Event-ID: "+at(receipt.Seq))
	first := check("stream", 200, eventsPath("running"))
	first.until("caught-up")
	if c := check("over the session's limit", 429, eventsPath("running")); c.header.Get("Retry-After") != "5" {
		t.Errorf("Retry-After %q", c.header.Get("Retry-After"))
	}
	s.submit("another", 1)
	second := check("stream", 200, eventsPath("another"))
	second.until("caught-up")
	if c := check("over the server's limit", 503, eventsPath("running")); c.header.Get("Retry-After") != "5" {
		t.Errorf("Retry-After %q", c.header.Get("Retry-After"))
	}
	check("seen everything, before the limit", 204, eventsPath("done"), "Last-Event-ID: "+at(done))
	check("unknown, before the limit", 404, eventsPath("nobody"))
	_ = first.conn.Close()
	s.wait("the place is free", func() bool { return s.hub.Stats().Open == 1 })
	check("stream", 200, eventsPath("running")).until("caught-up")
	if stats := s.hub.Stats(); stats.Refused != 1 || stats.Limited != 1 {
		t.Errorf("%d requests found no place and %d were over a limit, want one of each", stats.Refused, stats.Limited)
	}
}

func TestAddressLimit(t *testing.T) {
	t.Parallel()
	s := start(t, configured(func(c *sse.Config) { c.MaxConnectionsPerAddress = 1 }))
	s.submit("s1", 1)
	s.submit("s2", 1)
	s.wait("no stream is left of the start", func() bool { return s.hub.Stats().Open == 0 })
	c := s.get(eventsPath("s1"))
	c.until("caught-up")
	if c := s.get(eventsPath("s2")); c.status != http.StatusTooManyRequests {
		t.Errorf("status %d, want 429", c.status)
	}
}

func TestSessionThatPostgresDoesNotKnowYet(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.submit("s1", 1)
	for name, change := range map[string]func(*foldedSessions){
		"NoRow": func(f *foldedSessions) { f.missing = true },
		"Away":  func(f *foldedSessions) { f.failing = fmt.Errorf("connection refused") },
	} {
		s.sessions.set(change)
		c := s.get(eventsPath("s1"))
		if got := stored(c.until("caught-up")); len(got) != 1 {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if c := s.get(eventsPath("nobody")); c.status != http.StatusServiceUnavailable || c.header.Get("Retry-After") == "" {
		t.Errorf("an unknown session while the rows are away gives %d, want 503", c.status)
	}
}

// A silent stream carries comments, and the server's own time limits do not end it.
func TestKeepalive(t *testing.T) {
	t.Parallel()
	s := start(t, configured(func(c *sse.Config) { c.KeepaliveInterval = 20 * time.Millisecond }), func(set *setup) {
		set.fiber.ReadTimeout, set.fiber.WriteTimeout, set.fiber.IdleTimeout = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	})
	s.submit("s1", 1)
	c := s.get(eventsPath("s1"))
	c.until("caught-up")
	began := time.Now()
	for n := 0; n < 15; {
		line, err := c.line()
		if err != nil {
			t.Fatalf("after %s: %v", time.Since(began), err)
		}
		if line == ": keepalive" {
			n++
		}
	}
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("15 keepalives came within %s", took)
	}
	s.tell("s1", 1)
	if e := c.mustNext(); e.typ != "task6.attempt_failed" {
		t.Errorf("got %+v", e)
	}
}

func TestClientIsServed(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.get("/client.js")
	if c.status != http.StatusOK || !strings.HasPrefix(c.header.Get("Content-Type"), "text/javascript") {
		t.Fatalf("got %d %s", c.status, c.header.Get("Content-Type"))
	}
	source := string(c.body)
	for _, want := range []string{"?? 5000;", "maxReconnectAttempts = 3 }", "last_event_id"} {
		if !strings.Contains(source, want) {
			t.Errorf("the client lacks %q", want)
		}
	}
	if lines := strings.Count(source, "\n"); lines > 90 {
		t.Errorf("the client has %d lines", lines)
	}
}

// The rows may be ahead of what this process has followed: a session that closed again later ends its stream later.
func TestStreamDoesNotEndBeforeItsLastEvent(t *testing.T) {
	t.Parallel()
	log := newSlowLog()
	s := start(t, onLog(log))
	s.submit("s1", 1)
	c := s.get(eventsPath("s1"))
	c.until("caught-up")
	answer := make(chan struct{})
	s.sessions.set(func(f *foldedSessions) { f.wait = func() { <-answer } })
	s.finish("s1")
	c.until("menu.completed")
	s.wait("the stream has asked whether the session is closed", func() bool { return s.sessions.asked() > 0 })
	log.hold()
	s.stageEvent("s1", menu.ImageRequested{ID: "s1-0", Epoch: 1})
	s.stageEvent("s1", menu.ImageCompleted{ID: "s1-0", Epoch: 1, URL: "/x", MediaType: "image/svg+xml"})
	close(answer)
	s.channel.say(key("s1"), "note", "{}")
	c.until("note")
	log.release()
	if events := c.until("end"); len(events) != 3 || events[0].typ != "image.requested" || events[1].typ != "image.completed" {
		t.Errorf("the stream ended with %+v", events)
	}
}

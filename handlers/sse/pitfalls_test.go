package sse_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/eventstore/trail"
	"kondate/handlers/sse"
	"kondate/streams"
	"kondate/streams/natstest"
)

// Every test that docs/streams.md names is there, and it names one for every pitfall.
func TestPitfallsHaveTests(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	doc, err := os.ReadFile(filepath.Join(root, "docs", "streams.md"))
	if err != nil {
		t.Fatal(err)
	}
	var code bytes.Buffer
	for _, dir := range []string{"handlers/sse", "streams", "eventstore", "cmd/kondate"} {
		files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests in %s: %v", dir, err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(text)
		}
	}
	names := regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w+`)
	rows := 0
	for row := range strings.Lines(string(doc)) {
		if !strings.HasPrefix(row, "| ") || strings.HasPrefix(row, "| What") || strings.Contains(row, "`kondate_") || strings.Contains(row, "GET /metrics") {
			continue
		}
		rows++
		named := names.FindAllString(row, -1)
		if len(named) == 0 {
			t.Errorf("no test: %s", row)
		}
		for _, name := range named {
			if !bytes.Contains(code.Bytes(), []byte("func "+name+"(")) {
				t.Errorf("there is no %s", name)
			}
		}
	}
	if rows < 12+4 {
		t.Errorf("%d pitfalls are listed", rows)
	}
}

// The HTTP server's access log sees a handler that took microseconds; what a stream was is said at its end.
func TestStreamsAreLoggedAtTheirEnd(t *testing.T) {
	t.Parallel()
	var log natstest.LogBuffer
	s := start(t, configured(func(c *sse.Config) {
		c.Logger = slog.New(trail.NewHandler(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	}))
	s.submit("s1", 1)
	c := s.get(eventsPath("s1"))
	c.until("caught-up")
	began := time.Now()
	s.tell("s1", 1)
	c.until("task6.attempt_failed")
	_ = c.conn.Close()
	var line struct {
		Msg      string        `json:"msg"`
		Session  string        `json:"session_id"`
		Ended    string        `json:"ended"`
		Duration time.Duration `json:"duration"`
		Events   int           `json:"events"`
		Bytes    int           `json:"bytes"`
	}
	s.wait("the end is logged", func() bool {
		for text := range strings.Lines(log.String()) {
			if json.Unmarshal([]byte(text), &line) == nil && line.Session == "s1" && line.Msg == "stream ended" {
				return true
			}
		}
		return false
	})
	if line.Msg != "stream ended" || line.Ended != "departed" || line.Events < 2 || line.Bytes < 500 || line.Duration <= 0 || line.Duration > 2*time.Since(began)+time.Minute {
		t.Errorf("the log says %+v", line)
	}
}

// A stream costs two goroutines, one that writes and one that watches; no pipe and nobody in between.
func TestStreamTakesTwoGoroutines(t *testing.T) { //nolint:paralleltest // it counts the goroutines of the process
	const streams = 100
	s := start(t)
	s.submit("s1", 1)
	s.wait("no stream is left of the start", func() bool { return s.hub.Stats().Open == 0 })
	before := runtime.NumGoroutine()
	for range streams {
		s.get(eventsPath("s1")).until("caught-up")
	}
	if n := runtime.NumGoroutine() - before; n > 2*streams+10 {
		t.Errorf("%d streams take %d goroutines", streams, n)
	}
}

// The HTTP server uses a request's memory again for the next one.
func TestStreamsKeepNothingOfTheirRequest(t *testing.T) {
	t.Parallel()
	const sessions = 20
	s := start(t, configured(func(c *sse.Config) { c.MaxConnectionsPerSession = 1 }))
	name := func(i int) string { return fmt.Sprintf("session-with-a-long-name-%02d", i) }
	var clients []*client
	for i := range sessions {
		first := s.submit(name(i), 1)
		s.tell(name(i), 1)
		clients = append(clients, s.get(eventsPath(name(i), "last_event_id="+at(first))))
	}
	for i := range 200 { // of the same length as those above, and longer
		s.get(eventsPath(fmt.Sprintf("nobody-of-the-same-length-%02d", i%100), "last_event_id="+at(1<<40+uint64(i))), "X-Filler: "+strings.Repeat("y", i))
	}
	for i, c := range clients {
		if full := s.get(eventsPath(name(i))); full.status != 429 {
			t.Errorf("the place of %s is lost: status %d", name(i), full.status)
		}
		s.finish(name(i))
		events := c.until("end")
		if got, want := stored(events), s.logged(name(i))[1:]; !slices.Equal(got, want) {
			t.Errorf("%s got %v, want %v", name(i), got, want)
		}
		if end := events[len(events)-1].data; !strings.Contains(end, "/v1/sessions/"+name(i)+"/menus") {
			t.Errorf("the stream of %s ends with %s", name(i), end)
		}
	}
}

// The broker knows one consumer of this process, however many streams there are and wherever they resume.
func TestStreamsShareOneConsumer(t *testing.T) {
	t.Parallel()
	const clients = 200
	broker := natstest.New(t)
	js := broker.JetStream()
	s := start(t, onLog(eventstore.NewJetStream(js, eventstore.Config{Logger: slog.New(slog.DiscardHandler)})),
		configured(func(c *sse.Config) { c.Window = sse.Window{Events: 2} }))
	s.history.set(func(h *logHistory) { h.failing = errors.New("connection refused") }) // so that old events are read from the log
	first := s.submit("s1", 1)
	for i := range 20 {
		s.tell("s1", i)
	}
	count := func() int {
		stream, err := js.Stream(t.Context(), streams.EventStream)
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().State.Consumers
	}
	live := s.get(eventsPath("s1"))
	live.until("caught-up")
	s.tell("s1", 20)
	live.mustNext() // it came by the consumer, which is there now
	before := count()
	for i := range clients {
		c := s.get(eventsPath("s1"), "Last-Event-ID: "+at(first))
		if got := stored(c.until("caught-up")); len(got) != 21 {
			t.Fatalf("client %d got %d events", i, len(got))
		}
		if i%2 == 0 {
			_ = c.conn.Close()
		}
	}
	if now := count(); now != before {
		t.Errorf("%d streams took %d consumers", clients, now-before)
	}
}

// What means several subjects to the broker is no session.
func TestSessionsAreNoWildcards(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.submit("s1", 1)
	for _, id := range []string{"*", "%2A", ">", "%3E", "s1.>", "s1%2E%3E", "a.b", "s*", "s1%20", "%20", "s1%00", "s1%0D%0Aid:%201", "%EF%BC%8A", "s1%2F", "..", "$JS"} {
		for _, path := range []string{eventsPath(id), eventsPath(id, "from=live"), eventsPath(id, "last_event_id="+at(0))} {
			if c := s.get(path); c.status != 400 && c.status != 404 {
				t.Errorf("%s gives %d", path, c.status)
			}
		}
	}
	if c := s.get(eventsPath("%3E")); c.status != 400 {
		t.Errorf("a wildcard gives %d, want 400", c.status)
	}
}

// An event of exactly the size that is allowed goes through the broker and a stream; one byte more is refused.
func TestEventOfTheSizeLimit(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	log := eventstore.NewJetStream(natstest.New(t).JetStream(), eventstore.Config{MaxEventSize: limit, Logger: slog.New(slog.DiscardHandler)})
	s := start(t, onLog(log))
	s.submit("s1", 1)
	c := s.get(eventsPath("s1"))
	c.until("caught-up")
	event := func(filler int) eventstore.Proposed {
		return eventstore.Proposed{Time: time.Now(), Event: menu.StageAttemptFailed{
			Stage: menu.Task6, IDs: []menu.DishID{"s1-0"}, Attempt: 1, Reason: strings.Repeat("x", filler),
		}}
	}
	empty, err := eventstore.Encode(key("s1"), event(0))
	if err != nil {
		t.Fatal(err)
	}
	room := limit - len(empty.Data)
	if _, err := log.Append(t.Context(), key("s1"), event(room+1)); !errors.Is(err, eventstore.ErrTooLarge) {
		t.Errorf("one byte more: %v, want ErrTooLarge", err)
	}
	if _, err := log.Append(t.Context(), key("s1"), event(room)); err != nil {
		t.Fatal(err)
	}
	e := c.mustNext()
	if got := body[struct {
		Data json.RawMessage `json:"data"`
	}](t, e); len(got.Data) != limit {
		t.Errorf("%s came with %d bytes, want %d", e.typ, len(got.Data), limit)
	}
}

func TestHeadIsNoStream(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.submit("s1", 1)
	resp, err := http.Head("http://" + s.address + eventsPath("s1")) //nolint:noctx // it answers at once
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD gives %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	http.DefaultClient.CloseIdleConnections()
}

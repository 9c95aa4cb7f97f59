package sse_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"kondate/eventstore"
	"kondate/handlers/sse"
)

func TestClose(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.submit("s1", 1)
	clients := make([]*client, 50)
	for i := range clients {
		clients[i] = s.get(eventsPath("s1"))
		clients[i].until("caught-up")
	}
	if state, head := s.hub.State(); state != sse.StateFollowing || head == 0 {
		t.Errorf("with open streams the hub is %s at %d", state, head)
	}
	if stats := s.hub.Stats(); stats.Open != len(clients) || stats.Behind < 0 || stats.Behind > len(clients) {
		t.Errorf("%+v", stats)
	}
	began := time.Now()
	if err := s.hub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state, _ := s.hub.State(); state != sse.StateClosing {
		t.Errorf("after Close the hub is %s", state)
	}
	if behind := s.hub.Stats().Behind; behind != 0 {
		t.Errorf("after Close %d streams have something to write", behind)
	}
	if c := s.get(eventsPath("s1")); c.status != http.StatusServiceUnavailable || c.header.Get("Retry-After") == "" {
		t.Errorf("after Close a new stream gets %d, want 503", c.status)
	}
	if err := s.app.ShutdownWithTimeout(5 * time.Second); err != nil {
		t.Errorf("shut the app down: %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s with %d open streams", took, len(clients))
	}
	pauses := map[string]bool{}
	for _, c := range clients {
		e := c.mustNext()
		data := body[struct {
			Reason      string `json:"reason"`
			ReconnectMS int    `json:"reconnect_ms"`
		}](t, e)
		if e.typ != "closing" || data.Reason != "shutdown" || data.ReconnectMS < 5000 || data.ReconnectMS > 10_000 || c.retry != fmt.Sprint(data.ReconnectMS) {
			t.Errorf("got %+v with retry %s", e, c.retry)
		}
		pauses[c.retry] = true
		c.wantEOF()
	}
	if len(pauses) < 10 {
		t.Errorf("%d clients come back in %d different moments", len(clients), len(pauses))
	}
}

// A client that takes nothing does not hold the shutdown up.
func TestCloseCutsWhoStandsStill(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.submit("s1", 1)
	stalled := s.getNarrow(eventsPath("s1"))
	stalled.until("caught-up")
	for i := range 20 {
		s.bigEvent("s1", i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := s.hub.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close = %v, want that it had to cut", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("Close took %s, its context 200ms", took)
	}
	if open := s.hub.Stats().Open; open != 0 {
		t.Errorf("%d streams are open after Close", open)
	}
}

// Nor does a projection that stands still.
func TestCloseWhileTheRowsAreBehind(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.submit("s1", 1)
	s.sessions.set(func(f *foldedSessions) { f.behind = true })
	c := s.get(eventsPath("s1"))
	c.until("caught-up")
	s.finish("s1")
	s.wait("somebody has asked", func() bool { return s.sessions.asked() > 0 })
	s.tell("s1", 1) // the stream goes on meanwhile
	c.until("task6.attempt_failed")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.hub.Close(ctx); err != nil {
		t.Errorf("Close = %v", err)
	}
	c.until("closing")
}

func TestRunEndsTheStreams(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.submit("s1", 1)
	c := s.get(eventsPath("s1"))
	c.until("caught-up")
	s.stop()
	if err := <-s.ran; !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	if e := c.mustNext(); e.typ != "closing" {
		t.Errorf("got %+v", e)
	}
	c.wantEOF()
}

// lateLog does not answer the first few times, as a broker does that chooses a leader.
type lateLog struct {
	*eventstore.Memory
	failures atomic.Int32
}

func (l *lateLog) Last(ctx context.Context) (uint64, error) {
	if l.failures.Add(-1) >= 0 {
		return 0, context.DeadlineExceeded
	}
	return l.Memory.Last(ctx)
}

// A log that is away when the hub begins is waited for: the process does not end for it.
func TestLogAwayAtTheStart(t *testing.T) {
	t.Parallel()
	log := &lateLog{Memory: eventstore.NewMemory(0)}
	log.failures.Store(2)
	s := start(t, onLog(log))
	s.submit("s1", 1)
	s.get(eventsPath("s1")).until("caught-up")
}

// brokenLog ends the tail when it is told to, as a log does that was made anew.
type brokenLog struct {
	*eventstore.Memory
	broken chan struct{}
}

func (l *brokenLog) Follow(ctx context.Context, after uint64, fn func(context.Context, []eventstore.Entry) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-l.broken:
			cancel(eventstore.ErrOtherLog)
		case <-ctx.Done():
		}
	}()
	return l.Memory.Follow(ctx, after, fn)
}

func TestLogMadeAnewEndsTheStreams(t *testing.T) {
	t.Parallel()
	log := &brokenLog{Memory: eventstore.NewMemory(0), broken: make(chan struct{})}
	s := start(t, onLog(log))
	s.submit("s1", 1)
	c := s.get(eventsPath("s1"))
	c.until("caught-up")
	close(log.broken)
	if e := c.mustNext(); e.typ != "closing" {
		t.Errorf("got %+v", e)
	}
	c.wantEOF()
	if err := <-s.ran; !errors.Is(err, eventstore.ErrOtherLog) {
		t.Errorf("Run = %v, want ErrOtherLog", err)
	}
	if c := s.get(eventsPath("s1")); c.status != http.StatusServiceUnavailable {
		t.Errorf("a new stream gets %d, want 503", c.status)
	}
}

// Streams come back to another process and miss nothing.
func TestResumeAtAnotherProcess(t *testing.T) {
	t.Parallel()
	log := eventstore.NewMemory(0)
	one, two := start(t, onLog(log)), start(t, onLog(log))
	one.submit("s1", 1)
	c := one.get(eventsPath("s1"))
	got := stored(c.until("caught-up"))
	one.tell("s1", 1)
	got = append(got, stored(c.until("task6.attempt_failed"))...)
	if err := one.hub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	two.tell("s1", 2)
	c = two.get(eventsPath("s1"), "Last-Event-ID: "+c.lastID)
	got = append(got, stored(c.until("caught-up"))...)
	two.finish("s1")
	got = append(got, stored(c.until("end"))...)
	if want := two.logged("s1"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	if err := defaults().Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	for name, change := range map[string]func(*sse.Config){
		"MaxConnections":           func(c *sse.Config) { c.MaxConnections = 0 },
		"MaxConnectionsPerSession": func(c *sse.Config) { c.MaxConnectionsPerSession = -1 },
		"MaxConnectionsPerAddress": func(c *sse.Config) { c.MaxConnectionsPerAddress = -1 },
		"KeepaliveInterval":        func(c *sse.Config) { c.KeepaliveInterval = 0 },
		"EventHistoryTTL":          func(c *sse.Config) { c.EventHistoryTTL = -1 },
		"MaxEventSize":             func(c *sse.Config) { c.MaxEventSize = 0 },
		"ReconnectInterval":        func(c *sse.Config) { c.ReconnectInterval = 0 },
		"MaxReconnectAttempts":     func(c *sse.Config) { c.MaxReconnectAttempts = -1 },
		"Incarnation":              func(c *sse.Config) { c.Incarnation = "a.b" },
		"Tenant":                   func(c *sse.Config) { c.Tenant = nil },
		"Now":                      func(c *sse.Config) { c.Now = nil },
		"Logger":                   func(c *sse.Config) { c.Logger = nil },
		"WriteTimeout":             func(c *sse.Config) { c.WriteTimeout = -1 },
		"Window":                   func(c *sse.Config) { c.Window.Bytes = -1 },
	} {
		cfg := defaults()
		change(&cfg)
		if _, err := sse.NewHub(nil, nil, nil, cfg); err == nil || !containsField(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

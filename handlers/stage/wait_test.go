package stage_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
	"kondate/streams"
)

// waitingDishes submits n dishes in menus of a hundred that all fail in every stage, and returns once they wait.
func (s *site) waitingDishes(n int) (keys []menu.Key) {
	s.tb.Helper()
	for i := range n / 100 {
		keys = append(keys, s.submit(menu.SessionID(fmt.Sprintf("waits%d", i)), 100))
	}
	if n == 0 {
		return nil
	}
	s.until(0, func(sessions map[menu.Key]menu.Session) bool {
		waits := 0
		for _, key := range keys {
			for _, d := range sessions[key].Dishes {
				if !slices.ContainsFunc(d.Stages[:], func(st menu.StageState) bool { return st.Attempts == 0 }) {
					waits++
				}
			}
		}
		return waits == n
	})
	s.idle(true)
	return keys
}

// failing fails the first attempt of the menus that wait, and answers everything else.
func failing(_ context.Context, r stage.Request) (menu.Result, error) {
	if r.Attempt == 1 && strings.HasPrefix(string(r.Key.Session), "waits") {
		return menu.Result{}, errPlain
	}
	return ok(r), nil
}

// Ten thousand dishes that wait for their next attempt keep nobody's place: their deliveries are done with, and a menu
// that comes later takes what it takes without them.
func TestWaitingDishesHoldNothingUp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.start(&scripted{answer: failing}, func(cfg *stage.Config) { cfg.RetryDelay = time.Hour })
	s.waitingDishes(10_000)
	exactlyOnce(t, s.answered(s.submit("healthy", 10)), 10)
	stream, err := s.js.Stream(t.Context(), streams.RetryStream)
	if err != nil {
		t.Fatal(err)
	}
	if got, least := stream.CachedInfo().State.Msgs, uint64(menu.StageCount*100); got < least {
		t.Errorf("%d schedules wait, want one at least for each of %d chunks and stages", got, least)
	}
}

// The wait belongs to the broker: it goes on while no process runs, and over a restart of the broker.
func TestWaitOutlivesEveryProcess(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first := &scripted{answer: failing}
	soon := func(cfg *stage.Config) { cfg.RetryDelay = time.Second }
	_, stop := s.start(first, soon)
	keys := s.waitingDishes(100)
	stop()
	s.srv.Stop()
	s.srv.Restart()
	second := &scripted{answer: failing}
	s.start(second, soon)
	exactlyOnce(t, s.answered(keys[0]), 100)
	s.idle(false)
	for _, r := range second.requests() {
		if r.Attempt != 2 {
			t.Fatalf("the second process made attempt %d: %+v", r.Attempt, r)
		}
	}
}

// The client's pulls can stand still when every message of a pull is handled before the pulling goroutine runs again; it
// shows with many consumers in one process and handlers that take no time. Ours ask anew after each pull: nothing stands
// still for longer than one.
func TestNoPullStandsStill(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const menus = 400
	for i := range menus {
		s.submit(menu.SessionID(fmt.Sprintf("s%d", i)), 1)
	}
	var (
		mu      sync.Mutex // guards last, longest
		last    = map[menu.Stage]time.Time{}
		longest time.Duration
	)
	s.start(&scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		if before := last[r.Stage]; !before.IsZero() {
			longest = max(longest, time.Since(before))
		}
		last[r.Stage] = time.Now()
		return ok(r), nil
	}}, s.patient())
	s.idle(false)
	mu.Lock()
	defer mu.Unlock()
	t.Logf("the longest pause of a stage with work at hand: %s", longest)
	if longest > 5*time.Second {
		t.Errorf("a stage stood still for %s", longest)
	}
}

// A stream of retries that was lost takes nobody's attempt along: the log knows when each was due. Two processes find
// out, and each dish is asked for once.
func TestLostSchedulesAreMadeUpFor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, stop := s.start(&scripted{answer: failing}, func(cfg *stage.Config) { cfg.RetryDelay = time.Hour })
	key := s.submit("waits0", 30)
	s.until(0, func(sessions map[menu.Key]menu.Session) bool {
		waits := 0
		for _, d := range sessions[key].Dishes {
			for _, st := range d.Stages {
				waits += st.Attempts
			}
		}
		return waits == menu.StageCount*30
	})
	s.idle(true)
	stop()
	if err := s.js.DeleteStream(t.Context(), streams.RetryStream); err != nil {
		t.Fatal(err)
	}
	if err := streams.Ensure(t.Context(), s.js, s.srv.Topology()); err != nil {
		t.Fatal(err)
	}
	later := func(cfg *stage.Config) { // two hours have passed
		cfg.Clock = func() time.Time { return time.Now().Add(2 * time.Hour) }
		cfg.Overdue = s.overdue
	}
	a, b := &scripted{answer: failing}, &scripted{answer: failing}
	s.start(a, later)
	s.start(b, later)
	exactlyOnce(t, s.answered(key), 30)
	s.idle(false)
	if got, want := len(a.asked())+len(b.asked()), menu.StageCount*30; got != want {
		t.Errorf("%d calls, want %d", got, want)
	}
}

// overdue finds in the log what the rows would know.
func (s *site) overdue(ctx context.Context, before time.Time, limit int) ([]eventstore.Entry, error) {
	entries, err := s.store.Read(ctx, 0, limit)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(entries, func(e eventstore.Entry) bool {
		failed, is := e.Event.(menu.StageAttemptFailed)
		return !is || !failed.RetryAt.Before(before)
	}), nil
}

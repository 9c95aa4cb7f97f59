package stage_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
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
// shows with many consumers in one process and handlers that take no time. The broker then has messages, nothing is at
// work, and nobody asks, for a whole pull expiry. Ours ask anew after each pull: hardly ever does a look find nobody asking.
func TestNoPullStandsStill(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const menus, looks = 400, 40
	for i := range menus {
		s.submit(menu.SessionID(fmt.Sprintf("s%d", i)), 1)
	}
	s.start(&scripted{answer: answerOK}, s.patient())
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	still, longest := map[menu.Stage]int{}, 0 // looks in a row
	for busy := true; busy; <-tick.C {
		busy = false
		for _, st := range menu.Stages() {
			consumer, err := streams.OpenConsumer(t.Context(), s.js, streams.StageConsumer(st))
			if err != nil {
				t.Fatal(err)
			}
			info := consumer.CachedInfo()
			busy = busy || info.NumPending > 0 || info.NumAckPending > 0
			if still[st]++; info.NumPending == 0 || info.NumAckPending > 0 || info.NumWaiting > 0 || info.Delivered.Consumer == 0 {
				still[st] = 0
			}
			if longest = max(longest, still[st]); longest > looks {
				t.Fatalf("%s has %d messages before it, none at work, and does not ask: %d looks in a row", st, info.NumPending, longest)
			}
		}
	}
	t.Logf("at most %d looks in a row found a stage that did not ask", longest)
	s.idle(false)
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

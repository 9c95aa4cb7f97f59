package projections_test

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/projections"
)

// expiring returns settings with which a session expires at an age.
func expiring(age time.Duration) projections.ProjectorConfig {
	cfg := config()
	cfg.SessionTTL = age
	return cfg
}

func (f *fixture) at(when time.Time, key menu.Key, events ...menu.Event) {
	f.Helper()
	for _, e := range events {
		p := eventstore.Proposed{Event: e, Time: when}
		var err error
		if e.Type().Lane() == menu.LaneMenu {
			_, err = f.log.AppendMenu(f.Context(), key, f.menuSeq(key), p)
		} else {
			_, err = f.log.Append(f.Context(), key, p)
		}
		if err != nil {
			f.Fatal(err)
		}
	}
}

// Sessions that take too long expire, once, though two projectors look; the others do not. Answers that come later
// count, and the last of them completes the session after all.
func TestSessionsExpire(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	now := time.Now()
	old, young, answered, reopened, stuck := menutest.Key("old"), menutest.Key("young"), menutest.Key("answered"), menutest.Key("reopened"), menutest.Key("stuck")
	items := map[menu.Key][]menu.Item{}
	for key, age := range map[menu.Key]time.Duration{
		old: 2 * time.Hour, young: 0, answered: 2 * time.Hour, reopened: 3 * time.Hour, stuck: 3 * time.Hour,
	} {
		items[key] = menutest.Items(string(key.Session), 2)
		f.at(now.Add(-age), key, menutest.Submitted(items[key]))
	}
	for _, stage := range menu.Stages() {
		f.at(now, answered, menutest.Completed(stage, menutest.IDs(items[answered])...))
		for key, since := range map[menu.Key]time.Duration{reopened: time.Minute, stuck: 2 * time.Hour} {
			ids := menutest.IDs(items[key])
			if stage != menu.Task8 {
				f.at(now.Add(-3*time.Hour), key, menutest.Completed(stage, ids...))
				continue
			}
			f.at(now.Add(-3*time.Hour), key, parked(menu.Task8, ids...), menu.Completed{Round: 1, Items: 2, Failed: 2})
			f.at(now.Add(-since), key, menu.StageRetryRequested{Stage: menu.Task8, IDs: ids, Epoch: 1, By: "cook"})
		}
	}
	f.at(now, old, menutest.Completed(menu.Allergen, menutest.IDs(items[old])...))
	for range 2 {
		f.project(f.log, expiring(time.Hour))
	}
	f.eventually("two sessions to expire", func() bool {
		return f.expired(old) == 1 && f.expired(stuck) == 1
	})
	f.completed(f.log, answered, 1)
	f.settle()
	for key, want := range map[menu.Key]menu.SessionStatus{
		old: menu.SessionExpired, stuck: menu.SessionExpired, young: menu.SessionProcessing, reopened: menu.SessionProcessing, answered: menu.SessionCompleted,
	} {
		if got := f.session(key).Status; got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	entries, err := f.log.LoadLane(t.Context(), old, menu.LaneMenu, 0)
	if err != nil {
		t.Fatal(err)
	}
	if e, is := entries[len(entries)-1].Event.(menu.Expired); !is || e.Unanswered != 14 || entries[len(entries)-1].Causation == "" {
		t.Errorf("recorded %+v", entries[len(entries)-1])
	}

	f.answer(old, items[old])
	f.completed(f.log, old, 1)
	f.settle()
	if got := f.session(old); got.Status != menu.SessionCompleted || got.Completed != 2 {
		t.Errorf("after the last answer: %+v", got)
	}
	if n := f.expired(old) + f.expired(stuck) + f.expired(young) + f.expired(reopened) + f.expired(answered); n != 2 {
		t.Errorf("%d expiries", n)
	}
}

func (f *fixture) expired(key menu.Key) (n int) {
	f.Helper()
	entries, err := f.log.LoadLane(f.Context(), key, menu.LaneMenu, 0)
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		if _, is := e.Event.(menu.Expired); is {
			n++
		}
	}
	return n
}

// A projector that comes back after a long time finds sessions whose answers it has not folded yet: they are not late.
func TestAnsweredSessionsDoNotExpireWhileTheRowsAreBehind(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	long := time.Now().Add(-5 * time.Hour)
	key := menutest.Key("s")
	f.at(long, key, menutest.Submitted(menutest.Items("s", 3)))
	stop := f.project(f.log, config())
	f.settle()
	if err := stop(); err == nil {
		t.Fatal("it did not run")
	}
	for i := range 300 {
		f.at(long, menutest.Key("other"+string(rune('a'+i%26))+string(rune('a'+i/26))), menutest.Submitted(menutest.Items("o"+string(rune('a'+i%26))+string(rune('a'+i/26)), 1)))
	}
	for _, stage := range menu.Stages() {
		f.at(long, key, menutest.Completed(stage, "s-0", "s-1", "s-2"))
	}
	f.project(f.log, expiring(time.Hour))
	f.completed(f.log, key, 1)
	if f.expired(key) != 0 {
		t.Error("a session with all its answers expired")
	}
}

// While a session runs it is told how far it is; when it ends it is told no more.
func TestProgressIsTold(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var (
		mu   sync.Mutex // guards told
		told = map[menu.Key][]projections.SessionProgress{}
	)
	cfg := config()
	cfg.ProgressInterval = 20 * time.Millisecond
	cfg.Progress = func(key menu.Key, body []byte) error {
		var p projections.SessionProgress
		if err := json.Unmarshal(body, &p); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		told[key] = append(told[key], p)
		return nil
	}
	of := func(key menu.Key) []projections.SessionProgress {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(told[key])
	}
	a, b := menutest.Key("a"), menutest.Key("b")
	items := f.submit(a, 3)
	f.submit(b, 1)
	for range 2 { // one leads, one waits: nobody is told twice
		f.project(f.log, cfg)
	}
	f.eventually("the first progress", func() bool { return len(of(a)) > 0 && len(of(b)) > 0 })
	if p := of(a)[0]; p.SessionID != "a" || p.Status != menu.SessionProcessing || p.Items != 3 || p.Unanswered != 24 || p.LastSeq != 1 {
		t.Errorf("%+v", p)
	}
	f.stageEvents(a, menutest.Completed(menu.Allergen, "a-0", "a-1"))
	f.eventually("two answers", func() bool { p := of(a); return p[len(p)-1].Unanswered == 22 })
	f.answer(a, items)
	f.completed(f.log, a, 1)
	f.settle()
	before, other := len(of(a)), len(of(b))
	f.eventually("five more of the other session", func() bool { return len(of(b)) > other+5 })
	if after := len(of(a)); after > before+1 { // one may have been on its way
		t.Errorf("%d messages after the end", after-before)
	}
}

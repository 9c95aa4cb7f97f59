package stage_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
)

func TestConfigNamesEveryBadField(t *testing.T) {
	t.Parallel()
	err := stage.Config{}.Validate()
	for _, field := range []string{
		"Providers[translation]", "Providers[task8]", "MaxParallelTasks", "TaskTimeout", "RetryAttempts", "RetryDelay", "AckWait", "Clock", "Logger",
	} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in %v", field, err)
		}
	}
	if err := config(&scripted{answer: answerOK}).Validate(); err != nil {
		t.Errorf("a valid configuration: %v", err)
	}
	if _, err := stage.New(eventstore.NewMemory(0), newQueue(), newQueue().consumer, stage.Config{}); err == nil {
		t.Error("New took an empty configuration")
	}
}

// What became ready together stands in one event: all eight stages answer 35 dishes with one event each.
func TestFastProviderAnswersAMenuInOneEventPerStage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t, &scripted{answer: answerOK})
		defer w.stop()
		submitted := w.submit(t, "s", 35)[0]
		for _, s := range menu.Stages() {
			if acked, _ := w.queue.deliver(s, submitted, 1).settled(); !acked {
				t.Errorf("%s was not acknowledged", s)
			}
		}
		history := w.history(t, "s")
		if got := len(history) - 1; got != menu.StageCount {
			t.Errorf("%d events for 8 stages", got)
		}
		counts := tally(history)
		if len(counts) != 8*35 {
			t.Errorf("%d answers, want %d", len(counts), 8*35)
		}
		for a, n := range counts {
			if n != 1 {
				t.Errorf("%v was answered %d times", a, n)
			}
		}
		for _, entry := range history[1:] {
			if entry.Causation != submitted.ID || entry.Correlation != submitted.Correlation {
				t.Errorf("%s is caused by %q in %q, want %q in %q", entry.Type, entry.Causation, entry.Correlation, submitted.ID, submitted.Correlation)
			}
		}
	})
}

// A slow dish holds nobody up: each result is recorded 25 ms after the first that waits, the last one at once.
func TestSlowProviderShowsEachDishWhenItIsReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		took := map[menu.DishID]int{"d0": 0, "d1": 10, "d2": 24, "d3": 26, "d4": 200} // milliseconds
		w := setup(t, &scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
			<-time.After(time.Duration(took[r.Item.ID]) * time.Millisecond)
			return ok(r), nil
		}})
		defer w.stop()
		w.queue.deliver(menu.Allergen, w.submit(t, "s", 5)[0], 1).settled()
		var got []string
		for _, entry := range w.history(t, "s")[1:] {
			e := entry.Event.(menu.StageCompleted)
			ids := make([]string, len(e.Results))
			for i, r := range e.Results {
				ids[i] = string(r.ID)
			}
			got = append(got, fmt.Sprintf("%s at %s", strings.Join(ids, "+"), entry.Time.Sub(start).Round(time.Millisecond)))
		}
		want := "d0+d1+d2 at 25ms, d3 at 51ms, d4 at 200ms"
		if strings.Join(got, ", ") != want {
			t.Errorf("recorded %s\nwant %s", strings.Join(got, ", "), want)
		}
	})
}

func TestLargeResultsAreSplit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t, &scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
			res := ok(r)
			res.Data = []byte(`{"text":"` + strings.Repeat("x", 100<<10) + `"}`)
			return res, nil
		}})
		defer w.stop()
		w.queue.deliver(menu.Description, w.submit(t, "s", 20)[0], 1).settled()
		history := w.history(t, "s")
		for _, entry := range history[1:] {
			if len(entry.Data) > stage.FlushBytes+(110<<10) {
				t.Errorf("an event of %d bytes", len(entry.Data))
			}
		}
		if len(history)-1 < 4 || len(tally(history)) != 20 {
			t.Errorf("%d dishes answered in %d events", len(tally(history)), len(history)-1)
		}
	})
}

// A log that takes small events only gets small ones; a result that no event can hold parks its dish alone.
func TestResultsThatTheLogCannotHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := eventstore.NewMemory(8 << 10)
		w := setupOn(t, memory, memory, &scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
			res := ok(r)
			if r.Item.ID == "d7" {
				res.Data = []byte(`{"text":"` + strings.Repeat("x", 9<<10) + `"}`)
			}
			return res, nil
		}})
		defer w.stop()
		acked, _ := w.queue.deliver(menu.Description, w.submit(t, "s", 35)[0], 1).settled()
		history := w.history(t, "s")
		parked := ofType[menu.StageFailed](history)
		if !acked || len(tally(history)) != 35 || len(parked) != 1 {
			t.Fatalf("acked %v, %d dishes answered, parked: %v", acked, len(tally(history)), parked)
		}
		if p := parked[0]; len(p.IDs) != 1 || p.IDs[0] != "d7" || p.Reason != stage.ReasonTooLarge || !p.Permanent {
			t.Errorf("parked %+v", p)
		}
	})
}

func TestThreeDeliveriesOneAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{answer: answerOK}
		w := setup(t, p)
		defer w.stop()
		submitted := w.submit(t, "s", 12)[0]
		for n := range uint64(3) {
			if acked, _ := w.queue.deliver(menu.Task6, submitted, n+1).settled(); !acked {
				t.Errorf("delivery %d was not acknowledged", n+1)
			}
		}
		if got := len(w.history(t, "s")) - 1; got != 1 {
			t.Errorf("%d events", got)
		}
		if got := len(p.asked()); got != 12 {
			t.Errorf("the provider was asked %d times for 12 dishes", got)
		}
	})
}

// A delivery that the broker calls the first one may be no such thing: a consumer made anew, a restored log.
func TestOldMessageIsNotWorkedOnTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{answer: answerOK}
		w := setup(t, p)
		defer w.stop()
		submitted := w.submit(t, "s", 12)[0]
		w.queue.deliver(menu.Task6, submitted, 1).settled()
		<-time.After(time.Minute)
		if acked, _ := w.queue.deliver(menu.Task6, submitted, 1).settled(); !acked {
			t.Error("the old message was not acknowledged")
		}
		if got := len(p.asked()); got != 12 {
			t.Errorf("the provider was asked %d times for 12 dishes", got)
		}
	})
}

func TestRedeliveryWorksOnlyOnWhatIsOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{answer: answerOK}
		w := setup(t, p)
		defer w.stop()
		submitted := w.submit(t, "s", 10)[0]
		var results []menu.DishResult
		for _, id := range []menu.DishID{"d1", "d3", "d4"} {
			results = append(results, menu.DishResult{ID: id, Attempt: 1, Result: ok(stage.Request{Stage: menu.Task6, Item: menu.Item{ID: id}})})
		}
		if _, err := w.log.Append(t.Context(), submitted.Key, eventstore.Proposed{
			Event: menu.StageCompleted{Stage: menu.Task6, Results: results}, Time: time.Now(), Causation: submitted.ID,
		}); err != nil {
			t.Fatal(err)
		}
		w.queue.deliver(menu.Task6, submitted, 2).settled()
		if got := len(p.asked()); got != 7 {
			t.Errorf("asked for %v, want the seven that are open", p.asked())
		}
		for a, n := range tally(w.history(t, "s")) {
			if n != 1 {
				t.Errorf("%v was answered %d times", a, n)
			}
		}
	})
}

func TestErasedSessionIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{answer: answerOK}
		w := setup(t, p)
		defer w.stop()
		submitted := w.submit(t, "s", 3)[0]
		if _, err := w.log.AppendMenu(t.Context(), submitted.Key, submitted.Seq, eventstore.Proposed{Event: menu.Erased{By: "owner"}, Time: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if acked, _ := w.queue.deliver(menu.Allergen, submitted, 2).settled(); !acked || len(p.asked()) > 0 {
			t.Errorf("acked %v, asked for %v", acked, p.asked())
		}
	})
}

// flaky wraps a log whose appends fail, or panic, a few times.
type flaky struct {
	*eventstore.Memory
	left   atomic.Int64
	boom   bool
	once   sync.Once
	failed chan struct{} // if not nil, closed by the first failure
}

func (f *flaky) Append(ctx context.Context, key menu.Key, events ...eventstore.Proposed) (eventstore.Receipt, error) {
	if f.left.Add(-1) >= 0 {
		if f.failed != nil {
			f.once.Do(func() { close(f.failed) })
		}
		if f.boom {
			panic("boom")
		}
		return eventstore.Receipt{}, fmt.Errorf("append: %w", eventstore.ErrFull)
	}
	return f.Memory.Append(ctx, key, events...)
}

// Results are paid for: while the log takes none they are held, not worked out again.
func TestResultsAreHeldWhileTheLogTakesNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &flaky{Memory: eventstore.NewMemory(0)}
		log.left.Store(20)
		p := &scripted{answer: answerOK}
		w := setupOn(t, log.Memory, log, p)
		defer w.stop()
		acked, _ := w.queue.deliver(menu.Allergen, w.submit(t, "s", 9)[0], 1).settled()
		if !acked || len(p.asked()) != 9 || len(tally(w.history(t, "s"))) != 9 {
			t.Errorf("acked %v, asked %d times, %d answers", acked, len(p.asked()), len(tally(w.history(t, "s"))))
		}
	})
}

// A stop does not wait for a log that takes nothing: the delivery is handed back.
func TestStopHandsBackWhatTheLogDoesNotTake(t *testing.T) {
	t.Parallel() // in real time: a fake clock cannot wait out the stop
	log := &flaky{Memory: eventstore.NewMemory(0), failed: make(chan struct{})}
	log.left.Store(1 << 40)
	w := setupOn(t, log.Memory, log, &scripted{answer: answerOK})
	d := w.queue.deliver(menu.Allergen, w.submit(t, "s", 9)[0], 1)
	<-log.failed
	w.stop()
	if acked, delay := d.settled(); acked || delay != 0 {
		t.Errorf("acked %v, comes again after %s", acked, delay)
	}
}

// Watermill's Recoverer turns a panic of our own into a delivery that comes again, and nobody else notices.
func TestPanicInTheEngineIsOneDeliveryOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &flaky{Memory: eventstore.NewMemory(0), boom: true}
		log.left.Store(1)
		w := setupOn(t, log.Memory, log, &scripted{answer: answerOK})
		defer w.stop()
		submitted := w.submit(t, "s", 3)[0]
		if acked, delay := w.queue.deliver(menu.Allergen, submitted, 1).settled(); acked || delay == 0 {
			t.Errorf("acked %v, comes again after %s", acked, delay)
		}
		if acked, _ := w.queue.deliver(menu.Allergen, submitted, 2).settled(); !acked {
			t.Error("the second delivery was not acknowledged")
		}
	})
}

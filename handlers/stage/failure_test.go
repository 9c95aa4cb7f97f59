package stage_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
)

var errPlain = errors.New("connection refused")

// A temporary failure is recorded with the time of the next attempt; until then nothing is asked for, and then only
// the dishes that failed.
func TestTemporaryFailureIsTriedAgainWhenItIsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
			if r.Attempt < 3 && (r.Item.ID == "d1" || r.Item.ID == "d2") {
				return menu.Result{}, errPlain
			}
			return ok(r), nil
		}}
		w := setup(t, p)
		defer w.stop()
		submitted := w.submit(t, "s", 5)[0]
		if acked, _ := w.queue.deliver(menu.Ingredient, submitted, 1).settled(); !acked {
			t.Fatal("the delivery holds on to dishes that wait")
		}
		want := []menu.DishID{"d0", "d1", "d2", "d3", "d4"}
		for n := range 2 {
			if got := p.asked(); len(got) != len(want) {
				t.Fatalf("asked for %v, want %v", got, want)
			}
			waits, ok := w.queue.next(menu.Ingredient)
			base, delay := time.Minute<<n, time.Until(waits.at)
			if !ok || delay < base*8/10 || delay > base*12/10 {
				t.Fatalf("attempt %d: the next one is due in %s, want %s give or take a fifth", n+1, delay, base)
			}
			<-time.After(delay / 2) // the broker's clock may be wrong
			if acked, left := w.queue.retry(waits, 1).settled(); acked || left > delay/2+time.Millisecond || left < delay/2-time.Millisecond {
				t.Fatalf("before it is due: acked %v, comes again after %s", acked, left)
			}
			// Whatever else comes meanwhile asks for nothing.
			if acked, _ := w.queue.deliver(menu.Ingredient, submitted, 2).settled(); !acked || len(p.asked()) != len(want) {
				t.Fatalf("acked %v, asked for %v", acked, p.asked())
			}
			<-time.After(delay)
			for again := range uint64(2) {
				if acked, _ := w.queue.retry(waits, 2+again).settled(); !acked {
					t.Fatal("a retry was not acknowledged")
				}
			}
			want = append(want, "d1", "d2")
		}
		if waits, ok := w.queue.next(menu.Ingredient); ok {
			t.Errorf("%+v still waits", waits)
		}
		history := w.history(t, "s")
		failed := ofType[menu.StageAttemptFailed](history)
		if len(failed) != 2 {
			t.Fatalf("%d attempt_failed events, want one for each attempt of dishes that failed alike", len(failed))
		}
		for i, e := range failed {
			if e.Attempt != i+1 || len(e.IDs) != 2 || e.Reason != stage.ReasonError || e.Error != errPlain.Error() {
				t.Errorf("attempt %d: %+v", i+1, e)
			}
		}
		state := fold(history).Dishes["d1"].Stages[menu.Ingredient]
		if state.Attempts != 3 || state.Status != menu.StageStatus(menu.StatusOK) || len(tally(history)) != 5 {
			t.Errorf("state %+v, %d answers", state, len(tally(history)))
		}
	})
}

func fold(history []eventstore.Entry) menu.Session {
	var s menu.Session
	for _, entry := range history {
		s = menu.Evolve(s, entry.Recorded)
	}
	return s
}

func TestProviderMayAskForALongerWait(t *testing.T) {
	t.Parallel()
	for asked, want := range map[time.Duration]time.Duration{7 * time.Minute: 7 * time.Minute, 48 * time.Hour: time.Hour} {
		t.Run(asked.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := setup(t, &scripted{answer: func(context.Context, stage.Request) (menu.Result, error) {
					return menu.Result{}, fmt.Errorf("ask: %w", &stage.Error{Reason: "rate_limited", RetryAfter: asked})
				}})
				defer w.stop()
				w.queue.deliver(menu.Task7, w.submit(t, "s", 1)[0], 1).settled()
				if waits, ok := w.queue.next(menu.Task7); !ok || time.Until(waits.at).Round(time.Second) != want {
					t.Errorf("comes again after %s, want %s", time.Until(waits.at), want)
				}
			})
		})
	}
}

// What ends a dish without a result, and how it reads in the log.
func TestParked(t *testing.T) {
	t.Parallel()
	hang := func(context.Context, stage.Request) (menu.Result, error) {
		<-time.After(24 * time.Hour)
		return menu.Result{}, nil
	}
	for name, c := range map[string]struct {
		answer func(ctx context.Context, r stage.Request) (menu.Result, error)
		want   menu.StageFailed
	}{
		"Permanent": {
			func(context.Context, stage.Request) (menu.Result, error) {
				return menu.Result{}, &stage.Error{Reason: "refused", Permanent: true, Err: errors.New("not a dish\x00")}
			},
			menu.StageFailed{Attempts: 1, Reason: "refused", Error: "not a dish\uFFFD", Permanent: true},
		},
		"UsedUp": {
			func(context.Context, stage.Request) (menu.Result, error) { return menu.Result{}, errPlain },
			menu.StageFailed{Attempts: 3, Reason: stage.ReasonError, Error: "connection refused"},
		},
		"Panic": {
			func(context.Context, stage.Request) (menu.Result, error) { panic("boom") },
			menu.StageFailed{Attempts: 3, Reason: stage.ReasonPanic, Error: "provider scripted panicked: boom"},
		},
		"Timeout": {
			func(ctx context.Context, _ stage.Request) (menu.Result, error) {
				<-ctx.Done()
				return menu.Result{}, fmt.Errorf("post: %w", ctx.Err())
			},
			menu.StageFailed{Attempts: 3, Reason: stage.ReasonTimeout, Error: "no answer within the task time-out"},
		},
		"TimeoutIgnored": {hang, menu.StageFailed{Attempts: 3, Reason: stage.ReasonTimeout, Error: "no answer within the task time-out"}},
		"OtherStage": {
			func(_ context.Context, r stage.Request) (menu.Result, error) {
				res := ok(r)
				res.Stage = menu.Task8
				return res, nil
			},
			menu.StageFailed{Attempts: 3, Reason: stage.ReasonInvalidResult, Error: "a result of stage task8"},
		},
		"BrokenData": {
			func(_ context.Context, r stage.Request) (menu.Result, error) {
				res := ok(r)
				res.Data = []byte(`{"name":`)
				return res, nil
			},
			menu.StageFailed{Attempts: 3, Reason: stage.ReasonInvalidResult, Error: "result data is not valid JSON"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				good := &scripted{answer: func(ctx context.Context, r stage.Request) (menu.Result, error) {
					if r.Item.ID == "d1" || r.Item.ID == "d2" {
						return c.answer(ctx, r)
					}
					return ok(r), nil
				}}
				w := setup(t, good, func(cfg *stage.Config) { cfg.MaxParallelTasks = 1 })
				submitted := w.submit(t, "s", 6)[0]
				w.queue.deliver(menu.Translation, submitted, 1).settled()
				for waits, ok := w.queue.next(menu.Translation); ok; waits, ok = w.queue.next(menu.Translation) {
					<-time.After(time.Until(waits.at))
					if acked, _ := w.queue.retry(waits, 1).settled(); !acked {
						t.Error("a retry was not acknowledged")
					}
				}
				history := w.history(t, "s")
				parked := ofType[menu.StageFailed](history)
				c.want.Stage, c.want.IDs, c.want.Provider = menu.Translation, []menu.DishID{"d1", "d2"}, "scripted"
				if len(parked) == 0 || fmt.Sprint(mergeIDs(parked)) != fmt.Sprint(c.want) {
					t.Errorf("parked %+v\nwant   %+v", parked, c.want)
				}
				if got := len(ofType[menu.StageAttemptFailed](history)); (got == 0) != (c.want.Attempts == 1) {
					t.Errorf("%d failed attempts", got)
				}
				for a, n := range tally(history) {
					if n != 1 {
						t.Errorf("%v was answered %d times", a, n)
					}
				}
				if len(tally(history)) != 6 {
					t.Errorf("%d answers for 6 dishes", len(tally(history)))
				}
				if name == "TimeoutIgnored" {
					<-time.After(25 * time.Hour) // the abandoned calls return, and nobody listens
				}
				w.stop()
			})
		})
	}
}

// mergeIDs puts the dishes of events that are alike otherwise into the first one.
func mergeIDs(events []menu.StageFailed) menu.StageFailed {
	merged := events[0]
	for _, e := range events[1:] {
		merged.IDs = append(merged.IDs, e.IDs...)
	}
	return merged
}

func TestLongErrorTextsAreCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t, &scripted{answer: func(context.Context, stage.Request) (menu.Result, error) {
			return menu.Result{}, &stage.Error{Reason: strings.Repeat("r", 1000), Permanent: true, Err: errors.New(strings.Repeat("誤", 1<<20) + "\xff")}
		}})
		defer w.stop()
		w.queue.deliver(menu.Task7, w.submit(t, "s", 1)[0], 1).settled()
		e := ofType[menu.StageFailed](w.history(t, "s"))[0]
		if len(e.Reason) > 64 || len(e.Error) > 2<<10 || strings.Trim(e.Error, "誤") != "" {
			t.Errorf("reason of %d bytes, error of %d bytes", len(e.Reason), len(e.Error))
		}
	})
}

// A retry works on the parked dishes alone, under the new epoch and with the names from the menu's lane.
func TestRetryRequestedWorksUnderTheNewEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
			if r.Epoch == 0 && (r.Item.ID == "d3" || r.Item.ID == "d104") {
				return menu.Result{}, &stage.Error{Reason: "refused", Permanent: true}
			}
			return ok(r), nil
		}}
		w := setup(t, p)
		defer w.stop()
		for _, chunk := range w.submit(t, "s", 110) {
			w.queue.deliver(menu.Allergen, chunk, 1).settled()
		}
		session := fold(w.history(t, "s"))
		events, err := menu.Retry(session, menu.Allergen, []menu.DishID{"d3", "d104"}, "cook")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.log.Append(t.Context(), session.Key, eventstore.Proposed{Event: events[0], Time: time.Now(), Causation: "request"}); err != nil {
			t.Fatal(err)
		}
		history := w.history(t, "s")
		retry := history[len(history)-1]
		before := len(p.asked())
		for n := range uint64(2) {
			if acked, _ := w.queue.deliver(menu.Allergen, retry, n+1).settled(); !acked {
				t.Error("the retry was not acknowledged")
			}
		}
		again := p.requests()[before:]
		if len(again) != 2 {
			t.Fatalf("the retry asked %d times", len(again))
		}
		for _, r := range again {
			if r.Epoch != 1 || r.Attempt != 1 || r.Item.Name == "" || r.SourceLanguage != "ja" {
				t.Errorf("asked %+v", r)
			}
		}
		after := fold(w.history(t, "s"))
		for _, id := range []menu.DishID{"d3", "d104"} {
			if s := after.Dishes[id].Stages[menu.Allergen]; s.Parked() || !s.Answered() || s.Epoch != 1 {
				t.Errorf("%s: %+v", id, s)
			}
		}
		if after.OpenRetries != 0 {
			t.Errorf("%d retries are open", after.OpenRetries)
		}
		// The submission comes again, late: its dishes have moved on to another epoch, which is not its business.
		w.queue.deliver(menu.Allergen, history[0], 2).settled()
		if got := len(p.asked()); got != before+2 {
			t.Errorf("asked %d times more", got-before-2)
		}
	})
}

// The stop gives a running dish its second, begins no other and hands the delivery back with what is open.
func TestStopFinishesWhatRunsAndHandsBackTheRest(t *testing.T) {
	t.Parallel() // in real time: a fake clock cannot wait out the stop
	running, proceed := make(chan struct{}, 10), make(chan struct{})
	p := &scripted{answer: func(ctx context.Context, r stage.Request) (menu.Result, error) {
		running <- struct{}{}
		switch r.Item.ID {
		case "d0":
			<-proceed
			return ok(r), nil
		case "d1":
			<-ctx.Done() // too slow for the grace
			return menu.Result{}, ctx.Err()
		}
		return ok(r), nil
	}}
	w := setup(t, p, func(cfg *stage.Config) { cfg.MaxParallelTasks = 2 })
	d := w.queue.deliver(menu.Translation, w.submit(t, "s", 10)[0], 1)
	<-running
	<-running
	begin := time.Now()
	stopped := make(chan struct{})
	go func() { defer close(stopped); w.stop() }()
	time.AfterFunc(200*time.Millisecond, func() { close(proceed) })
	acked, delay := d.settled()
	if acked || delay != 0 {
		t.Errorf("acked %v, comes again after %s", acked, delay)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("it took %s to hand the delivery back", took)
	}
	<-stopped
	if got := p.asked(); len(got) != 2 {
		t.Errorf("asked for %v, want the two that ran", got)
	}
	history := w.history(t, "s")
	if got := tally(history); len(got) != 1 || got[answered{menu.Translation, "d0", 0}] != 1 {
		t.Errorf("answers %v, want d0's", got)
	}
	if failed := ofType[menu.StageAttemptFailed](history); len(failed) > 0 {
		t.Errorf("the stop used up an attempt: %v", failed)
	}
}

// A menu of ten dishes that comes after one of a thousand takes at most twice as long as alone.
func TestShortMenuIsNotHeldUpByALongOne(t *testing.T) {
	t.Parallel()
	measure := func(t *testing.T, ahead int) (took time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			w := setup(t, &scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
				<-time.After(10 * time.Millisecond)
				return ok(r), nil
			}})
			defer w.stop()
			var long []*delivery
			if ahead > 0 {
				for _, chunk := range w.submit(t, "long", ahead) {
					long = append(long, w.queue.deliver(menu.Allergen, chunk, 1))
				}
				<-time.After(time.Millisecond)
			}
			begin := time.Now()
			w.queue.deliver(menu.Allergen, w.submit(t, "short", 10)[0], 1).settled()
			took = time.Since(begin)
			for _, d := range long {
				d.settled()
			}
		})
		return took
	}
	alone, behind := measure(t, 0), measure(t, 1000)
	t.Logf("10 dishes take %s alone, %s behind 1,000", alone, behind)
	if alone == 0 || behind > 2*alone {
		t.Errorf("10 dishes take %s alone, %s behind 1,000", alone, behind)
	}
}

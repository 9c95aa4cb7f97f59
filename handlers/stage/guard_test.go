package stage_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kondate/domain/menu"
	"kondate/handlers/stage"
)

func limit(l stage.Limits) func(*stage.Config) {
	return func(cfg *stage.Config) { cfg.Limits = map[string]stage.Limits{"scripted": l} }
}

// finish delivers a menu and its retries to one stage until nothing is left to do, and returns how long that took.
func (w *workbench) finish(tb testing.TB, session menu.SessionID, n int) time.Duration {
	tb.Helper()
	const s = menu.Allergen
	begin := time.Now()
	trigger := w.submit(tb, session, n)[0]
	for again := uint64(1); ; again++ {
		acked, delay := w.queue.deliver(s, trigger, again).settled()
		if acked {
			break
		}
		<-time.After(delay)
	}
	for waits, ok := w.queue.next(s); ok; waits, ok = w.queue.next(s) {
		<-time.After(time.Until(waits.at))
		for again := uint64(1); ; again++ {
			acked, delay := w.queue.retry(waits, again).settled()
			if acked {
				break
			}
			<-time.After(delay)
		}
	}
	return time.Since(begin)
}

// A provider that is down costs a few attempts, not those of every dish: its circuit opens, the dishes go back to the
// broker, and one call at a time tries whether it is back.
func TestCircuitKeepsAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const outage, cooldown = 10 * time.Minute, 30 * time.Second
		begin := time.Now()
		p := &scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
			if time.Since(begin) < outage {
				return menu.Result{}, errPlain
			}
			return ok(r), nil
		}}
		w := setup(t, p, limit(stage.Limits{FailuresToOpen: 5, Cooldown: cooldown}), func(cfg *stage.Config) {
			cfg.RetryAttempts, cfg.RetryDelay, cfg.MaxParallelTasks = 10, time.Minute, 1
		})
		defer w.stop()
		took := w.finish(t, "s", 50)
		history := w.history(t, "s")
		if len(tally(history)) != 50 || len(ofType[menu.StageFailed](history)) > 0 {
			t.Errorf("%d answers, parked: %v", len(tally(history)), ofType[menu.StageFailed](history))
		}
		// The five that opened it, and a trial for each cooldown of the outage.
		if failed, most := len(p.asked())-50, 5+int(outage/cooldown)+1; failed > most {
			t.Errorf("%d calls failed, want at most %d", failed, most)
		}
		if took > outage+4*time.Minute {
			t.Errorf("it took %s", took)
		}
		r := w.engine.Reports()[menu.Allergen]
		if r.Circuit != "closed" || r.Calls != uint64(len(p.asked())) || r.Failed != r.Calls-50 || r.InFlight != 0 || r.Waiting != 0 {
			t.Errorf("report %+v", r)
		}
	})
}

// While a provider is away, however long, the calls that try whether it is back use up no attempt: nothing is parked.
func TestTrialsUseUpNoAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		p := &scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
			if time.Since(begin) < time.Hour {
				return menu.Result{}, &stage.Error{Reason: "no_responders", Away: true}
			}
			return ok(r), nil
		}}
		w := setup(t, p, limit(stage.Limits{FailuresToOpen: 2, Cooldown: time.Minute}), func(cfg *stage.Config) { cfg.MaxParallelTasks = 1 })
		defer w.stop()
		w.finish(t, "s", 3)
		history := w.history(t, "s")
		if len(tally(history)) != 3 || len(ofType[menu.StageFailed](history)) > 0 {
			t.Errorf("%d answers, parked: %v", len(tally(history)), ofType[menu.StageFailed](history))
		}
		if got := len(p.asked()); got < 40 || got > 70 {
			t.Errorf("%d calls in an hour with a trial a minute", got)
		}
	})
}

// What a provider refuses for good is an answer: it says nothing about whether the provider is up.
func TestRefusalsDoNotOpenTheCircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{answer: func(context.Context, stage.Request) (menu.Result, error) {
			return menu.Result{}, &stage.Error{Reason: "refused", Permanent: true}
		}}
		w := setup(t, p, limit(stage.Limits{FailuresToOpen: 2, Cooldown: time.Minute}))
		defer w.stop()
		w.finish(t, "s", 20)
		if got := len(p.asked()); got != 20 {
			t.Errorf("%d calls for 20 dishes", got)
		}
		if r := w.engine.Reports()[menu.Allergen]; r.Circuit != "closed" {
			t.Errorf("the circuit is %s", r.Circuit)
		}
	})
}

// A provider that asks for a pause gets it, from all stages that use it, and only the call that it answered so has
// failed.
func TestPauseThatAProviderAsksFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var limited atomic.Bool
		p := &scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
			if limited.CompareAndSwap(false, true) {
				return menu.Result{}, &stage.Error{Reason: "rate_limited", RetryAfter: 5 * time.Minute}
			}
			return ok(r), nil
		}}
		w := setup(t, p, limit(stage.Limits{}), func(cfg *stage.Config) { cfg.MaxParallelTasks = 1 })
		defer w.stop()
		took := w.finish(t, "a", 10)
		if len(p.asked()) != 11 || took < 5*time.Minute || took > 7*time.Minute {
			t.Errorf("%d calls in %s", len(p.asked()), took)
		}
		limited.Store(false)
		trigger := w.submit(t, "b", 1)[0]
		w.queue.deliver(menu.Task6, trigger, 1).settled()
		acked, delay := w.queue.deliver(menu.Task7, trigger, 1).settled()
		if acked || delay < 5*time.Minute || delay > 6*time.Minute {
			t.Errorf("another stage of the provider: acked %v, comes again after %s", acked, delay)
		}
	})
}

func TestRates(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limits   stage.Limits
		dishes   int
		min, max time.Duration
	}{
		"Requests": {stage.Limits{RequestsPerMinute: 60}, 65, 59 * time.Second, 61 * time.Second}, // five at once, then one a second
		"Tokens":   {stage.Limits{TokensPerMinute: 6000}, 65, 59 * time.Second, 61 * time.Second}, // a hundred each
		"Both":     {stage.Limits{RequestsPerMinute: 600, TokensPerMinute: 6000}, 65, 59 * time.Second, 61 * time.Second},
		"OneCall":  {stage.Limits{Concurrency: 1}, 20, 20 * time.Second, 20 * time.Second},
		"None":     {stage.Limits{}, 16, 2 * time.Second, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				call := time.Duration(0)
				if name == "OneCall" || name == "None" {
					call = time.Second
				}
				var running, most atomic.Int64
				p := &costly{scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
					most.Store(max(most.Load(), running.Add(1)))
					<-time.After(call)
					running.Add(-1)
					return ok(r), nil
				}}}
				w := setup(t, p, limit(c.limits))
				defer w.stop()
				if took := w.finish(t, "s", c.dishes); took < c.min || took > c.max+stage.FlushAfter {
					t.Errorf("%d dishes took %s, want %s to %s", c.dishes, took, c.min, c.max)
				}
				waits, seconds := w.metric(t, "kondate_provider_rate_waits_total"), w.metric(t, "kondate_provider_rate_wait_seconds_total")
				if limited := c.limits.RequestsPerMinute+c.limits.TokensPerMinute > 0; limited != (waits > 50) || limited != (seconds > 50) {
					t.Errorf("%v calls waited for %v seconds", waits, seconds)
				}
				if n := c.limits.Concurrency; n > 0 && most.Load() > int64(n) {
					t.Errorf("%d calls at once", most.Load())
				}
			})
		})
	}
}

// metric adds up the samples of a counter of the engine's.
func (w *workbench) metric(tb testing.TB, name string) (sum float64) {
	tb.Helper()
	registry := prometheus.NewRegistry()
	if err := registry.Register(w.engine); err != nil {
		tb.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// costly is a provider whose every request costs a hundred tokens.
type costly struct{ scripted }

func (*costly) Tokens(stage.Request) int { return 100 }

// A call that runs into the provider's own time-out has failed; the stage's is longer.
func TestProviderTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{answer: func(ctx context.Context, _ stage.Request) (menu.Result, error) {
			<-ctx.Done()
			return menu.Result{}, ctx.Err()
		}}
		w := setup(t, p, limit(stage.Limits{Timeout: 3 * time.Second}), func(cfg *stage.Config) { cfg.RetryAttempts = 1 })
		defer w.stop()
		if took := w.finish(t, "s", 1); took > 4*time.Second {
			t.Errorf("it took %s", took)
		}
		if parked := ofType[menu.StageFailed](w.history(t, "s")); len(parked) != 1 || parked[0].Reason != stage.ReasonTimeout {
			t.Errorf("parked %v", parked)
		}
	})
}

// A stop does not wait for dishes that wait for their turn at the provider.
func TestStopWhileCallsWaitForTheirTurn(t *testing.T) {
	t.Parallel() // in real time: a fake clock cannot wait out the stop
	asked := make(chan struct{}, 10)
	p := &scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
		asked <- struct{}{}
		return ok(r), nil
	}}
	w := setup(t, p, limit(stage.Limits{RequestsPerMinute: 1}))
	d := w.queue.deliver(menu.Translation, w.submit(t, "s", 10)[0], 1)
	<-asked
	begin := time.Now()
	w.stop()
	if acked, delay := d.settled(); acked || delay != 0 {
		t.Errorf("acked %v, comes again after %s", acked, delay)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("the stop took %s", took)
	}
	if got := len(tally(w.history(t, "s"))); got != 1 {
		t.Errorf("%d answers, want that of the call that was made", got)
	}
}

// A process may die between a failed attempt's event and its schedule: whoever gets the delivery again makes up for it.
func TestScheduleThatACrashLeftOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
			if r.Attempt < 3 && r.Item.Position < 4 {
				return menu.Result{}, fmt.Errorf("attempt %d", r.Attempt)
			}
			return ok(r), nil
		}}
		w := setup(t, p)
		defer w.stop()
		submitted := w.submit(t, "s", 6)[0]
		w.queue.deliver(menu.Task6, submitted, 1).settled()
		first := w.queue.lose(menu.Task6)
		w.queue.deliver(menu.Task6, submitted, 2).settled()
		again, waits := w.queue.next(menu.Task6)
		if !waits || !again.at.Equal(first.at) || again.event.Header.Get("ce-id") != first.event.Header.Get("ce-id") {
			t.Fatalf("after the redelivery %+v waits, want %+v", again, first)
		}
		<-time.After(time.Until(again.at))
		w.queue.retry(again, 1).settled()
		second := w.queue.lose(menu.Task6)
		w.queue.retry(again, 2).settled() // its delivery was not acknowledged either
		again, waits = w.queue.next(menu.Task6)
		if !waits || !again.at.Equal(second.at) {
			t.Fatalf("after the retry's redelivery %+v waits, want %+v", again, second)
		}
		<-time.After(time.Until(again.at))
		w.queue.retry(again, 1).settled()
		if got := len(p.asked()); got != 6+4+4 || len(tally(w.history(t, "s"))) != 6 {
			t.Errorf("%d calls, %d answers", got, len(tally(w.history(t, "s"))))
		}
	})
}

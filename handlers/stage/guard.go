package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
)

// Limits protects a provider from too many calls, and the dishes from a provider that is down. They hold for all stages
// of a process that have the provider. The zero value limits nothing.
type Limits struct {
	Concurrency       int           // calls at once; 0: as many as the stages make
	RequestsPerMinute int           // 0: no limit
	TokensPerMinute   int           // of a [TokenCounter]; 0: no limit
	Timeout           time.Duration // of one call, where it is shorter than the task time-out; 0: the task time-out
	FailuresToOpen    int           // failures in a row that open the circuit; 0: it never opens
	Cooldown          time.Duration // how long an open circuit lets no call through; then one call tries
}

// Validate names the fields that cannot be worked with.
func (l Limits) Validate() error {
	if l.Concurrency < 0 || l.RequestsPerMinute < 0 || l.TokensPerMinute < 0 || l.Timeout < 0 || l.FailuresToOpen < 0 || l.Cooldown < 0 {
		return fmt.Errorf("stage.Limits %+v: none may be negative", l)
	}
	if l.FailuresToOpen > 0 && l.Cooldown == 0 {
		return errors.New("stage.Limits.Cooldown must be positive where FailuresToOpen is")
	}
	return nil
}

// TokenCounter is a [Provider] that knows about how many tokens a request costs.
type TokenCounter interface {
	Tokens(r Request) int
}

// errPaused is matched by the end of a call that was not made, because its provider takes none at the moment. It is no
// attempt: the dish waits until the provider takes calls again.
var errPaused = errors.New("the provider takes no calls")

type pausedError struct{ left time.Duration }

func (e *pausedError) Error() string        { return fmt.Sprintf("%v for %s", errPaused, e.left) }
func (e *pausedError) Is(target error) bool { return target == errPaused }

// guard keeps the limits of one provider.
type guard struct {
	name     string
	limits   Limits
	logger   *slog.Logger
	slots    chan struct{}
	requests *rate.Limiter
	tokens   *rate.Limiter
	circuit  *gobreaker.TwoStepCircuitBreaker[struct{}] // nil: none

	waits  prometheus.Counter // for the rates
	waited prometheus.Counter // seconds

	mu    sync.Mutex // guards until
	until time.Time  // no call before
}

// patch is the share of a minute's allowance that may be used at once.
const patch = 12

func newGuard(name string, l Limits, logger *slog.Logger) *guard {
	counter := func(name, help string, provider string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: prometheus.Labels{"provider": provider}})
	}
	g := &guard{
		name: name, limits: l, logger: logger,
		waits:  counter("kondate_provider_rate_waits_total", "Calls that had to wait for the provider's rate.", name),
		waited: counter("kondate_provider_rate_wait_seconds_total", "How long calls waited for the provider's rate.", name),
	}
	if l.Concurrency > 0 {
		g.slots = make(chan struct{}, l.Concurrency)
	}
	perMinute := func(n int) *rate.Limiter {
		if n == 0 {
			return rate.NewLimiter(rate.Inf, 0)
		}
		return rate.NewLimiter(rate.Every(time.Minute/time.Duration(n)), max(1, n/patch))
	}
	g.requests, g.tokens = perMinute(l.RequestsPerMinute), perMinute(l.TokensPerMinute)
	if l.FailuresToOpen > 0 {
		g.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
			Name: name, MaxRequests: 1, Timeout: l.Cooldown,
			ReadyToTrip:   func(c gobreaker.Counts) bool { return int64(c.ConsecutiveFailures) >= int64(l.FailuresToOpen) },
			OnStateChange: g.changed,
			IsSuccessful:  func(err error) bool { return err == nil || classify(err).Permanent }, // a refusal is an answer
			IsExcluded:    func(err error) bool { return errors.Is(err, errStopped) },
		})
	}
	return g
}

// enter waits for the provider's turn. The caller makes the call and then leaves with its error, and takes the one that
// leave returns for the call's. While the provider takes no calls the error matches errPaused; if ctx ends first it is
// ctx's cause.
func (g *guard) enter(ctx context.Context, tokens int) (leave func(error) error, err error) {
	if err := g.paused(); err != nil {
		return nil, err
	}
	if g.slots != nil {
		select {
		case g.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	done, trial := func(error) {}, false
	err = g.turn(ctx, tokens)
	if err == nil {
		err = g.paused() // it may have come to that while the call waited
	}
	if err == nil && g.circuit != nil {
		if done, err = g.circuit.Allow(); err != nil {
			err = g.wait(time.Second) // another call tries whether the provider is back
		} else {
			trial = g.circuit.State() == gobreaker.StateHalfOpen
		}
	}
	if err != nil {
		g.release()
		return nil, err
	}
	return func(err error) error {
		done(err)
		g.hold(err)
		g.release()
		// A trial that finds the provider still away is no attempt for the dish that happened to make it.
		if trial && err != nil && classify(err).Away {
			return g.wait(g.limits.Cooldown)
		}
		return err
	}, nil
}

// turn waits until the rates allow another call.
func (g *guard) turn(ctx context.Context, tokens int) error {
	for _, w := range []struct {
		limiter *rate.Limiter
		n       int
	}{{g.requests, 1}, {g.tokens, tokens}} {
		if w.limiter.Limit() == rate.Inf {
			continue
		}
		n, began := min(w.n, w.limiter.Burst()), time.Now()
		waits := w.limiter.Tokens() < float64(n)
		err := w.limiter.WaitN(ctx, n)
		if waits {
			g.waits.Inc()
			g.waited.Add(time.Since(began).Seconds())
		}
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("wait for the rate of provider %s: %w", g.name, err)
		}
	}
	return nil
}

func (g *guard) release() {
	if g.slots != nil {
		<-g.slots
	}
}

// paused says that the provider takes no calls: its circuit is open, or it asked for a pause.
func (g *guard) paused() error {
	g.mu.Lock()
	left := time.Until(g.until)
	g.mu.Unlock()
	if left <= 0 {
		return nil
	}
	return g.wait(left)
}

// wait spreads a pause, so that the dishes do not all come back at its end.
func (g *guard) wait(left time.Duration) error {
	return &pausedError{left + time.Duration(rand.Int64N(int64(left/10)+int64(100*time.Millisecond)))} //nolint:gosec // spreads load, guards nothing
}

// hold keeps the calls back for as long as the provider asked for.
func (g *guard) hold(err error) {
	if err == nil {
		return
	}
	if e := classify(err); e.RetryAfter > 0 && !e.Permanent {
		g.pauseFor(min(e.RetryAfter, maxRetryDelay))
	}
}

func (g *guard) pauseFor(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := time.Now().Add(d); until.After(g.until) {
		g.until = until
	}
}

// changed notes and reports that the circuit changed its state.
func (g *guard) changed(_ string, _, to gobreaker.State) {
	switch to {
	case gobreaker.StateOpen:
		g.pauseFor(g.limits.Cooldown)
		g.logger.Warn("a provider fails again and again, its stages pause", slog.String("provider", g.name), slog.Duration("pause", g.limits.Cooldown))
	case gobreaker.StateClosed:
		g.logger.Info("a provider is back, its stages go on", slog.String("provider", g.name))
	case gobreaker.StateHalfOpen:
	}
}

// The states of the way to a provider; see [Report].
const (
	CircuitClosed   = "closed"
	CircuitOpen     = "open"
	CircuitHalfOpen = "half-open"
	CircuitPaused   = "paused" // the provider asked for a pause
)

// state is one of these, empty without a circuit and a pause.
func (g *guard) state() string {
	if g.circuit != nil {
		if s := g.circuit.State(); s != gobreaker.StateClosed {
			return s.String()
		}
	}
	if g.paused() != nil {
		return CircuitPaused
	}
	if g.circuit == nil {
		return ""
	}
	return CircuitClosed
}

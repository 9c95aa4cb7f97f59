package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"kondate/domain/menu"
)

const (
	// lookTimeout bounds what the checks of /readyz may take together: whatever hangs has not answered by then.
	lookTimeout = 3 * time.Second
	// lookGrace is how much later those are given up that do not even notice the end of their time.
	lookGrace = 250 * time.Millisecond
	// lookAge is how long an answer of /readyz holds: anybody may ask it, as often as he likes.
	lookAge = time.Second
)

// Readiness is what /readyz tells of a process. Its checks are made at the same time, and once for all who ask meanwhile
// or within a second.
type Readiness struct {
	Roles      []string // of the process; at least one
	Durability string   // the guarantee in force, in a sentence
	Checks     []Check  // may be empty
}

// Check looks at one part of the process.
type Check struct {
	Name string // "log", "postgres"
	// Look returns the part's state, or why it cannot do its work: an [UnreadyError], else clients read that it does not answer.
	Look func(ctx context.Context) (PartState, error)
}

// UnreadyError is why a part cannot do its work, in words for everybody: /readyz asks nobody for a key. Its cause may name
// addresses and users, and goes to the log.
type UnreadyError struct {
	Reason string
	Cause  error // nil: there is nothing else to tell
}

// Unready returns an [UnreadyError].
func Unready(cause error, format string, args ...any) error {
	return &UnreadyError{fmt.Sprintf(format, args...), cause}
}

// Error returns the reason and the cause.
func (e *UnreadyError) Error() string {
	if e.Cause == nil {
		return e.Reason
	}
	return fmt.Sprintf("%s: %v", e.Reason, e.Cause)
}

// Unwrap returns the cause.
func (e *UnreadyError) Unwrap() error { return e.Cause }

// Answers is the check of a part that answers or does not, and has nothing else to tell.
func Answers(name string, ask func(ctx context.Context) error) Check {
	return Check{Name: name, Look: func(ctx context.Context) (PartState, error) { return PartState{State: StateReady}, ask(ctx) }}
}

// StateReady is the state of a part that works and has no other.
const StateReady = "ready"

// PartState is how a part is that works.
type PartState struct {
	State   string             `json:"state" jsonschema:"ready, or what the part says of itself, such as active or standby."`
	Notes   []string           `json:"notes,omitempty" jsonschema:"What somebody should know although the part does its work."`
	Figures map[string]float64 `json:"figures,omitempty"`
}

// partStatus is a part in the answer.
type partStatus struct {
	Name string `json:"name"`
	PartState
}

// readiness is the answer of /readyz.
type readiness struct {
	Status     string       `json:"status"`
	Roles      []string     `json:"roles" jsonschema:"What the process does."`
	Durability string       `json:"durability" jsonschema:"What an acknowledged event survives."`
	Parts      []partStatus `json:"parts"`
}

// health is the answer of /healthz.
type health struct {
	Status string `json:"status"`
}

// Probes answers whether the process lives and whether it can do its work. An [API] has its own; a process that serves
// nothing else has one.
type Probes struct {
	ready  Readiness
	logger *slog.Logger
	atWork []atomic.Bool // checks that have not come back

	mu       sync.Mutex // guards the fields below; held while the checks are made, for those who ask meanwhile take their answer
	looks    []look
	lookedAt time.Time
}

// NewProbes returns the probes of a process, or what is wrong with the settings.
func NewProbes(ready Readiness, logger *slog.Logger) (*Probes, error) {
	if logger == nil {
		return nil, errors.New("httpapi: the Logger of the probes is missing")
	}
	if err := ready.Validate(); err != nil {
		return nil, err
	}
	return &Probes{ready: ready, logger: logger, atWork: make([]atomic.Bool, len(ready.Checks))}, nil
}

// Validate names every setting that is missing.
func (r Readiness) Validate() error {
	var errs []error
	if len(r.Roles) == 0 {
		errs = append(errs, errors.New("httpapi: Readiness.Roles is empty"))
	}
	for i, check := range r.Checks {
		if check.Name == "" || check.Look == nil {
			errs = append(errs, fmt.Errorf("httpapi: Readiness.Checks[%d] is missing", i))
		}
	}
	return errors.Join(errs...)
}

// Routes adds /healthz and /readyz, and answers every other path that has no route. Call it after the other routes. The
// app's ErrorHandler has to be [ErrorHandler].
func (p *Probes) Routes(app *fiber.App) {
	app.Get(pathHealth, p.healthz)
	app.Get(pathReady, p.readyz)
	app.Use(func(*fiber.Ctx) error {
		return newProblem(http.StatusNotFound, "not-found", "There is no such thing", "this process has not the role api: it serves /healthz, /readyz and /metrics only")
	})
}

// healthz says that the process answers; it asks nobody else.
func (p *Probes) healthz(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(health{Status: "ok"})
}

// readyz says how every part is, and if one does not work, which one and why.
func (p *Probes) readyz(c *fiber.Ctx) error {
	looks := p.lately(c.UserContext())
	var causes []error
	refusal := newProblem(http.StatusServiceUnavailable, "not-ready", "The service is not ready", "")
	refusal.after = retryAfter
	answer := readiness{Status: StateReady, Roles: p.ready.Roles, Durability: p.ready.Durability, Parts: make([]partStatus, len(looks))}
	for i, l := range looks {
		answer.Parts[i] = partStatus{p.ready.Checks[i].Name, l.state}
		if l.err != nil {
			reason := "it does not answer"
			if e, ok := errors.AsType[*UnreadyError](l.err); ok {
				reason = e.Reason
			}
			refusal.Errors = append(refusal.Errors, menu.FieldError{Field: p.ready.Checks[i].Name, Problem: reason})
			causes = append(causes, fmt.Errorf("%s: %w", p.ready.Checks[i].Name, l.err))
		}
	}
	if len(refusal.Errors) > 0 {
		refusal.cause = errors.Join(causes...)
		return refusal
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(answer)
}

// look is what a check found.
type look struct {
	state PartState
	err   error
}

// lately returns what the checks found within the last second.
func (p *Probes) lately(ctx context.Context) []look {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.looks == nil || time.Since(p.lookedAt) >= lookAge {
		p.looks, p.lookedAt = p.look(ctx), time.Now()
	}
	return p.looks
}

// look makes all checks. One that does not come back is left behind: it must not hide what the others say. It is not made
// again until it is back.
func (p *Probes) look(ctx context.Context) []look {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	type found struct {
		check int
		look
	}
	answers := make(chan found, len(p.ready.Checks))
	looks, made := make([]look, len(p.ready.Checks)), 0
	for i, check := range p.ready.Checks {
		looks[i].err = Unready(nil, "no answer within %s", lookTimeout)
		if !p.atWork[i].CompareAndSwap(false, true) {
			continue
		}
		made++
		go func() {
			state, err := p.ask(ctx, check)
			p.atWork[i].Store(false)
			answers <- found{i, look{state, err}}
		}()
	}
	late := time.NewTimer(lookTimeout + lookGrace)
	defer late.Stop()
	for range made {
		select {
		case a := <-answers:
			if a.err == nil || !errors.Is(a.err, context.DeadlineExceeded) {
				looks[a.check] = a.look
			}
		case <-late.C:
			return looks
		}
	}
	return looks
}

// ask makes a check. A panic is what it found: it must not end the process.
func (p *Probes) ask(ctx context.Context, check Check) (state PartState, err error) {
	defer func() {
		if value := recover(); value != nil {
			p.logger.LogAttrs(ctx, slog.LevelError, "check panicked", slog.String("check", check.Name), slog.Any("panic", value), slog.String("stack", string(debug.Stack())))
			state, err = PartState{}, Unready(nil, "its check panicked")
		}
	}()
	return check.Look(ctx)
}

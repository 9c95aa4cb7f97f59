package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore/trail"
)

var (
	// errStopped ends an attempt that the engine's stop interrupted or that never began. It is no failure of the dish.
	errStopped = errors.New("the stage engine stops")
	// errTimeout ends an attempt that took longer than the task time-out.
	errTimeout = errors.New("no answer within the task time-out")
)

// call is one attempt for one dish.
type call struct {
	request Request
	out     chan<- outcome // has room for the outcomes of all calls that share it
	span    *deliverySpan  // shared, too
	heir    sync.WaitGroup // done when the goroutine that goes on in an abandoned call's place is counted
}

// outcome is how an attempt ended. It comes exactly once for every call.
type outcome struct {
	request Request
	result  menu.Result
	err     error
}

func (c *call) finish(result menu.Result, err error) {
	c.out <- outcome{request: c.request, result: result, err: err}
}

// pool makes the calls of one stage, at most limit at a time. Sessions take turns, one dish each: a long menu does not
// hold up the one behind it.
type pool struct {
	*stage

	limit   int
	timeout time.Duration
	spawn   func(*call) // starts a slot that begins with the call; the slots' context is bound in it
	halt    func(error) // ends the calls' wait for the provider's turn

	mu      sync.Mutex          // guards the fields below
	slots   int                 // slots in use; dishes wait only while all are
	alive   int                 // goroutines, abandoned calls among them
	turns   []*queue            // sessions with waiting dishes, the next one first
	queues  map[menu.Key]*queue // the same, by session
	stopped bool
	quiet   chan struct{} // closed when the pool is stopped and no goroutine is left
}

// queue holds the waiting dishes of one session.
type queue struct {
	key   menu.Key
	calls []*call
}

// newPool returns a pool whose running calls end when ctx does.
func newPool(ctx context.Context, s *stage) *pool {
	p := &pool{
		stage: s, limit: s.cfg.MaxParallelTasks, timeout: s.cfg.TaskTimeout,
		queues: map[menu.Key]*queue{}, quiet: make(chan struct{}),
	}
	if t := s.guard.limits.Timeout; t > 0 {
		p.timeout = min(p.timeout, t)
	}
	turns, halt := context.WithCancelCause(ctx)
	p.halt = halt
	p.spawn = func(c *call) { go p.slot(ctx, turns, c) }
	return p
}

// do makes the calls, all of one session. It does not wait for them.
func (p *pool) do(key menu.Key, calls []*call) {
	if len(calls) == 0 {
		return
	}
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		drop(calls)
		return
	}
	defer p.mu.Unlock()
	q := p.queues[key]
	if q == nil {
		q = &queue{key: key}
		p.queues[key] = q
		p.turns = append(p.turns, q)
	}
	q.calls = append(q.calls, calls...)
	for range min(p.limit-p.slots, len(calls)) {
		p.slots++
		p.alive++
		p.spawn(p.take())
	}
}

// take returns the call whose turn it is, nil if none waits. The caller holds mu.
func (p *pool) take() *call {
	if len(p.turns) == 0 {
		return nil
	}
	q := p.turns[0]
	c := q.calls[0]
	q.calls = q.calls[1:]
	p.turns = p.turns[1:]
	if len(q.calls) > 0 {
		p.turns = append(p.turns, q)
	} else {
		delete(p.queues, q.key)
	}
	return c
}

// slot makes one call after the other until none waits. Calls end with ctx, their wait for the provider with turns.
func (p *pool) slot(ctx, turns context.Context, c *call) {
	defer p.exit()
	for c != nil && p.attempt(ctx, turns, c) {
		c = p.next()
	}
}

// next returns the slot's next call; without one the slot is given up.
func (p *pool) next() *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.take()
	if c == nil {
		p.slots--
	}
	return c
}

func (p *pool) exit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alive--
	p.settle()
}

// settle closes quiet if nothing is left to wait for. The caller holds mu.
func (p *pool) settle() {
	if p.stopped && p.alive == 0 {
		close(p.quiet)
	}
}

// attempt makes a call and says whether the caller still has its slot. A provider that outlives the task time-out is
// abandoned: its outcome is reported at once, and a new goroutine goes on with the slot.
func (p *pool) attempt(slots, turns context.Context, c *call) bool {
	if result, known := p.remembered(turns, c.request); known {
		c.finish(result, nil)
		return true
	}
	leave, err := p.guard.enter(turns, p.tokens(c.request))
	if err != nil {
		c.finish(menu.Result{}, err)
		return true
	}
	ctx, cancel := context.WithTimeoutCause(c.span.join(slots), p.timeout, errTimeout)
	defer cancel()
	began := p.stats.begin()
	end := func(result menu.Result, err error) {
		p.stats.end(began, result, err)
		c.span.called(ctx, p.provider.Name(), c.request, began, err)
		c.finish(result, leave(err))
	}
	c.heir.Add(1)
	keep := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		p.alive++
		p.mu.Unlock()
		c.heir.Done()
		end(menu.Result{}, context.Cause(ctx))
		p.slot(slots, turns, p.next())
	})
	result, err := p.ask(ctx, c.request)
	if !keep() {
		c.heir.Wait()
		return false
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // the provider noticed the end before we did
	}
	if err == nil {
		p.remember(slots, c.request, result)
	}
	end(result, err)
	return true
}

func (p *pool) tokens(r Request) int {
	if counter, is := p.provider.(TokenCounter); is {
		return counter.Tokens(r)
	}
	return 0
}

// ask calls the provider and turns a panic into a temporary failure.
func (p *pool) ask(ctx context.Context, r Request) (result menu.Result, err error) {
	defer func() {
		if v := recover(); v != nil {
			p.logger.LogAttrs(trail.About(ctx, r.Key), slog.LevelError, "provider panicked", slog.String(trail.KeyDish, string(r.Item.ID)),
				slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
			err = &Error{Reason: ReasonPanic, Err: fmt.Errorf("provider %s panicked: %v", p.provider.Name(), v)}
		}
	}()
	return p.provider.Answer(ctx, r)
}

// stop ends the calls that wait and refuses new ones. Those that run go on until the pool's context ends.
func (p *pool) stop() {
	p.mu.Lock()
	var waiting []*call
	for _, q := range p.turns {
		waiting = append(waiting, q.calls...)
	}
	p.turns, p.stopped = nil, true
	clear(p.queues)
	p.settle()
	p.mu.Unlock()
	p.halt(errStopped)
	drop(waiting)
}

// length counts the calls that wait for a slot.
func (p *pool) length() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, q := range p.turns {
		n += len(q.calls)
	}
	return n
}

func drop(calls []*call) {
	for _, c := range calls {
		c.finish(menu.Result{}, errStopped)
	}
}

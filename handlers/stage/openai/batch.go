package openai

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"kondate/domain/menu"
	"kondate/handlers/stage"
)

// batchKey is what dishes have in common that may share a request.
type batchKey struct {
	session        menu.Key
	source, target string // languages
}

// openBatches are those that still take dishes.
type openBatches struct {
	mu sync.Mutex // guards the map and what its batches guard with it
	by map[batchKey]*batch
}

// batch is one request in the making, or under way.
type batch struct {
	members []*member // guarded by openBatches.mu
	waiting int       // callers that have not left; guarded by openBatches.mu

	full   chan struct{} // closed once no more dishes fit
	done   chan struct{} // closed once nothing works on it any more
	cancel context.CancelCauseFunc
}

// member is one caller's place in a batch.
type member struct {
	dish *dish
	out  chan outcome // takes one without a reader
	gone bool         // guarded by openBatches.mu
}

// join waits for a dish's outcome as part of a batch, or for the end of ctx. The request ends with the last of its callers,
// who also waits until nothing of it is left.
func (p *Provider) join(ctx context.Context, d *dish) outcome {
	key := batchKey{d.request.Key, d.request.SourceLanguage, d.request.TargetLanguage}
	m := &member{dish: d, out: make(chan outcome, 1)}
	p.open.mu.Lock()
	b := p.open.by[key]
	if b == nil {
		// The request outlives the first caller if others wait for it.
		work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		b = &batch{full: make(chan struct{}), done: make(chan struct{}), cancel: cancel}
		if p.open.by == nil {
			p.open.by = map[batchKey]*batch{}
		}
		p.open.by[key] = b
		go p.run(work, key, b)
	}
	b.members = append(b.members, m)
	b.waiting++
	if len(b.members) == p.cfg.MaxBatch {
		delete(p.open.by, key)
		close(b.full)
	}
	p.open.mu.Unlock()

	var o outcome
	select {
	case o = <-m.out:
	case <-ctx.Done():
		o.err = context.Cause(ctx)
	}
	p.leave(key, b, m)
	return o
}

// leave takes a caller out of its batch.
func (p *Provider) leave(key batchKey, b *batch, m *member) {
	p.open.mu.Lock()
	m.gone = true
	b.waiting--
	last := b.waiting == 0
	if last && p.open.by[key] == b {
		delete(p.open.by, key)
	}
	p.open.mu.Unlock()
	if last {
		b.cancel(context.Canceled)
		<-b.done // soon: what runs for it obeys the context that just ended
	}
}

// run waits for a batch to fill, makes its request and hands out what came of it.
func (p *Provider) run(ctx context.Context, key batchKey, b *batch) {
	defer close(b.done)
	linger := time.NewTimer(p.cfg.Linger)
	defer linger.Stop()
	select {
	case <-linger.C:
	case <-b.full:
	case <-ctx.Done():
	}
	var asked []*dish
	open := map[*dish]*member{}
	p.open.mu.Lock()
	if p.open.by[key] == b {
		delete(p.open.by, key)
	}
	for _, m := range b.members {
		if !m.gone {
			m.dish.id = strconv.Itoa(len(asked) + 1)
			asked = append(asked, m.dish)
			open[m.dish] = m
		}
	}
	p.open.mu.Unlock()
	if len(asked) == 0 {
		return
	}
	settle := func(d *dish, o outcome) {
		if m := open[d]; m != nil {
			delete(open, d)
			m.out <- o
		}
	}
	defer func() {
		v := recover() // the engine would see a panic of its own goroutines only
		for d := range open {
			settle(d, outcome{err: &stage.Error{Reason: stage.ReasonPanic, Err: fmt.Errorf("asking the model %s panicked: %v", p.cfg.Model, v)}})
		}
	}()
	p.ask(ctx, asked, settle)
}

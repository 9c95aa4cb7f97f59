package projections

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// pollInterval is how often the checkpoint is read while somebody waits for it: once for all who wait in this process.
const pollInterval = 5 * time.Millisecond

// reached is the highest checkpoint that was seen, shared by all who wait for one.
type reached struct {
	turn chan struct{} // holds one token: who has it reads the checkpoint for the others

	mu    sync.Mutex // guards the fields below
	seq   uint64
	moved chan struct{} // closed and replaced when seq grows
}

func newReached() *reached {
	r := &reached{turn: make(chan struct{}, 1), moved: make(chan struct{})}
	r.turn <- struct{}{}
	return r
}

func (r *reached) get() (uint64, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seq, r.moved
}

func (r *reached) set(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if seq > r.seq {
		r.seq = seq
		close(r.moved)
		r.moved = make(chan struct{})
	}
}

// WaitFor returns when the rows reflect the event seq, or with the reason why ctx ended. Any number may wait: one of
// them asks Postgres for all. It does not look again at a sequence that was reached once, so after a crash of Postgres
// rows may be up to a second behind it for a moment.
func (q *Queries) WaitFor(ctx context.Context, seq uint64) error {
	for {
		at, moved := q.reached.get()
		if at >= seq {
			return nil
		}
		select {
		case <-q.reached.turn:
			err := q.poll(ctx, seq)
			q.reached.turn <- struct{}{}
			return err
		case <-moved:
		case <-ctx.Done():
			return late(ctx, seq, at)
		}
	}
}

func late(ctx context.Context, seq, at uint64) error {
	return fmt.Errorf("wait for event %d, the rows are at %d: %w", seq, at, context.Cause(ctx))
}

// poll reads the checkpoint until it has reached seq. It then returns and the next of those who wait goes on.
func (q *Queries) poll(ctx context.Context, seq uint64) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		at, err := q.Checkpoint(ctx)
		switch {
		case ctx.Err() != nil:
			last, _ := q.reached.get()
			return late(ctx, seq, last)
		case err != nil:
			return err
		}
		q.reached.set(at)
		if at >= seq {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return late(ctx, seq, at)
		}
	}
}

package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// reads is what a stage reads of sessions. Deliveries that ask for the same session share a read that begins after they
// asked: the hundred chunks of a long menu that come again at once would otherwise read the whole menu a hundred times.
type reads struct {
	log    Log
	lane   menu.Lane     // of the stage
	places chan struct{} // one for each read under way

	mu   sync.Mutex             // guards next
	next map[menu.Key]*laneRead // that have not begun
}

// laneRead is what one read found.
type laneRead struct {
	done    chan struct{}
	entries []eventstore.Entry // shared: nobody changes them
	err     error
}

var errNotRead = errors.New("the session was not read")

func newReads(log Log, lane menu.Lane) *reads {
	return &reads{log: log, lane: lane, places: make(chan struct{}, readsAtOnce), next: map[menu.Key]*laneRead{}}
}

// of returns what the menu's lane and the stage's own hold of a session, in order.
func (r *reads) of(ctx context.Context, key menu.Key) ([]eventstore.Entry, error) {
	r.mu.Lock()
	found, joined := r.next[key]
	if !joined {
		found = &laneRead{done: make(chan struct{})}
		r.next[key] = found
	}
	r.mu.Unlock()
	if joined {
		select {
		case <-found.done:
			return found.entries, found.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	defer close(found.done)
	select {
	case r.places <- struct{}{}:
		defer func() { <-r.places }()
	case <-ctx.Done():
	}
	r.mu.Lock()
	delete(r.next, key) // whoever asks from now on may know of what this read does not see
	r.mu.Unlock()
	if found.err = context.Cause(ctx); found.err == nil {
		found.err = errNotRead // should the reading panic, those who joined it must not take the session for an empty one
		found.entries, found.err = r.lanes(ctx, key)
	}
	return found.entries, found.err
}

func (r *reads) lanes(ctx context.Context, key menu.Key) ([]eventstore.Entry, error) {
	var entries []eventstore.Entry
	for _, lane := range []menu.Lane{menu.LaneMenu, r.lane} {
		found, err := r.log.LoadLane(ctx, key, lane, 0)
		if err != nil {
			return nil, fmt.Errorf("read lane %s of session %s: %w", lane, key, err)
		}
		entries = append(entries, found...)
	}
	slices.SortFunc(entries, func(a, b eventstore.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return entries, nil
}

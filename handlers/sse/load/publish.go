package load

import (
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/eventstore"
)

const (
	// maxWriters bounds the appends that are under way at once.
	maxWriters = 64
	// maxBatches bounds those of several events: the broker refuses more than 50 at a time.
	maxBatches = 32

	tickDish = "tick"
	lastDish = "last" // of the event that says that no other follows
	// bodyBytes is what an event's data takes without its filler, about.
	bodyBytes = 150
)

// schedule says which event is due when. Event n of session s is number n·sessions+s of all.
type schedule struct {
	began    time.Time
	sessions int
	rate     float64 // of all; 0: as quickly as it goes
}

func (s schedule) due(session, n int) time.Time {
	return s.began.Add(time.Duration(float64(n*s.sessions+session) / s.rate * float64(time.Second)))
}

// numbered is event n of a session.
func numbered(n, payload int, dish menu.DishID) menu.Event {
	return menu.StageAttemptFailed{
		Stage: menu.Task6, IDs: []menu.DishID{dish}, Attempt: n, Reason: "bench", Error: strings.Repeat("x", max(0, payload-bodyBytes)),
	}
}

// publish appends to sessions by a schedule until stop is closed, then to each the event that is its last one. It
// returns how many each got. Events of one session are appended one after the other; an append that takes long delays
// those behind it, which counts as their latency.
func publish(ctx context.Context, log Log, keys []menu.Key, sched schedule, payload int, stop <-chan struct{}) ([]int, error) {
	counts := make([]int, len(keys))
	writers := min(len(keys), maxWriters)
	g, ctx := errgroup.WithContext(ctx)
	for w := range writers {
		g.Go(func() error { return write(ctx, log, keys, counts, w, writers, sched, payload, stop) })
	}
	err := g.Wait()
	return counts, err
}

// write is one of the writers: it serves every writers-th session, beginning with the first-th.
func write(ctx context.Context, log Log, keys []menu.Key, counts []int, first, writers int, sched schedule, payload int, stop <-chan struct{}) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for round := 0; ; round++ {
		for session := first; session < len(keys); session += writers {
			if sched.rate > 0 {
				timer.Reset(time.Until(sched.due(session, round)))
			} else {
				timer.Reset(0)
			}
			select {
			case <-timer.C:
			case <-stop:
				return finish(ctx, log, keys, counts, first, writers)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if sched.rate == 0 {
				select {
				case <-stop:
					return finish(ctx, log, keys, counts, first, writers)
				default:
				}
			}
			if err := appendTicks(ctx, log, keys[session], counts[session], 1, payload); err != nil {
				return err
			}
			counts[session]++
		}
	}
}

func finish(ctx context.Context, log Log, keys []menu.Key, counts []int, first, writers int) error {
	for session := first; session < len(keys); session += writers {
		event := eventstore.Proposed{Event: numbered(counts[session], 0, lastDish), Time: time.Now()}
		if _, err := log.Append(ctx, keys[session], event); err != nil {
			return err
		}
		counts[session]++
	}
	return nil
}

func appendTicks(ctx context.Context, log Log, key menu.Key, from, n, payload int) error {
	events := make([]eventstore.Proposed, n)
	for i := range events {
		events[i] = eventstore.Proposed{Event: numbered(from+i, payload, tickDish), Time: time.Now()}
	}
	_, err := log.Append(ctx, key, events...)
	return err
}

// fill gives each session n events, the last one included. It returns the sequence of the newest.
func fill(ctx context.Context, log Log, keys []menu.Key, n, payload int) (uint64, error) {
	const batch = 100
	newest := make([]uint64, len(keys))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxBatches)
	for i, key := range keys {
		g.Go(func() error {
			for from := 0; from < n-1; from += batch {
				if err := appendTicks(ctx, log, key, from, min(batch, n-1-from), payload); err != nil {
					return err
				}
			}
			r, err := log.Append(ctx, key, eventstore.Proposed{Event: numbered(n-1, payload, lastDish), Time: time.Now()})
			newest[i] = r.Seq
			return err
		})
	}
	err := g.Wait()
	return slices.Max(newest), err
}

package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// The shares of raw publishes that an append has to reach: without and with the encoding, which everybody has to do who
// records an event.
const (
	appendGoal  = 0.85
	encodedGoal = 0.85
)

// appends measures the results of one stage for a menu, appended by writers of which each waits for its acknowledgement:
// beside publishes of messages that were encoded before, and beside encoding and publishing them.
func appends(ctx context.Context, s Settings, report func(Row)) error {
	for _, sync := range s.Syncs {
		for _, writers := range s.Writers {
			if err := appendsOf(ctx, s, sync, writers, report); err != nil {
				return err
			}
		}
	}
	return nil
}

func appendsOf(ctx context.Context, s Settings, sync string, writers int, report func(Row)) error {
	b, err := startBroker(ctx, s, sync)
	if err != nil {
		return err
	}
	store := eventstore.NewJetStream(b.js, eventstore.Config{Logger: s.Logger})
	menus := &made{prefix: "append"}
	n := s.Menus * menu.StageCount
	// events makes what a round appends, outside its time.
	events := func() []menuEvents { return menus.take(n / menu.StageCount) }
	each := func(do func(menuEvents, menu.Stage) error, ready []menuEvents) (float64, error) {
		return perSecond(n, writers, func(i int) error { return do(ready[i/menu.StageCount], menu.Stage(i%menu.StageCount)) }) //nolint:gosec // below StageCount
	}
	figures, err := InTurn(ctx, s.Rounds, func(ctx context.Context) (float64, error) {
		return each(func(m menuEvents, st menu.Stage) error {
			_, err := store.Append(ctx, m.key, proposed(m.answers[st]))
			return err
		}, events())
	}, func(ctx context.Context) (float64, error) {
		ready := events()
		msgs := make([]*nats.Msg, 0, n)
		for _, m := range ready {
			for _, answer := range m.answers {
				msg, err := encode(m.key, answer)
				if err != nil {
					return 0, err
				}
				msgs = append(msgs, msg)
			}
		}
		return perSecond(n, writers, func(i int) error {
			_, err := b.js.PublishMsg(ctx, msgs[i])
			return err
		})
	}, func(ctx context.Context) (float64, error) {
		return each(func(m menuEvents, st menu.Stage) error {
			msg, err := encode(m.key, m.answers[st])
			if err == nil {
				_, err = b.js.PublishMsg(ctx, msg)
			}
			return err
		}, events())
	})
	if err := closed(ctx, err, b); err != nil {
		return err
	}
	what := fmt.Sprintf("%d writers, sync %s", writers, sync)
	if writers == 1 {
		what = "1 writer, sync " + sync
	}
	report(NewRow("append", what+": of publishing", AppendsPerSecond, figures[0], figures[1], appendGoal))
	report(NewRow("append", what+": of encoding and publishing", AppendsPerSecond, figures[0], figures[2], encodedGoal))
	return nil
}

// closed ends what a measurement started, whatever became of it.
func closed(ctx context.Context, err error, started interface {
	Close(ctx context.Context) error
},
) error {
	if e := started.Close(ctx); err == nil {
		return e
	}
	return err
}

// perSecond calls do for 0 to n-1 from a number of goroutines.
func perSecond(n, writers int, do func(i int) error) (float64, error) {
	var g errgroup.Group
	var next atomic.Int64
	began := time.Now()
	for range writers {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := do(i); err != nil {
					return err
				}
			}
		})
	}
	err := g.Wait()
	return float64(n) / time.Since(began).Seconds(), err
}

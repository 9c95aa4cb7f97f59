package stage

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// Log is what the engine needs of the event store.
type Log interface {
	// Append records events of a stage's lane.
	Append(ctx context.Context, key menu.Key, events ...eventstore.Proposed) (eventstore.Receipt, error)
	// LoadLane returns what one lane of a session holds after a sequence.
	LoadLane(ctx context.Context, key menu.Key, lane menu.Lane, after uint64) ([]eventstore.Entry, error)
}

// Retries is the clock of attempts that have to wait.
type Retries interface {
	// Schedule delivers an event of the log to the stage's retry consumer at a time. Scheduling it again changes nothing.
	Schedule(ctx context.Context, stage menu.Stage, event *nats.Msg, at time.Time) error
	// Redeliver does so at once, for an event whose schedule was lost.
	Redeliver(ctx context.Context, stage menu.Stage, event *nats.Msg) error
	// Idle says that nothing that is due waits, or is at work.
	Idle(ctx context.Context, stage menu.Stage) (bool, error)
}

// stage handles the deliveries of one of the eight stages.
type stage struct {
	stage    menu.Stage
	provider Provider
	guard    *guard
	cached   bool // the provider's results are kept
	stats    *stats
	log      Log
	retries  Retries
	cfg      Config
	logger   *slog.Logger
	reads    *reads               // of what was answered
	pool     atomic.Pointer[pool] // of the run; nil before it
}

// waiting counts the dishes in hand that wait for a slot.
func (s *stage) waiting() int {
	if p := s.pool.Load(); p != nil {
		return p.length()
	}
	return 0
}

// verdict says what becomes of a delivery. The zero value: nothing is left to do.
type verdict struct {
	again bool          // it has to come again
	after time.Duration // not before
}

// handle works on one delivery. Whatever it leaves unanswered comes again; an error is none of the dishes' doing.
func (s *stage) handle(ctx context.Context, trigger eventstore.Entry, redelivered bool) (verdict, error) {
	now := s.cfg.Clock()
	// An old message may have been worked on under another delivery: one that the count of deliveries does not know,
	// because the consumer was made anew or the log, with the answers, was restored.
	restored := trigger.Header.Get(eventstore.HeaderRestored) != ""
	fresh := !redelivered && !restored && now.Sub(trigger.Time) < s.cfg.AckWait
	todo, err := s.plan(ctx, trigger, fresh, now)
	if errors.Is(err, errSetAside) {
		s.stats.setAside.Inc()
		s.logger.LogAttrs(ctx, slog.LevelWarn, "message set aside", slog.Any("error", err))
		return verdict{}, nil
	}
	if err == nil {
		err = s.do(ctx, &todo)
	}
	switch {
	case errors.Is(err, errStopped):
		return verdict{again: true}, nil
	case err != nil:
		return verdict{}, err
	}
	return verdict{again: todo.wait > 0, after: todo.wait}, nil
}

// do makes one attempt for each dish that is due and records the outcomes as they become ready together. If the
// engine stops meanwhile it records what there is and returns errStopped.
func (s *stage) do(ctx context.Context, w *work) error {
	for _, failed := range w.waiting {
		if err := s.schedule(ctx, w.trigger.Key, failed); err != nil {
			return err
		}
	}
	if len(w.due) == 0 {
		return nil
	}
	outcomes := make(chan outcome, len(w.due))
	calls, traced := make([]*call, len(w.due)), tracedCalls(ctx, len(w.due))
	for i, r := range w.due {
		calls[i] = &call{request: r, out: outcomes, span: traced}
	}
	s.pool.Load().do(w.trigger.Key, calls)

	var (
		b       batch
		stopped error
		flush   = time.NewTimer(FlushAfter)
	)
	flush.Stop()
	defer flush.Stop()
	record := func() error {
		flush.Stop()
		full := b
		b = batch{}
		return s.record(ctx, w, &full)
	}
	// Each call has its outcome for certain, at the latest when the pool's context ends: no other end to wait for.
	for range calls {
		var o outcome
		for waiting := true; waiting; {
			select {
			case o = <-outcomes:
				waiting = false
			case <-flush.C:
				if err := record(); err != nil {
					return err
				}
			}
		}
		if errors.Is(o.err, errStopped) {
			stopped = errStopped
			continue
		}
		if paused, is := errors.AsType[*pausedError](o.err); is {
			s.stats.paused.Inc()
			w.wait = max(w.wait, paused.left)
			continue
		}
		if b.empty() {
			flush.Reset(FlushAfter)
		}
		if b.add(s.stage, o); b.bytes >= FlushBytes {
			if err := record(); err != nil {
				return err
			}
		}
	}
	if !b.empty() {
		if err := record(); err != nil {
			return err
		}
	}
	return stopped
}

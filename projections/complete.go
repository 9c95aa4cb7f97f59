package projections

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/eventstore/trail"
)

const (
	// completeTimeout bounds one append to a menu lane: an acknowledgement that takes longer was lost.
	completeTimeout = 3 * time.Second
	// sweepInterval is how often sessions are looked for whose menu.completed a crash left out.
	sweepInterval = time.Minute
	// sweepPause is the wait before they are looked for again after a completion failed; it doubles with every sweep that
	// fails.
	sweepPause = time.Second
	// sweepBatch is how many sessions one sweep looks at; the rest are the next one's.
	sweepBatch = 1000
)

// sweep appends the completions that are missing: at once, every minute, and soon after one failed, until ctx ends.
func (t *term) sweep(ctx context.Context) error {
	for pause := sweepPause; ; {
		wait, again := sweepInterval, t.again
		if err := t.completeAll(ctx); err != nil {
			t.projector.unfinished(ctx, fmt.Errorf("complete sessions: %w", err))
			wait, again = pause, nil
			pause = min(2*pause, sweepInterval)
		} else {
			pause = sweepPause
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-again:
			timer.Reset(sweepPause)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// completeBeside appends the completions that are due after a page, beside the pages that follow.
func (t *term) completeBeside(ctx context.Context, due []sessionRecord) {
	for _, r := range due {
		t.appends.Go(func() error {
			ctx := trail.About(trail.Continue(ctx, r.trace), r.Key)
			if err := t.complete(ctx, r); err != nil {
				t.projector.unfinished(ctx, fmt.Errorf("complete sessions: %w", err))
				select {
				case t.again <- struct{}{}:
				default: // a sweep is due already
				}
			}
			return nil
		})
	}
}

// unfinished reports something that failed beside the projection and is tried again by a later sweep.
func (p *Projector) unfinished(ctx context.Context, err error) {
	if ctx.Err() == nil {
		p.status.failed(err)
		p.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "work beside the projection failed, it is tried again", slog.Any("error", err))
	}
}

func (t *term) completeAll(ctx context.Context) error {
	rows, err := t.projector.pool.Query(ctx, t.sql.done, sweepBatch)
	if err != nil {
		return fmt.Errorf("look for sessions without completion: %w", err)
	}
	records, err := pgx.CollectRows(rows, scanSession)
	if err != nil {
		return err
	}
	traces := t.traces(ctx, records)
	var failed error
	for _, r := range records {
		err := t.complete(inTrace(ctx, r, traces), r)
		if errors.Is(err, context.DeadlineExceeded) {
			return err // the broker is away: the others would wait for nothing
		}
		failed = cmp.Or(err, failed) // one session that cannot be completed does not keep the others
	}
	return failed
}

// complete appends menu.completed for a session that has every answer.
func (t *term) complete(ctx context.Context, r sessionRecord) error {
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	if r.Failed > 0 {
		var err error
		if r, err = t.loadParked(ctx, r.Key); err != nil {
			return err
		}
	}
	return t.appendMenu(ctx, r, func(now time.Time) ([]menu.Event, error) { return menu.Complete(r.Session, now) })
}

// appendMenu decides on a session as the rows show it and appends what follows to its menu lane. Losing a race is no
// failure: whoever moved the lane wrote an event, and its fold looks at the session again.
func (t *term) appendMenu(ctx context.Context, r sessionRecord, decide func(now time.Time) ([]menu.Event, error)) error {
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	now := time.Now()
	events, err := decide(now)
	if err == nil && len(events) > 0 {
		proposed := make([]eventstore.Proposed, len(events))
		for i, e := range events {
			proposed[i] = eventstore.Proposed{Event: e, Time: now, Causation: r.lastID, Correlation: r.correlation}
		}
		var receipt eventstore.Receipt
		if receipt, err = t.projector.log.AppendMenu(ctx, r.Key, r.MenuSeq, proposed...); err == nil && !receipt.Already {
			t.projector.status.appended(events)
		}
	}
	if _, rejected := errors.AsType[*menu.RejectedError](err); rejected || errors.Is(err, eventstore.ErrConflict) {
		return nil
	}
	return err
}

// loadParked reads a session together with its parked dishes, as they were at one moment: menu.completed names them.
func (t *term) loadParked(ctx context.Context, key menu.Key) (r sessionRecord, err error) {
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, t.projector.pool, snapshot, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, t.sql.session, key.Tenant, key.Session)
		if err != nil {
			return fmt.Errorf("read session %s: %w", key, err)
		}
		if r, err = pgx.CollectExactlyOneRow(rows, scanSession); err != nil {
			return fmt.Errorf("read session %s: %w", key, err)
		}
		if rows, err = tx.Query(ctx, t.sql.parked, key.Tenant, key.Session); err != nil {
			return fmt.Errorf("read the parked dishes of session %s: %w", key, err)
		}
		r.Dishes = map[menu.DishID]menu.Dish{}
		var (
			d      menu.Dish
			stages []byte
		)
		_, err = pgx.ForEachRow(rows, []any{&d.ID, &d.Position, &stages}, func() (err error) {
			if d.Stages, err = decodeStages[menu.StageState](stages); err == nil {
				r.Dishes[d.ID] = d
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("read the parked dishes of session %s: %w", key, err)
		}
		return nil
	})
	return r, err
}

package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu"
	"kondate/eventstore"
)

const (
	// completeTimeout bounds one completion; what it leaves out the next sweep finds.
	completeTimeout = 10 * time.Second
	// sweepBatch is how many sessions one sweep looks at; the rest are the next one's.
	sweepBatch = 1000
)

// sweep appends the completions that are missing, at once and every minute, until ctx ends.
func (p *Projector) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		if err := p.completeAll(ctx); err != nil && ctx.Err() == nil {
			p.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "sessions without completion not looked for", slog.Any("error", err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (p *Projector) completeAll(ctx context.Context) error {
	rows, err := p.pool.Query(ctx, p.sql.done, sweepBatch)
	if err != nil {
		return fmt.Errorf("look for sessions without completion: %w", err)
	}
	records, err := pgx.CollectRows(rows, scanSession)
	if err != nil {
		return err
	}
	for _, r := range records {
		p.complete(ctx, r)
	}
	return nil
}

// complete appends menu.completed for a session that has every answer. Losing the race is no failure: whoever moved the
// session's menu lane wrote an event, and the fold of that event looks at the session again. Neither is any other
// failure one of the projection: the next sweep tries again.
func (p *Projector) complete(ctx context.Context, r sessionRecord) {
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	err := p.appendCompleted(ctx, r)
	_, rejected := errors.AsType[*menu.RejectedError](err)
	if err == nil || rejected || errors.Is(err, eventstore.ErrConflict) || ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return
	}
	p.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "session not completed yet", slog.String("session", r.Key.String()), slog.Any("error", err))
}

func (p *Projector) appendCompleted(ctx context.Context, r sessionRecord) error {
	if r.Failed > 0 {
		var err error
		if r, err = p.loadParked(ctx, r.Key); err != nil {
			return err
		}
	}
	now := time.Now()
	events, err := menu.Complete(r.Session, now)
	if err != nil || len(events) == 0 {
		return err
	}
	proposed := make([]eventstore.Proposed, len(events))
	for i, e := range events {
		proposed[i] = eventstore.Proposed{Event: e, Time: now, Causation: r.lastID, Correlation: r.correlation}
	}
	_, err = p.log.AppendMenu(ctx, r.Key, r.MenuSeq, proposed...)
	return err
}

// loadParked reads a session together with its parked dishes, as they were at one moment: menu.completed names them.
func (p *Projector) loadParked(ctx context.Context, key menu.Key) (r sessionRecord, err error) {
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, p.pool, snapshot, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, p.sql.session, key.Tenant, key.Session)
		if err != nil {
			return fmt.Errorf("read session %s: %w", key, err)
		}
		if r, err = pgx.CollectExactlyOneRow(rows, scanSession); err != nil {
			return fmt.Errorf("read session %s: %w", key, err)
		}
		if rows, err = tx.Query(ctx, p.sql.parked, key.Tenant, key.Session); err != nil {
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

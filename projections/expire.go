package projections

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu"
)

const (
	// expirySweeps is how many times within its time to live a session is looked at.
	expirySweeps = 4
	// expiryPatience is how long a sweep waits for rows that reflect the log's end.
	expiryPatience = 5 * time.Second
)

// expire ends the sessions that still miss answers after their time to live, until ctx ends.
func (t *term) expire(ctx context.Context) error {
	ttl := t.projector.cfg.SessionTTL
	if ttl == 0 {
		return nil
	}
	interval := min(sweepInterval, ttl/expirySweeps)
	for {
		if err := t.expireAll(ctx, time.Now().Add(-ttl)); err != nil {
			t.projector.unfinished(ctx, fmt.Errorf("expire sessions: %w", err))
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// expireAll ends the sessions that were submitted before a time, and those that a retry has reopened whose last event is
// older. Rows that are behind the log would show sessions that have their answers as unfinished: then it waits.
func (t *term) expireAll(ctx context.Context, before time.Time) error {
	p := t.projector
	last, err := p.log.Last(ctx)
	if err != nil {
		return err
	}
	waitCtx, cancel := context.WithTimeout(ctx, expiryPatience)
	defer cancel()
	if err := NewQueries(p.pool).WaitFor(waitCtx, last); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil // the next sweep's
		}
		return err
	}
	rows, err := p.pool.Query(ctx, t.sql.expired, before, sweepBatch)
	if err != nil {
		return fmt.Errorf("look for sessions that take too long: %w", err)
	}
	records, err := pgx.CollectRows(rows, scanSession)
	if err != nil {
		return fmt.Errorf("look for sessions that take too long: %w", err)
	}
	var failed error
	for _, r := range records {
		err := t.appendMenu(ctx, r, func(time.Time) ([]menu.Event, error) { return menu.Expire(r.Session) })
		if errors.Is(err, context.DeadlineExceeded) {
			return err // the broker is away: the others would wait for nothing
		}
		failed = cmp.Or(err, failed)
	}
	return failed
}

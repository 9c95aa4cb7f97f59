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
	// minExpirySweep is the shortest pause between two looks.
	minExpirySweep = 100 * time.Millisecond
	// expiryPatience is how long a sweep waits for rows that reflect the log's end.
	expiryPatience = 5 * time.Second
)

// expire ends the sessions that still miss answers after their time to live, until ctx ends.
func (t *term) expire(ctx context.Context) error {
	ttl := t.projector.cfg.SessionTTL
	if ttl == 0 {
		return nil
	}
	interval := max(minExpirySweep, min(sweepInterval, ttl/expirySweeps))
	for {
		wait := interval
		more, err := t.expireAll(ctx, time.Now().Add(-ttl))
		if err != nil {
			t.projector.unfinished(ctx, fmt.Errorf("expire sessions: %w", err))
		} else if more {
			wait = min(interval, sweepPause)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// expireAll ends the sessions that were submitted before a time, and those that a retry has reopened whose last event is
// older; more says that there may be others. Rows that are behind the log would show sessions that have their answers as
// unfinished: then it waits.
func (t *term) expireAll(ctx context.Context, before time.Time) (more bool, err error) {
	p := t.projector
	last, err := p.log.Last(ctx)
	if err != nil {
		return false, err
	}
	waitCtx, cancel := context.WithTimeout(ctx, expiryPatience)
	defer cancel()
	if err := NewQueries(p.pool).WaitFor(waitCtx, last); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return false, nil // the next sweep's
		}
		return false, err
	}
	rows, err := p.pool.Query(ctx, t.sql.expired, before, sweepBatch)
	if err != nil {
		return false, fmt.Errorf("look for sessions that take too long: %w", err)
	}
	records, err := pgx.CollectRows(rows, scanSession)
	if err != nil {
		return false, fmt.Errorf("look for sessions that take too long: %w", err)
	}
	traces := t.traces(ctx, records)
	var failed error
	for _, r := range records {
		err := t.appendMenu(inTrace(ctx, r, traces), r, func(time.Time) ([]menu.Event, error) { return menu.Expire(r.Session) })
		if errors.Is(err, context.DeadlineExceeded) {
			return false, err // the broker is away: the others would wait for nothing
		}
		failed = cmp.Or(err, failed)
	}
	return len(records) == sweepBatch, failed
}

package projections

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// Failure is a stage that is parked for a dish.
type Failure struct {
	Tenant    menu.Tenant    `json:"-"`
	MenuID    menu.DishID    `json:"menu_id"`
	SessionID menu.SessionID `json:"session_id"`
	Stage     menu.Stage     `json:"stage"`
	Epoch     int            `json:"epoch"`
	Reason    string         `json:"reason"`
	Error     string         `json:"error"` // what the provider said last
	Provider  string         `json:"provider"`
	Attempts  int            `json:"attempts"`
	ParkedAt  Time           `json:"parked_at"`
	TraceID   string         `json:"trace_id,omitempty"` // W3C, of the request that began it; empty: it had none
	Seq       uint64         `json:"seq"`                // the event that parked it
}

// FailureFilter says which parked stages are wanted. The zero value wants those of all tenants.
type FailureFilter struct {
	Tenant  menu.Tenant
	Session menu.SessionID
	MenuID  menu.DishID
	Stage   *menu.Stage
	Reason  string
	After   FailureCursor
	Limit   int // how many at most; must be positive
}

// FailureCursor is a place in the list of parked stages. The zero value is its beginning.
type FailureCursor struct {
	seq uint64
	id  menu.DishID
}

// ErrCursor is matched by the errors of [ParseFailureCursor].
var ErrCursor = errors.New("not a cursor that this server gave")

// ParseFailureCursor is the inverse of [FailureCursor.String].
func ParseFailureCursor(raw string) (c FailureCursor, err error) {
	seq, id, _ := strings.Cut(raw, "-")
	if c.seq, err = strconv.ParseUint(seq, 10, 63); err == nil {
		c.id, err = menu.ParseDishID(id)
	}
	if err != nil {
		return FailureCursor{}, fmt.Errorf("%q is %w", raw, ErrCursor)
	}
	return c, nil
}

// String returns the cursor as a client gives it back.
func (c FailureCursor) String() string { return strconv.FormatUint(c.seq, 10) + "-" + string(c.id) }

// Cursor is the place behind this failure: an event parks one stage of each of its dishes.
func (f Failure) Cursor() FailureCursor { return FailureCursor{f.Seq, f.MenuID} }

// Failures returns the parked stages that a filter wants, those that were parked first to begin with.
func (q *Queries) Failures(ctx context.Context, f FailureFilter) ([]Failure, error) {
	sql := `select tenant, menu_id, session_id, stage, epoch, coalesce(reason, ''), coalesce(error, ''), coalesce(provider, ''), attempts,
  coalesce(time, now()), coalesce(headers -> 'traceparent' ->> 0, ''), seq
from public.troubles where status = 'failed' and (seq, menu_id) > ($1, $2)`
	args := []any{toBigint(f.After.seq), f.After.id}
	where := func(column string, value any) {
		args = append(args, value)
		sql += fmt.Sprintf(" and %s = $%d", column, len(args))
	}
	if f.Tenant != "" {
		where("tenant", f.Tenant)
	}
	if f.Session != "" {
		where("session_id", f.Session)
	}
	if f.MenuID != "" {
		where("menu_id", f.MenuID)
	}
	if f.Stage != nil {
		where("stage", f.Stage.String())
	}
	if f.Reason != "" {
		where("reason", f.Reason)
	}
	args = append(args, f.Limit)
	rows, err := q.pool.Query(ctx, sql+fmt.Sprintf(" order by seq, menu_id limit $%d", len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("read the parked stages: %w", err)
	}
	failures, err := pgx.CollectRows(rows, scanFailure)
	if err != nil {
		return nil, fmt.Errorf("read the parked stages: %w", err)
	}
	return failures, nil
}

// traceIDBytes is the length of a W3C trace id.
const traceIDBytes = 32

func scanFailure(row pgx.CollectableRow) (f Failure, err error) {
	var (
		stage, trace string
		at           time.Time
		seq          int64
	)
	if err := row.Scan(&f.Tenant, &f.MenuID, &f.SessionID, &stage, &f.Epoch, &f.Reason, &f.Error, &f.Provider, &f.Attempts, &at, &trace, &seq); err != nil {
		return f, err
	}
	if f.Stage, err = menu.ParseStage(stage); err != nil {
		return f, err
	}
	f.ParkedAt, f.Seq = Time{at.UTC()}, fromBigint(seq)
	if parts := strings.Split(trace, "-"); len(parts) == 4 && len(parts[1]) == traceIDBytes {
		f.TraceID = parts[1]
	}
	return f, nil
}

// ParkedCount says how many dishes a stage is parked for, for one reason.
type ParkedCount struct {
	Stage  menu.Stage
	Reason string
	Dishes int
	Oldest time.Time // when the first of them was parked
}

// maxReasons bounds the groups of [Queries.Parked]: a provider may give every failure a reason of its own.
const maxReasons = 200

// Parked counts the parked stages of all tenants by stage and reason, the largest groups first.
func (q *Queries) Parked(ctx context.Context) ([]ParkedCount, error) {
	const sql = `select stage, coalesce(reason, ''), count(*), coalesce(min(time), now())
from public.troubles where status = 'failed' group by 1, 2 order by 3 desc, 1, 2 limit $1`
	rows, err := q.pool.Query(ctx, sql, maxReasons)
	if err != nil {
		return nil, fmt.Errorf("count the parked stages: %w", err)
	}
	counts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c ParkedCount, err error) {
		var stage string
		if err := row.Scan(&stage, &c.Reason, &c.Dishes, &c.Oldest); err != nil {
			return c, err
		}
		c.Stage, err = menu.ParseStage(stage)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("count the parked stages: %w", err)
	}
	return counts, nil
}

// OverdueRetries returns the events of failed attempts whose next one should have been made before a time and has no
// outcome in the rows, limit of them at most, the oldest first.
func (q *Queries) OverdueRetries(ctx context.Context, before time.Time, limit int) ([]eventstore.Entry, error) {
	// offset 0 has each waiting event looked up by its key. Left to itself the planner walks all of history and parses the
	// body of every event.
	const sql = `select h.* from (select distinct t.seq from public.troubles t where t.status = 'retrying') waiting
cross join lateral (select ` + historyColumns + ` from public.history where seq = waiting.seq offset 0) h
where (h.data ->> 'retry_at')::timestamptz < $1 order by h.seq limit $2`
	rows, err := q.pool.Query(ctx, sql, before, limit)
	if err != nil {
		return nil, fmt.Errorf("read the overdue retries: %w", err)
	}
	held, err := pgx.CollectRows(rows, scanHistory)
	if err != nil {
		return nil, fmt.Errorf("read the overdue retries: %w", err)
	}
	entries := make([]eventstore.Entry, len(held))
	for i, r := range held {
		entries[i] = r.entry()
	}
	return entries, nil
}

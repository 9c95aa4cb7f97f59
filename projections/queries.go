package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kondate/domain/menu"
)

// Queries reads the live version of the read models. It is safe for concurrent use.
type Queries struct {
	pool    *pgxpool.Pool
	reached *reached
}

// NewQueries returns queries over a pool, which stays the caller's.
func NewQueries(pool *pgxpool.Pool) *Queries { return &Queries{pool: pool, reached: newReached()} }

// Session returns a session's progress, or [ErrNotFound].
func (q *Queries) Session(ctx context.Context, key menu.Key) (SessionRow, error) {
	rows, err := q.pool.Query(ctx, "select "+sessionColumns+" from public.sessions s where s.tenant = $1 and s.session_id = $2", key.Tenant, key.Session)
	if err != nil {
		return SessionRow{}, fmt.Errorf("read session %s: %w", key, err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, scanSession)
	if err != nil {
		return SessionRow{}, fmt.Errorf("read session %s: %w", key, orNotFound(err))
	}
	return newSessionRow(r.Session), nil
}

// Menus returns a session's dishes by position, and the event that the answer reflects; or [ErrNotFound]. A session
// that was erased has no dishes.
func (q *Queries) Menus(ctx context.Context, key menu.Key) ([]MenuRow, uint64, error) {
	fail := func(err error) ([]MenuRow, uint64, error) {
		return nil, 0, fmt.Errorf("read the dishes of session %s: %w", key, err)
	}
	// One statement is one snapshot: rows and sequence belong together.
	const sql = `select p.seq, ` + menuColumns + `
from public.progress p cross join public.menus m where m.tenant = $1 and m.session_id = $2 order by m.position, m.id`
	rows, err := q.pool.Query(ctx, sql, key.Tenant, key.Session)
	if err != nil {
		return fail(err)
	}
	var seq int64
	menus, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (MenuRow, error) { return scanMenu(row, &seq) })
	if err != nil {
		return fail(err)
	}
	if len(menus) > 0 {
		return menus, fromBigint(seq), nil
	}
	const empty = `select p.seq from public.progress p cross join public.sessions s where s.tenant = $1 and s.session_id = $2`
	if err := q.pool.QueryRow(ctx, empty, key.Tenant, key.Session).Scan(&seq); err != nil {
		return fail(orNotFound(err))
	}
	return menus, fromBigint(seq), nil
}

// Menu returns one dish, or [ErrNotFound].
func (q *Queries) Menu(ctx context.Context, tenant menu.Tenant, id menu.DishID) (MenuRow, error) {
	rows, err := q.pool.Query(ctx, "select "+menuColumns+" from public.menus m where m.tenant = $1 and m.id = $2", tenant, id)
	if err != nil {
		return MenuRow{}, fmt.Errorf("read dish %s: %w", id, err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (MenuRow, error) { return scanMenu(row) })
	if err != nil {
		return MenuRow{}, fmt.Errorf("read dish %s: %w", id, orNotFound(err))
	}
	return r, nil
}

// Checkpoint returns the sequence of the last event that the rows reflect, 0 before the first.
func (q *Queries) Checkpoint(ctx context.Context) (uint64, error) {
	var seq int64
	err := q.pool.QueryRow(ctx, "select seq from public.progress").Scan(&seq)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("read the checkpoint: %w", err)
	}
	return fromBigint(seq), nil
}

// History returns at most limit messages of a session after a sequence, in order, also those that no projection could
// read (see [HistoryRow.Err]).
func (q *Queries) History(ctx context.Context, key menu.Key, after uint64, limit int) ([]HistoryRow, error) {
	const sql = `select ` + historyColumns + ` from public.history where tenant = $1 and session_id = $2 and seq > $3 order by seq limit $4`
	rows, err := q.pool.Query(ctx, sql, key.Tenant, key.Session, toBigint(after), limit)
	if err != nil {
		return nil, fmt.Errorf("read the history of session %s after %d: %w", key, after, err)
	}
	history, err := pgx.CollectRows(rows, scanHistory)
	if err != nil {
		return nil, fmt.Errorf("read the history of session %s after %d: %w", key, after, err)
	}
	return history, nil
}

// Older is History for streams, in one exchange with the database: a row has no headers unless its error is set, and upTo is
// the checkpoint before the rows were read, up to which nothing is missing among them.
func (q *Queries) Older(ctx context.Context, key menu.Key, after uint64, limit int) (page []HistoryRow, upTo uint64, err error) {
	const sql = `select seq, id, tenant, session_id, type, version, time, case when error <> '' and error not like 'ignored: %' then headers end, data, raw, coalesce(error, '')
from public.history where tenant = $1 and session_id = $2 and seq > $3 order by seq limit $4`
	var both pgx.Batch
	both.Queue("select seq from public.progress").QueryRow(func(row pgx.Row) error {
		var seq int64
		err := row.Scan(&seq)
		if errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
		upTo = fromBigint(seq)
		return err
	})
	both.Queue(sql, key.Tenant, key.Session, toBigint(after), limit).Query(func(rows pgx.Rows) error {
		page, err = pgx.AppendRows(make([]HistoryRow, 0, limit), rows, scanHistory)
		return err
	})
	if err := q.pool.SendBatch(ctx, &both).Close(); err != nil {
		return nil, 0, fmt.Errorf("read the history of session %s after %d: %w", key, after, err)
	}
	return page, upTo, nil
}

func orNotFound(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// Archived is a session whose events were taken out of the log; history keeps them.
type Archived struct {
	Key      menu.Key
	FirstSeq uint64
	LastSeq  uint64
	Events   int
	File     string // that holds them too
}

// Archivable returns the sessions, at most limit of them after one, that are closed, whose last event is older than a
// time, and that were not archived yet.
func Archivable(ctx context.Context, pool *pgxpool.Pool, before time.Time, after menu.Key, limit int) ([]menu.Key, error) {
	const sql = `select tenant, session_id from public.sessions s
where status in ('completed', 'expired') and open_retries = 0 and open_images = 0 and updated_at < $1 and (tenant, session_id) > ($2, $3)
  and not exists (select from public.archived_sessions a where a.tenant = s.tenant and a.session_id = s.session_id)
order by tenant, session_id limit $4`
	rows, err := pool.Query(ctx, sql, before, after.Tenant, after.Session, limit)
	if err != nil {
		return nil, fmt.Errorf("look for sessions to archive: %w", err)
	}
	keys, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (key menu.Key, err error) {
		err = row.Scan(&key.Tenant, &key.Session)
		return key, err
	})
	if err != nil {
		return nil, fmt.Errorf("look for sessions to archive: %w", err)
	}
	return keys, nil
}

// MarkArchived notes that the log may lack a session's events. It comes before they go: what verify finds missing then has
// its reason.
func MarkArchived(ctx context.Context, pool *pgxpool.Pool, a Archived) error {
	const sql = `insert into public.archived_sessions (tenant, session_id, first_seq, last_seq, events, file) values ($1, $2, $3, $4, $5, $6)
on conflict (tenant, session_id) do update set last_seq = excluded.last_seq, events = excluded.events, file = excluded.file, archived_at = now()`
	if _, err := pool.Exec(ctx, sql, a.Key.Tenant, a.Key.Session, toBigint(a.FirstSeq), toBigint(a.LastSeq), a.Events, a.File); err != nil {
		return fmt.Errorf("note that session %s is archived: %w", a.Key, err)
	}
	return nil
}

// Past returns a session as a fold of all that history holds of it, also of one that the log holds no longer; or
// [ErrNotFound].
func (q *Queries) Past(ctx context.Context, key menu.Key) (menu.Session, error) {
	at, err := q.Checkpoint(ctx)
	if err != nil {
		return menu.Session{}, err
	}
	return q.foldAt(ctx, key, at)
}

// UnmarkArchived takes the note back: the session stays in the log.
func UnmarkArchived(ctx context.Context, pool *pgxpool.Pool, key menu.Key) error {
	const sql = `delete from public.archived_sessions where tenant = $1 and session_id = $2`
	if _, err := pool.Exec(ctx, sql, key.Tenant, key.Session); err != nil {
		return fmt.Errorf("take back that session %s is archived: %w", key, err)
	}
	return nil
}

// ErrNoCopy says that history does not hold what the log holds.
var ErrNoCopy = errors.New("history does not hold these events as the log does: kondate projections verify says more")

// Holds checks that history has a copy of each of a session's entries.
func (q *Queries) Holds(ctx context.Context, key menu.Key, entries []eventstore.Entry) error {
	rows, err := q.History(ctx, key, 0, len(entries)+1)
	if err != nil {
		return err
	}
	if len(rows) != len(entries) {
		return fmt.Errorf("session %s has %d events in history and %d in the log: %w", key, len(rows), len(entries), ErrNoCopy)
	}
	for i, r := range rows {
		columns, err := r.differs(entries[i])
		if err != nil {
			return err
		}
		if r.Seq != entries[i].Seq || len(columns) > 0 {
			return fmt.Errorf("event %d of session %s differs in %v: %w", entries[i].Seq, key, columns, ErrNoCopy)
		}
	}
	return nil
}

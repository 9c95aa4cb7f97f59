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
	Key  menu.Key
	Seqs []uint64 // of its events, in order
	File string   // that holds them too
}

// Archivable calls take with the events of all sessions that are closed, whose last event is older than a time, and that
// were not archived yet: in the log's order, each after it was held against its copy in history. It returns the sessions,
// without a file. Events that the rows do not reflect yet are not among theirs.
func (o *Operations) Archivable(ctx context.Context, before time.Time, take func(eventstore.Entry) error) ([]Archived, error) {
	sessions, err := o.archivable(ctx, before)
	if err != nil || len(sessions) == 0 {
		return nil, err
	}
	expected := make(map[menu.Key][]uint64, len(sessions))
	first, last := sessions[0].Seqs[0], uint64(0)
	for _, s := range sessions {
		expected[s.Key] = s.Seqs
		first, last = min(first, s.Seqs[0]), max(last, s.Seqs[len(s.Seqs)-1])
	}
	source := source{o.log, o.pool}
	for at := first - 1; at < last; {
		entries, held, through, err := source.page(ctx, at, last, true)
		if err != nil {
			return nil, err
		}
		copies := make(map[uint64]HistoryRow, len(held))
		for _, r := range held {
			copies[r.Seq] = r
		}
		for _, e := range entries {
			seqs := expected[e.Key]
			if len(seqs) == 0 {
				continue
			}
			if e.Seq != seqs[0] {
				return nil, fmt.Errorf("session %s: event %d is the next one in the log, event %d in history: %w", e.Key, e.Seq, seqs[0], ErrNoCopy)
			}
			columns, err := copies[e.Seq].differs(e)
			if err != nil {
				return nil, err
			}
			if len(columns) > 0 {
				return nil, fmt.Errorf("event %d of session %s differs in %v: %w", e.Seq, e.Key, columns, ErrNoCopy)
			}
			if err := take(e); err != nil {
				return nil, err
			}
			expected[e.Key] = seqs[1:]
		}
		at = through
	}
	for key, seqs := range expected {
		if len(seqs) > 0 {
			return nil, fmt.Errorf("session %s: event %d is in history and not in the log: %w", key, seqs[0], ErrNoCopy)
		}
	}
	return sessions, nil
}

// archivable returns the sessions and the events that history holds of each, the session that began first before the others:
// those that leave the log one after the other then lie together on its disk.
func (o *Operations) archivable(ctx context.Context, before time.Time) ([]Archived, error) {
	const sql = `select tenant, session_id, array(select seq from public.history h where h.tenant = s.tenant and h.session_id = s.session_id order by seq)
from public.sessions s where status in ('completed', 'expired') and open_retries = 0 and open_images = 0 and updated_at < $1
  and not exists (select from public.archived_sessions a where a.tenant = s.tenant and a.session_id = s.session_id)
order by 3`
	sessions, err := collectArchived(ctx, o.pool, sql, before)
	for _, s := range sessions {
		if len(s.Seqs) == 0 {
			return nil, fmt.Errorf("session %s has no event in history: %w", s.Key, ErrNoCopy)
		}
	}
	return sessions, err
}

// Leaving returns the sessions that an archive has marked with [MarkArchived] and not confirmed with [ConfirmArchived]: it was stopped, and
// the log may hold all of their events, some, or none. One that was erased since has no Seqs: the erasure takes the rest out.
func Leaving(ctx context.Context, pool *pgxpool.Pool) ([]Archived, error) {
	const sql = `select tenant, session_id, array(select seq from public.history h
  where h.tenant = a.tenant and h.session_id = a.session_id and h.seq <= a.last_seq order by seq)
from public.archived_sessions a where leaving order by 3`
	return collectArchived(ctx, pool, sql)
}

func collectArchived(ctx context.Context, pool *pgxpool.Pool, sql string, args ...any) ([]Archived, error) {
	rows, err := pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("look for sessions to archive: %w", err)
	}
	sessions, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Archived, err error) {
		err = row.Scan(&s.Key.Tenant, &s.Key.Session, &s.Seqs)
		return s, err
	})
	if err != nil {
		return nil, fmt.Errorf("look for sessions to archive: %w", err)
	}
	return sessions, nil
}

// MarkArchived notes that a session's events begin to leave the log. It comes before they go: what verify finds missing then has
// its reason.
func MarkArchived(ctx context.Context, pool *pgxpool.Pool, a Archived) error {
	const sql = `insert into public.archived_sessions (tenant, session_id, first_seq, last_seq, events, file, leaving) values ($1, $2, $3, $4, $5, $6, true)
on conflict (tenant, session_id) do update set last_seq = excluded.last_seq, events = excluded.events, file = excluded.file, leaving = true, archived_at = now()`
	if _, err := pool.Exec(ctx, sql, a.Key.Tenant, a.Key.Session, toBigint(a.Seqs[0]), toBigint(a.Seqs[len(a.Seqs)-1]), len(a.Seqs), a.File); err != nil {
		return fmt.Errorf("note that session %s leaves the log: %w", a.Key, err)
	}
	return nil
}

// ConfirmArchived notes that the events of marked sessions have left the log.
func ConfirmArchived(ctx context.Context, pool *pgxpool.Pool, sessions []Archived) error {
	var tenants, ids []string
	for _, s := range sessions {
		tenants, ids = append(tenants, string(s.Key.Tenant)), append(ids, string(s.Key.Session))
	}
	const sql = `update public.archived_sessions a set leaving = false from unnest($1::text[], $2::text[]) k (tenant, session_id)
where a.tenant = k.tenant and a.session_id = k.session_id and leaving`
	if _, err := pool.Exec(ctx, sql, tenants, ids); err != nil {
		return fmt.Errorf("note that %d sessions have left the log: %w", len(sessions), err)
	}
	return nil
}

// UnmarkArchived takes the mark back: the session stays in the log.
func UnmarkArchived(ctx context.Context, pool *pgxpool.Pool, key menu.Key) error {
	const sql = `delete from public.archived_sessions where tenant = $1 and session_id = $2`
	if _, err := pool.Exec(ctx, sql, key.Tenant, key.Session); err != nil {
		return fmt.Errorf("take back that session %s leaves the log: %w", key, err)
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

// ErrNoCopy says that history does not hold what the log holds.
var ErrNoCopy = errors.New("history does not hold these events as the log does: kondate projections verify says more")

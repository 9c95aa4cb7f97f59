package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// VersionState is what a version of the read models is there for.
type VersionState string

// The states of a version.
const (
	VersionLive     VersionState = "live"     // what readers see
	VersionBuilding VersionState = "building" // a rebuild is under way, or was stopped and can go on
	VersionChecking VersionState = "checking" // of a verification that is under way or was cut off
	VersionOld      VersionState = "old"      // was live before the last rebuild; the next one removes it
)

// Version is one version of the read models.
type Version struct {
	Version   int          `json:"version"`
	State     VersionState `json:"state"`
	Seq       uint64       `json:"seq"` // the last event that its rows reflect
	Stream    string       `json:"stream"`
	Dishes    int64        `json:"dishes"` // about, as Postgres estimates them; -1 until it has
	Bytes     int64        `json:"bytes"`  // tables and indexes
	CreatedAt time.Time    `json:"created_at"`
	LiveAt    *time.Time   `json:"live_at"` // since when readers see it, or saw it first
}

// checkpoint is how far a version of the projection has come in a stream.
type checkpoint struct {
	version  int
	seq      uint64
	identity string
}

// check refuses a stream with another identity: its sequences say nothing about these rows.
func (c checkpoint) check(identity string) error {
	if identity == c.identity {
		return nil
	}
	return fmt.Errorf("the rows stand at event %d of stream %s, the log is stream %s: %w", c.seq, c.identity, identity, ErrOtherStream)
}

// querier is a connection, a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

const sqlCheckpoint = `select c.version, c.seq, c.stream_identity
from public.checkpoints c join public.versions v on v.version = c.version where c.projection = '` + projection + `' and v.state = $1`

// liveCheckpoint returns the checkpoint of the version that readers see; it matches [ErrNotFound] before the first start
// of a projector.
func liveCheckpoint(ctx context.Context, q querier) (checkpoint, error) {
	return scanCheckpoint(q.QueryRow(ctx, sqlCheckpoint, VersionLive))
}

// lockLive is liveCheckpoint, and until the transaction ends nobody moves it.
func lockLive(ctx context.Context, tx pgx.Tx) (checkpoint, error) {
	return scanCheckpoint(tx.QueryRow(ctx, sqlCheckpoint+" for update of c", VersionLive))
}

func scanCheckpoint(row pgx.Row) (c checkpoint, err error) {
	var seq int64
	if err := row.Scan(&c.version, &seq, &c.identity); err != nil {
		if errors.Is(err, pgx.ErrNoRows) {
			err = fmt.Errorf("no projector has run on this database: %w", ErrNotFound)
		}
		return c, fmt.Errorf("read the checkpoint: %w", err)
	}
	c.seq = fromBigint(seq)
	return c, nil
}

// Versions lists the versions of the read models, the oldest first.
func Versions(ctx context.Context, pool *pgxpool.Pool) ([]Version, error) {
	const sql = `select v.version, v.state, coalesce(c.seq, 0), coalesce(c.stream_identity, ''),
  m.reltuples::bigint, pg_total_relation_size(m.oid) + pg_total_relation_size(s.oid), v.created_at, v.live_at
from public.versions v
left join public.checkpoints c on c.projection = '` + projection + `' and c.version = v.version
join pg_class m on m.oid = to_regclass(format('v%s.menus', v.version))
join pg_class s on s.oid = to_regclass(format('v%s.sessions', v.version))
order by v.version`
	rows, err := pool.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("list the versions of the read models: %w", err)
	}
	versions, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (v Version, err error) {
		var seq int64
		err = row.Scan(&v.Version, &v.State, &seq, &v.Stream, &v.Dishes, &v.Bytes, &v.CreatedAt, &v.LiveAt)
		v.Seq = fromBigint(seq)
		return v, err
	})
	if err != nil {
		return nil, fmt.Errorf("list the versions of the read models: %w", err)
	}
	return versions, nil
}

// End is where a log ends.
type End interface {
	// Last returns the sequence of the log's newest message, 0 if it is empty. The next one gets a higher one.
	Last(ctx context.Context) (uint64, error)
	// Newest returns the sequence of the newest event that is still there, 0 if there is none.
	Newest(ctx context.Context) (uint64, error)
}

// CheckLog compares the log with the rows before anything is appended: it refuses a log that is not the one that the rows
// were made from, or that lost events at its end ([ErrLostEnd], [ErrLostInside]), whose place the next appends would take.
func CheckLog(ctx context.Context, pool *pgxpool.Pool, identity string, log End) error {
	live, err := liveCheckpoint(ctx, pool)
	if errors.Is(err, ErrNotFound) {
		return nil // no projector has run yet
	}
	if err != nil {
		return err
	}
	if live.seq == 0 {
		return nil // nothing was made from any stream
	}
	if err := live.check(identity); err != nil {
		return err
	}
	return live.checkEnd(ctx, pool, log)
}

// checkEnd compares the log's end with history, which knows what the log must hold. The log's last sequence alone says too
// little: a broker remembers it apart from the blocks, and so it stays when a block was cut or is gone.
func (c checkpoint) checkEnd(ctx context.Context, q querier, log End) error {
	last, err := log.Last(ctx)
	if err != nil {
		return err
	}
	newest, err := log.Newest(ctx)
	if err != nil {
		return err
	}
	const sql = `select coalesce(min(seq), 0), coalesce(max(seq), 0) from public.history h where seq > $1 and seq <= $2 and type <> ''
  and not exists (select from public.archived_sessions a where a.tenant = h.tenant and a.session_id = h.session_id)`
	var from, to int64
	if err := q.QueryRow(ctx, sql, toBigint(newest), toBigint(c.seq)).Scan(&from, &to); err != nil {
		return fmt.Errorf("compare the log's end with history: %w", err)
	}
	switch first := fromBigint(from); {
	case first > 0 && first <= last:
		return fmt.Errorf("the newest event in the log is event %d, the rows stand at event %d: the log has lost events %d to %d, and history holds them still: %w",
			newest, c.seq, first, fromBigint(to), ErrLostInside)
	case last < c.seq:
		return fmt.Errorf("the log ends at event %d, the rows stand at event %d: the log has lost events %d to %d, and history holds them still: %w",
			last, c.seq, last+1, c.seq, ErrLostEnd)
	}
	return nil
}

// Led says whether a projector leads.
func Led(ctx context.Context, pool *pgxpool.Pool) (led bool, err error) {
	if err := pool.QueryRow(ctx, "select exists (select "+sqlLeadLock+")", lockClass, lockLead).Scan(&led); err != nil {
		return false, fmt.Errorf("look for the projector that leads: %w", err)
	}
	return led, nil
}

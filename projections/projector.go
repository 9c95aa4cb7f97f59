package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// Log is what a projector needs of the log.
type Log interface {
	// Follow hands over every entry after a sequence, in pages, until fn fails or ctx ends.
	Follow(ctx context.Context, after uint64, fn func(context.Context, []eventstore.Entry) error) error
	// AppendMenu records a session's menu events if the lane is still at expected.
	AppendMenu(ctx context.Context, key menu.Key, expected uint64, events ...eventstore.Proposed) (eventstore.Receipt, error)
	// Last returns the sequence of the log's newest message.
	Last(ctx context.Context) (uint64, error)
	// Erase removes every event of a session up to a sequence but its tombstone, so that nothing of them can be read any more.
	Erase(ctx context.Context, key menu.Key, tombstone, through uint64) error
}

// ProjectorConfig holds the settings of a projector. Identity and Logger are required.
type ProjectorConfig struct {
	// Identity returns the identity of the stream that the log is on now; see streams.Identity.
	Identity func(ctx context.Context) (string, error)
	// SessionTTL is how long after its submission a session that misses answers expires; one that a retry has reopened, so
	// long after its last event. 0: never.
	SessionTTL time.Duration
	// Progress is told at every ProgressInterval how far each running session is, as the JSON of [SessionProgress]. Nil: nobody is.
	Progress         func(key menu.Key, body []byte) error
	ProgressInterval time.Duration
	// Pictures is the store of pictures, which loses those of erased sessions. Nil: there is none.
	Pictures Pictures
	// Written is told of every page that was committed. Nil: nobody is.
	Written func(Page)
	Logger  *slog.Logger
	Tracer  trace.Tracer // of pages and the rows that they write; nil: none
}

const (
	// standbyInterval is how often a standby asks for the lead. It asks and does not wait in the database, where a
	// statement that runs for days would keep vacuum from its work.
	standbyInterval = 250 * time.Millisecond
	// closeTimeout bounds the farewell to Postgres.
	closeTimeout = time.Second
	// A projector that lost Postgres or the log tries again after a pause that grows from minPause to maxPause.
	minPause = 50 * time.Millisecond
	maxPause = 2 * time.Second

	// lockClass is the first half of the keys of advisory locks, "kond".
	lockClass = 0x6b6f6e64
	// lockLead is the lock of the projector that works, lockRebuild that of a rebuild or another change of versions.
	lockLead    = 1
	lockRebuild = 2
)

// Projector keeps the read models in step with the log. Any number may run on one database; one of them works.
type Projector struct {
	pool   *pgxpool.Pool
	log    Log
	cfg    ProjectorConfig
	status status
}

// NewProjector returns a projector of the live version. Pool and log stay the caller's.
func NewProjector(pool *pgxpool.Pool, log Log, cfg ProjectorConfig) *Projector {
	return &Projector{pool: pool, log: log, cfg: cfg, status: status{now: ProjectorStatus{State: ProjectorStarting}}}
}

// Run projects until ctx ends, and then returns ctx's error. A standby waits inside; Postgres or a broker that is away
// is waited for. It gives up with [ErrFenced] when somebody else moves the checkpoint although this one leads, and with
// [ErrOtherStream] when the log is not the one that the rows were made from.
func (p *Projector) Run(ctx context.Context) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = minPause, maxPause
	for {
		t := term{projector: p, again: make(chan struct{}, 1), erased: make(chan struct{}, 1)}
		err := t.lead(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrFenced), errors.Is(err, ErrOtherStream):
			return err
		case errors.Is(err, errNotLive):
			p.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "projector goes on with another version", slog.Any("reason", err))
			continue
		}
		p.status.enter(ProjectorFailing, 0)
		p.status.failed(err)
		if t.progress {
			pause.Reset()
		}
		p.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "projector starts again", slog.Any("error", err))
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// connect opens the connection of a writer. The lock and every page are on this one connection: who loses it loses both.
func connect(ctx context.Context, pool *pgxpool.Pool) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig.Copy())
	if err != nil {
		return nil, fmt.Errorf("connect to Postgres: %w", err)
	}
	for _, setting := range []string{
		// A crash of Postgres may lose the last pages, but then their checkpoints with them: they are folded again.
		"set synchronous_commit = off",
		// Every statement looks a page's rows up by key. The planner must not come to another mind because statistics are
		// old. It plans each page anew: a plan that was made for an empty table, to walk all of it, would be kept when it has
		// grown, for a minute or more.
		"set enable_seqscan = off", "set enable_hashjoin = off", "set enable_mergejoin = off", "set jit = off", "set plan_cache_mode = force_custom_plan",
		// A leader whose machine is gone must not hold the lock for the two hours that TCP would wait.
		"set tcp_keepalives_idle = 5", "set tcp_keepalives_interval = 2", "set tcp_keepalives_count = 3",
	} {
		if _, err := conn.Exec(ctx, setting); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", setting, err), disconnect(ctx, conn))
		}
	}
	return conn, nil
}

func disconnect(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return conn.Close(ctx)
}

// sqlLeadLock finds the lock of the lead, that somebody holds; $1 and $2 are lockClass and lockLead.
const sqlLeadLock = `from pg_locks l where l.locktype = 'advisory' and l.granted and l.classid = $1::bigint::oid and l.objid = $2::bigint::oid and l.objsubid = 2
and l.database = (select oid from pg_database where datname = current_database())`

// tryLock takes an advisory lock that conn then holds until it is closed, or says that another connection has it.
func tryLock(ctx context.Context, conn *pgx.Conn, lock int) (locked bool, err error) {
	if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1, $2)", lockClass, lock).Scan(&locked); err != nil {
		return false, fmt.Errorf("ask for a lock: %w", err)
	}
	return locked, nil
}

// lockPatience is how long an operation asks for a lock: that of a process which has just ended is given back by Postgres
// a moment later.
const lockPatience = 2 * time.Second

// takeLock is tryLock for an operation that needs the lock: it returns [ErrBusy] if somebody else keeps it.
func takeLock(ctx context.Context, conn *pgx.Conn, lock int) error {
	for late := time.Now().Add(lockPatience); ; {
		locked, err := tryLock(ctx, conn, lock)
		switch {
		case err != nil || locked:
			return err
		case time.Now().After(late):
			return ErrBusy
		}
		select {
		case <-time.After(standbyInterval):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// waitForLead returns when conn holds the lock of the lead. A leader that is silent loses it.
func (p *Projector) waitForLead(ctx context.Context, conn *pgx.Conn, b *pulse) error {
	for {
		if leads, err := tryLock(ctx, conn, lockLead); err != nil || leads {
			return err
		}
		p.status.enter(ProjectorStandby, 0)
		if err := b.endSilent(ctx, conn, p.cfg.Logger); err != nil {
			return err
		}
		select {
		case <-time.After(standbyInterval):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// begin returns the writer of the live version, from its checkpoint on, after checking that this is one of the stream
// in use. The checkpoint is made when there is none; one that stands before the first event goes with any stream.
func (p *Projector) begin(ctx context.Context, conn *pgx.Conn) (writer, error) {
	identity, err := p.cfg.Identity(ctx)
	if err != nil {
		return writer{}, err
	}
	const insert = `insert into public.checkpoints (projection, version, seq, stream_identity)
select $1, version, 0, $2 from public.versions where state = 'live'
on conflict (projection, version) do update set stream_identity = excluded.stream_identity where checkpoints.seq = 0`
	if _, err := conn.Exec(ctx, insert, projection, identity); err != nil {
		return writer{}, fmt.Errorf("make the checkpoint: %w", err)
	}
	at, err := liveCheckpoint(ctx, conn)
	if err != nil {
		return writer{}, err
	}
	w := newWriter(conn, at, true, p.cfg.Logger)
	w.tracer = p.cfg.Tracer
	return w, at.check(identity)
}

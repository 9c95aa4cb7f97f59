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

	"kondate/domain/menu"
	"kondate/eventstore"
)

// Log is what a projector needs of the log.
type Log interface {
	// Follow hands over every entry after a sequence, in pages, until fn fails or ctx ends.
	Follow(ctx context.Context, after uint64, fn func(context.Context, []eventstore.Entry) error) error
	// AppendMenu records a session's menu events if the lane is still at expected.
	AppendMenu(ctx context.Context, key menu.Key, expected uint64, events ...eventstore.Proposed) (eventstore.Receipt, error)
}

// ProjectorConfig holds the settings of a projector. Both are required.
type ProjectorConfig struct {
	// Identity returns the identity of the stream that the log is on now; see streams.Identity.
	Identity func(ctx context.Context) (string, error)
	Logger   *slog.Logger
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

	// lockClass is the first half of the advisory lock's key, "kond"; the version is the second.
	lockClass = 0x6b6f6e64
)

// Projector keeps the read models in step with the log. Any number may run on one database; one of them works.
type Projector struct {
	pool *pgxpool.Pool
	log  Log
	cfg  ProjectorConfig
	sql  statements
}

// NewProjector returns a projector of the live version. Pool and log stay the caller's.
func NewProjector(pool *pgxpool.Pool, log Log, cfg ProjectorConfig) *Projector {
	return &Projector{pool: pool, log: log, cfg: cfg, sql: newStatements(liveVersion)}
}

// Run projects until ctx ends, and then returns ctx's error. A standby waits inside; Postgres or a broker that is away
// is waited for. It gives up with [ErrFenced] when somebody else moves the checkpoint although this one leads, and with
// [ErrOtherStream] when the log is not the one that the rows were made from.
func (p *Projector) Run(ctx context.Context) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = minPause, maxPause
	for {
		t := term{projector: p, again: make(chan struct{}, 1)}
		err := t.lead(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrFenced), errors.Is(err, ErrOtherStream):
			return err
		}
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

// connect opens the connection that leads. The lock and every page are on this one connection: who loses it loses both.
func (p *Projector) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, p.pool.Config().ConnConfig.Copy())
	if err != nil {
		return nil, fmt.Errorf("connect to Postgres: %w", err)
	}
	for _, setting := range []string{
		// A crash of Postgres may lose the last pages, but then their checkpoints with them: they are folded again.
		"set synchronous_commit = off",
		// Every statement looks a page's rows up by key. The planner must not come to another mind while the tables are
		// small or their statistics old: the plan is kept when they have grown.
		"set enable_seqscan = off", "set enable_hashjoin = off", "set enable_mergejoin = off", "set jit = off",
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

// waitForLead returns when conn holds the lock of the version.
func (p *Projector) waitForLead(ctx context.Context, conn *pgx.Conn) error {
	for {
		var leads bool
		if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1, $2)", lockClass, liveVersion).Scan(&leads); err != nil {
			return fmt.Errorf("ask for the lead: %w", err)
		}
		if leads {
			return nil
		}
		select {
		case <-time.After(standbyInterval):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// begin returns the checkpoint, made when there is none, after checking that it is one of the stream in use.
func (p *Projector) begin(ctx context.Context, conn *pgx.Conn) (checkpoint, error) {
	identity, err := p.cfg.Identity(ctx)
	if err != nil {
		return checkpoint{}, err
	}
	const insert = `insert into public.checkpoints (projection, version, seq, stream_identity) values ($1, $2, 0, $3) on conflict do nothing`
	if _, err := conn.Exec(ctx, insert, projection, liveVersion, identity); err != nil {
		return checkpoint{}, fmt.Errorf("make the checkpoint: %w", err)
	}
	c := checkpoint{version: liveVersion}
	var seq int64
	const read = `select seq, stream_identity from public.checkpoints where projection = $1 and version = $2`
	if err := conn.QueryRow(ctx, read, projection, liveVersion).Scan(&seq, &c.identity); err != nil {
		return checkpoint{}, fmt.Errorf("read the checkpoint: %w", err)
	}
	c.seq = fromBigint(seq)
	return c, c.check(identity)
}

// check refuses a stream with another identity: its sequences say nothing about these rows.
func (c checkpoint) check(identity string) error {
	if identity == c.identity {
		return nil
	}
	return fmt.Errorf("the rows stand at event %d of stream %s, the log is stream %s: %w", c.seq, c.identity, identity, ErrOtherStream)
}

package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

const (
	// pulseInterval is how often a projector gives a sign of life.
	pulseInterval = 200 * time.Millisecond
	// pulseTimeout is how long the log may take to answer for one.
	pulseTimeout = 500 * time.Millisecond
	// silence is how long a leader may give none before a standby that does ends its connection.
	silence = time.Second
	// pulseName and the process id of the connection that has or wants the lead are the name of the one with its signs of life.
	pulseName = "kondate pulse "
)

// sqlEndSilent ends the connection of a leader whose pulse was last heard too long ago. Postgres rolls back what it was
// writing and gives the lock free. Who holds the lock and has no pulse is no projector, or an older one: it is let alone.
const sqlEndSilent = `select l.pid, pg_terminate_backend(l.pid) from pg_locks l
join pg_stat_activity a on a.application_name = $3 || l.pid
where l.locktype = 'advisory' and l.database = (select oid from pg_database where datname = current_database())
  and l.classid = $1::bigint::oid and l.objid = $2::bigint::oid and l.objsubid = 2 and l.granted
  and a.state_change < clock_timestamp() - make_interval(secs => $4)`

// pulse shows that a projector is alive and reaches the log. A process that is stopped, or cut off from Postgres or from
// the log, would otherwise keep the lead for as long as TCP keeps its connection: for ever, or at least for seconds. It has a
// connection of its own, for a page may take longer than a leader may be silent.
type pulse struct {
	conn  *pgx.Conn
	log   Log
	beats atomic.Int64 // without one missing
}

// withPulse runs work while conn, which has or wants the lead, has a pulse.
func withPulse(ctx context.Context, p *Projector, conn *pgx.Conn, work func(context.Context, *pulse) error) (err error) {
	b := &pulse{log: p.log}
	if b.conn, err = connect(ctx, p.pool); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disconnect(ctx, b.conn)) }()
	var pid int
	if err := conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid); err != nil {
		return fmt.Errorf("name the pulse: %w", err)
	}
	if _, err := b.conn.Exec(ctx, "select set_config('application_name', $1, false)", pulseName+strconv.Itoa(pid)); err != nil {
		return fmt.Errorf("name the pulse: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.run(ctx) })
	g.Go(func() error { return work(ctx, b) })
	return g.Wait()
}

// run beats until ctx ends or Postgres is lost.
func (b *pulse) run(ctx context.Context) error {
	tick := time.NewTicker(pulseInterval)
	defer tick.Stop()
	for {
		if b.logAnswers(ctx) {
			beatCtx, cancel := context.WithTimeout(ctx, pageTimeout)
			_, err := b.conn.Exec(beatCtx, "select 1")
			cancel()
			if err != nil {
				return fmt.Errorf("give a sign of life: %w", err)
			}
			b.beats.Add(1)
		} else {
			b.beats.Store(0)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (b *pulse) logAnswers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, pulseTimeout)
	defer cancel()
	_, err := b.log.Last(ctx)
	return err == nil
}

// endSilent ends the connection of a silent leader, if this projector has not been silent itself: when the log is away
// from everybody, another leader would not do better.
func (b *pulse) endSilent(ctx context.Context, conn *pgx.Conn, log *slog.Logger) error {
	if time.Duration(b.beats.Load())*pulseInterval < silence {
		return nil
	}
	var pid int
	var ended bool
	err := conn.QueryRow(ctx, sqlEndSilent, lockClass, lockLead, pulseName, silence.Seconds()).Scan(&pid, &ended)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a silent leader: %w", err)
	}
	log.LogAttrs(ctx, slog.LevelWarn, "the projector that leads is silent, its connection was ended", slog.Int("postgres_pid", pid), slog.Bool("ended", ended))
	return nil
}

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
	// missed is the time between two signs of life from which on one is missing between them.
	missed = 3 * pulseInterval
	// silence is how long a leader may give none before a standby that does ends its connection.
	silence = time.Second
	// pulseName and the process id of the connection that has or wants the lead are the name of the one with its signs of life.
	pulseName = "kondate pulse "
)

// sqlEndSilent ends the connection of a leader that was not heard when this projector was, all the time. Postgres rolls
// back what it was writing and gives the lock free. Who holds the lock and has no pulse is no projector, or an older one: it
// is let alone.
const sqlEndSilent = `select l.pid, pg_terminate_backend(l.pid) ` + sqlLeadLock + `
and exists (select from pg_stat_activity a where a.application_name = $3 || l.pid and a.state_change < $4::timestamptz - make_interval(secs => $5))
and clock_timestamp() - $4 < make_interval(secs => $6)`

// pulse shows that a projector is alive and reaches the log. A process that is stopped, or cut off from Postgres or from
// the log, would otherwise keep the lead for as long as TCP keeps its connection: for ever, or at least for seconds. It has a
// connection of its own, for a page may take longer than a leader may be silent.
type pulse struct {
	conn *pgx.Conn
	log  Log
	run  atomic.Pointer[beats] // the newest; nil: none yet
}

// beats are signs of life of which none was missing, by the clock of Postgres.
type beats struct{ first, last time.Time }

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
	g.Go(func() error { return b.beat(ctx) })
	g.Go(func() error { return work(ctx, b) })
	return g.Wait()
}

// beat beats until ctx ends or Postgres is lost.
func (b *pulse) beat(ctx context.Context) error {
	tick := time.NewTicker(pulseInterval)
	defer tick.Stop()
	for {
		if b.logAnswers(ctx) {
			if err := b.once(ctx); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (b *pulse) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	var now beats
	if err := b.conn.QueryRow(ctx, "select clock_timestamp()").Scan(&now.last); err != nil {
		return fmt.Errorf("give a sign of life: %w", err)
	}
	now.first = now.last
	if before := b.run.Load(); before != nil && now.last.Sub(before.last) < missed {
		now.first = before.first
	}
	b.run.Store(&now)
	return nil
}

func (b *pulse) logAnswers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, pulseTimeout)
	defer cancel()
	_, err := b.log.Last(ctx)
	return err == nil
}

// endSilent ends the connection of a silent leader, if this projector was not silent itself: when the log is away from
// everybody, or the whole machine stood still, another leader would not do better.
func (b *pulse) endSilent(ctx context.Context, conn *pgx.Conn, log *slog.Logger) error {
	own := b.run.Load()
	if own == nil || own.last.Sub(own.first) < silence {
		return nil
	}
	var pid int
	var ended bool
	err := conn.QueryRow(ctx, sqlEndSilent, lockClass, lockLead, pulseName, own.last, silence.Seconds(), missed.Seconds()).Scan(&pid, &ended)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a silent leader: %w", err)
	}
	log.LogAttrs(ctx, slog.LevelWarn, "the projector that leads is silent, its connection was ended", slog.Int("postgres_pid", pid), slog.Bool("ended", ended))
	return nil
}

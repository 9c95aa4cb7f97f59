package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/dustin/go-humanize/english"

	"kondate/eventstore"
	"kondate/projections"
	"kondate/streams"
)

const (
	// postgresOldest is the oldest version that all is tested with.
	postgresOldest = 15
	// lagWarning is how many events the rows may be behind; a projector at work is closer than that within a second.
	lagWarning = 5000
)

// checkDatabase looks at Postgres, at the rows, and at who writes them.
func (d *doctor) checkDatabase(ctx context.Context, a *app) {
	a.databaseURL = d.cfg.Database.URL
	if a.databaseURL == "" {
		a.databaseURL = d.found.DatabaseURL
	}
	if a.databaseURL == "" {
		d.add(levelWarning, "postgres", "start kondate serve and look again", "the private server does not run")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	a.cfg.Database.PoolTimeout = min(a.cfg.Database.PoolTimeout, databaseTimeout)
	err := a.openPool(ctx)
	if err == nil {
		err = a.pool.Ping(ctx)
	}
	if err != nil {
		d.add(levelProblem, "postgres", "start it, or correct database.url", "%v", err)
		return
	}
	if err := d.checkServer(ctx, a); err != nil {
		d.add(levelProblem, "postgres", "look again", "%v", err)
		return
	}
	d.checkProjection(ctx, a)
}

// checkServer looks at the settings of the server.
func (d *doctor) checkServer(ctx context.Context, a *app) error {
	conn, err := a.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	defer conn.Release()
	if secure, ok := conn.Conn().PgConn().Conn().(*tls.Conn); ok {
		if peers := secure.ConnectionState().PeerCertificates; len(peers) > 0 {
			d.checkCertificate("postgres.certificate", peers[0])
		}
	}
	var (
		version, most, reserved, used int
		text, fsync, commit           string
		pages, vacuum                 string
		now                           time.Time
	)
	asked := d.now()
	const sql = `select current_setting('server_version_num')::int / 10000, current_setting('server_version'), current_setting('fsync'),
		current_setting('synchronous_commit'), current_setting('full_page_writes'), current_setting('autovacuum'),
		current_setting('max_connections')::int, current_setting('superuser_reserved_connections')::int + coalesce(current_setting('reserved_connections', true), '0')::int,
		(select count(*) from pg_stat_activity where backend_type = 'client backend'), clock_timestamp()`
	if err := conn.QueryRow(ctx, sql).Scan(&version, &text, &fsync, &commit, &pages, &vacuum, &most, &reserved, &used, &now); err != nil {
		return fmt.Errorf("read the settings of Postgres: %w", err)
	}
	d.checkClock("postgres.clock", asked, now)
	d.expect(version >= postgresOldest, levelProblem, "postgres.version", fmt.Sprintf("upgrade to %d or newer", postgresOldest), "%s", text)
	d.expect(fsync == "on", levelProblem, "postgres.fsync", "set fsync to on: after a crash a server without it can hold anything", "%s", fsync)
	d.expect(pages == "on", levelProblem, "postgres.full_page_writes", "set full_page_writes to on: a page that was half written at a power cut stays broken", "%s", pages)
	d.expect(commit != "off", levelWarning, "postgres.synchronous_commit", "set synchronous_commit to on: reservations of dish ids can be lost with the power (rows cannot, they are folded again)", "%s", commit)
	d.expect(vacuum == "on", levelWarning, "postgres.autovacuum", "set autovacuum to on: rows are updated often, and their tables grow without it", "%s", vacuum)
	pools := d.processes * (d.cfg.Database.PoolSize + d.cfg.Database.MaxOverflow)
	d.expect(pools <= most-reserved, levelProblem, "postgres.connections",
		"raise max_connections, or lower database.pool_size and database.max_overflow", "%d of %s may be opened, the server takes %d (%d are open)",
		pools, english.Plural(d.processes, "process", "processes"), most-reserved, used)
	return nil
}

// checkProjection compares the rows with the log.
func (d *doctor) checkProjection(ctx context.Context, a *app) {
	const lead = "start kondate serve --roles projector; if one runs, its log says why it does not lead"
	versions, err := projections.Versions(ctx, a.pool)
	if err != nil {
		d.add(levelWarning, "projection", "start kondate serve, which makes the tables", "there are no rows to look at: %v", err)
		return
	}
	led, err := projections.Led(ctx, a.pool)
	if err != nil {
		d.add(levelWarning, "projection.projector", "look again", "%v", err)
	} else {
		found := "one leads"
		if !led {
			found = "none leads: no row is written, no session completes"
		}
		d.expect(led, levelProblem, "projection.projector", lead, "%s", found)
	}
	for _, v := range versions {
		if v.State == projections.VersionLive {
			d.checkLag(ctx, a, v)
		}
	}
	d.checkParked(ctx, a)
}

func (d *doctor) checkLag(ctx context.Context, a *app, live projections.Version) {
	if a.js == nil { // the broker is away, which was said
		return
	}
	identity, err := streams.Identity(ctx, a.js)
	var store *eventstore.JetStream
	if err == nil {
		store, _, err = a.openStore("doctor")
	}
	if err != nil {
		d.add(levelWarning, "projection.log", "look again", "%v", err)
		return
	}
	if err := projections.CheckLog(ctx, a.pool, identity, store); err != nil {
		d.add(levelProblem, "projection.log", "follow what it says; docs/projections.md explains it", "%v", err)
		return
	}
	last, err := store.Last(ctx)
	if err != nil {
		d.add(levelWarning, "projection.lag", "look again", "%v", err)
		return
	}
	d.ok("projection.log", "the rows were made from this log, %s", identity)
	behind := last - min(live.Seq, last)
	d.expect(behind < lagWarning, levelWarning, "projection.lag", "look whether it shrinks; the runbook ProjectorLags says what to do if it does not",
		"version %d stands at event %d, %s behind", live.Version, live.Seq, english.Plural(int(behind), "event", "")) //nolint:gosec // a difference of sequences
}

func (d *doctor) checkParked(ctx context.Context, a *app) {
	parked, err := projections.NewQueries(a.pool).Parked(ctx)
	if err != nil {
		d.add(levelWarning, "parked", "look again", "%v", err)
		return
	}
	var lines []string
	for _, p := range parked {
		lines = append(lines, fmt.Sprintf("%s for %s (%s, oldest %s)", english.Plural(p.Dishes, "dish", "dishes"), p.Stage, p.Reason, time.Since(p.Oldest).Round(time.Second)))
	}
	d.expect(len(lines) == 0, levelWarning, "parked", "kondate failures list shows them, kondate failures retry takes them back to work", "%s", orNone(lines))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/httpapi"
	"kondate/handlers/stage"
	"kondate/projections"
	"kondate/streams"
)

// The roles of a process.
const (
	roleAPI       = "api"
	roleStages    = "stages"
	roleProjector = "projector"
)

func allRoles() []string { return []string{roleAPI, roleStages, roleProjector} }

// stopTimeout bounds the orderly stop: what is not down by then is left to the next start.
const stopTimeout = 9 * time.Second

type serveCommand struct {
	Config `embed:""`

	Log   LogConfig `embed:"" prefix:"log-"`
	Roles []string  `default:"api,stages,projector" enum:"api,stages,projector" help:"What this process does: api, stages, projector."`
}

// Help is shown below the flags.
func (serveCommand) Help() string {
	return "Example: kondate serve --http-addr 127.0.0.1:8080 --nats-listen 127.0.0.1:4222"
}

// Run serves until a signal comes.
func (c serveCommand) Run(ctx context.Context, env environment) error {
	return c.serve(ctx, env, nil)
}

// serve serves with some providers instead of the configured ones (nil).
func (c serveCommand) serve(ctx context.Context, env environment, providers map[menu.Stage]stage.Provider) error {
	a := &app{cfg: c.Config, log: c.Log.logger(env.stderr), providers: providers}
	return a.serve(ctx, c.Roles, func(r running) {
		fmt.Fprintf(env.stdout, "kondate is ready: %s\n%s\n", r.HTTPURL, r.Durability)
	})
}

// running says how to reach what is running.
type running struct {
	connection

	Psql       string // the line that opens psql on the rows
	Durability string // the guarantee in force, in a sentence
}

// serve opens the broker and the database, runs the roles' parts until ctx ends, and stops everything in order: no new
// requests, streams told to come back, stages handed back, projector, pool, database, broker.
func (a *app) serve(ctx context.Context, roles []string, ready func(running)) (err error) {
	if err := prepareDataDir(a.cfg.DataDir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.stop(ctx)) }()
	if err := a.openTracing(ctx); err != nil {
		return err
	}
	if err := a.openLog(ctx); err != nil {
		return err
	}
	if err := a.openDatabase(ctx); err != nil {
		return err
	}
	if err := a.checkLog(ctx); err != nil {
		return err
	}
	if err := a.openMetrics(roles); err != nil {
		return err
	}
	a.checks = []httpapi.Check{{Name: "log", Look: a.checkLogState}, httpapi.Answers("postgres", a.pool.Ping)}
	var parts []part
	if a.private != nil {
		parts = append(parts, a.database())
	}
	if a.broker != nil {
		socket, err := a.natsSocket(ctx)
		if err != nil {
			return err
		}
		parts = append(parts, part{"nats", a.broker.Watch}, socket)
		if a.broker.Seed() != "" {
			parts = append(parts, a.followUsers())
		}
	}
	if slices.Contains(roles, roleProjector) {
		projector, err := a.projector()
		if err != nil {
			return err
		}
		parts = append(parts, projector)
	}
	if slices.Contains(roles, roleStages) {
		stages, err := a.stages()
		if err != nil {
			return err
		}
		pictures, err := a.pictures()
		if err != nil {
			return err
		}
		parts = append(parts, stages, pictures)
	}
	r := running{Psql: a.psql, Durability: a.durability}
	r.connection = connection{PID: os.Getpid(), DatabaseURL: a.databaseURL}
	a.describeNATS(&r.connection)
	web, url, err := a.openHTTP(ctx, roles)
	if err != nil {
		return err
	}
	parts = append(parts, web...)
	r.HTTPURL, r.AuthMode, r.Key, r.TLSCert = url, a.cfg.Auth.Mode, a.localKey, a.cfg.HTTP.TLSCert
	if r.AuthMode == authKeys {
		r.KeysFile = keysPath(a.cfg.Auth, a.cfg.DataDir)
	}
	if err := r.write(a.cfg.DataDir); err != nil {
		return err
	}
	defer os.Remove(connectionFile(a.cfg.DataDir)) //nolint:errcheck // a file that stays names a process that is gone
	ready(r)
	return runParts(ctx, a.log, parts)
}

// checkLog refuses a log that does not go with the rows, before anything is appended to it.
func (a *app) checkLog(ctx context.Context) error {
	identity, err := streams.Identity(ctx, a.js)
	if err != nil {
		return err
	}
	return projections.CheckLog(ctx, a.pool, identity, eventstore.NewJetStream(a.js, eventstore.Config{Logger: a.log}))
}

func prepareDataDir(dir string) error {
	// Others may pass through, for Postgres runs as an unprivileged user when the caller is root; they may not look inside.
	if err := os.MkdirAll(dir, 0o711); err != nil { //nolint:gosec // see above
		return fmt.Errorf("make the data dir: %w", err)
	}
	return nil
}

// freeAddress returns addr if it can be bound, else the same host with a port that the system picks.
func freeAddress(ctx context.Context, addr string) string {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		if host, _, err := net.SplitHostPort(addr); err == nil {
			return net.JoinHostPort(host, "0")
		}
		return addr
	}
	_ = l.Close() // it was bound only to see whether it can be
	return addr
}

func (a *app) dir(name string) string { return filepath.Join(a.cfg.DataDir, name) }

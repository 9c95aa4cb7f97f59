package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/projections"
	"kondate/projections/pgtest"
	"kondate/projections/postgres"
	"kondate/streams"
	"kondate/streams/natstest"
)

// Two processes project, one of them works. It is killed under load, three times: the other one takes over, nothing is
// lost, nothing is written twice. The time that it took is logged (-v).
func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	broker := natstest.NewWith(t, streams.ServerConfig{Listen: "127.0.0.1:0"})
	db, err := postgres.Start(t.Context(), postgres.Config{Dir: pgtest.Dir(t), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Stop(context.WithoutCancel(t.Context())) })
	projector := func() *process {
		return startProcess(t, pgtest.Dir(t), "--roles", "projector", "--nats-url", broker.URL(), "--database-url", db.URL())
	}
	leader, standby := projector(), projector()
	pool, err := pgxpool.New(t.Context(), db.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	queries := projections.NewQueries(pool)
	js := broker.JetStream()
	store := eventstore.NewJetStream(js, eventstore.Config{Logger: slog.New(slog.DiscardHandler)})

	load, stop := context.WithCancel(t.Context())
	var writer errgroup.Group
	writer.Go(func() error { return writeSessions(load, store) })
	for range 3 {
		if !strings.Contains(leader.log.String(), "projector leads") {
			leader, standby = standby, leader
		}
		reach(t, queries, 1)
		leader.kill()
		killed := time.Now()
		at, err := queries.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		reach(t, queries, 1)
		t.Logf("killed at event %d, the standby was past it after %s", at, time.Since(killed).Round(time.Millisecond))
		leader, standby = standby, projector()
	}
	stop()
	if err := writer.Wait(); err != nil {
		t.Fatal(err)
	}
	last, err := store.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := queries.WaitFor(ctx, last); err != nil {
		t.Fatal(err)
	}
	report, err := projections.NewOperations(pool, store, projections.ProjectorConfig{
		Identity: func(ctx context.Context) (string, error) { return streams.Identity(ctx, js) }, Logger: slog.New(slog.DiscardHandler),
	}).Verify(t.Context(), nil)
	if err != nil || report.Different > 0 {
		t.Fatalf("%+v, %v", report, err)
	}
}

// reach waits until the rows are more events further than now.
func reach(t *testing.T, queries *projections.Queries, more uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	at, err := queries.Checkpoint(ctx)
	if err == nil {
		err = queries.WaitFor(ctx, at+more)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// writeSessions appends one answered session after the other until ctx ends.
func writeSessions(ctx context.Context, store *eventstore.JetStream) error {
	for i := 0; ctx.Err() == nil; i++ {
		key := menutest.Key(fmt.Sprintf("s%d", i))
		items := menutest.Items(string(key.Session), 3)
		propose := func(e menu.Event) eventstore.Proposed { return eventstore.Proposed{Event: e, Time: menutest.Start()} }
		if _, err := store.AppendMenu(ctx, key, 0, propose(menutest.Submitted(items))); err != nil && ctx.Err() == nil {
			return err
		}
		for _, stage := range menu.Stages() {
			if _, err := store.Append(ctx, key, propose(menutest.Completed(stage, menutest.IDs(items)...))); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
	return nil
}

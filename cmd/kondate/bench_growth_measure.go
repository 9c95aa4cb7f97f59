package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/cmd/kondate/bench"
	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/sse/load"
	"kondate/streams"
)

// growth is what everything takes at one size, and what the step to it took.
type growth struct {
	Dishes int   `json:"dishes"`
	Menus  int   `json:"menus"`
	Added  int   `json:"added_dishes"` // by the step
	Step   spent `json:"step"`

	Before stored `json:"before"` // the step
	After  stored `json:"after"`

	ServerResident int         `json:"server_resident_bytes"` // of the program with its broker, at work
	Broker         brokerAlone `json:"broker_alone"`          // started again
	RestartSeconds float64     `json:"restart_seconds"`       // of the program, until it is ready

	AppendMS  float64 `json:"append_ms"`                // of one stage's results of a menu
	GuardedMS float64 `json:"guarded_append_ms"`        // of a submission
	StreamMS  float64 `json:"stream_of_old_session_ms"` // over SSE, out of history
	LoadMS    float64 `json:"load_of_old_session_ms"`   // out of the log

	RebuildSeconds float64 `json:"rebuild_seconds"`
	VerifySeconds  float64 `json:"verify_seconds"`
}

// stored is what there is at a moment.
type stored struct {
	Messages  uint64           `json:"messages"`
	Subjects  uint64           `json:"subjects"`
	Consumers int              `json:"consumers"`
	LogBytes  uint64           `json:"log_bytes"`      // as nats.max_bytes counts them
	LogDisk   int64            `json:"log_disk_bytes"` // as they are compressed, with the broker's own files beside
	Tables    map[string]table `json:"tables"`
}

// table is what a table takes with its partitions.
type table struct {
	Bytes   int64 `json:"bytes"` // with what is stored out of line
	Indexes int64 `json:"index_bytes"`
}

// step adds menus and measures what there is then.
func (g *grown) step(ctx context.Context, menus, size int) (s growth, err error) {
	dishes := g.dishes
	if s.Before, err = g.stored(ctx); err != nil {
		return s, err
	}
	if s.Step, err = g.submit(ctx, menus, size); err != nil {
		return s, err
	}
	s.Dishes, s.Menus, s.Added, s.ServerResident = g.dishes, g.menus, g.dishes-dishes, load.Resident(g.PID)
	if s.After, err = g.stored(ctx); err != nil {
		return s, err
	}
	for _, measure := range []func(context.Context, *growth) error{g.restart, g.read, g.append, g.remake} {
		if err := measure(ctx, &s); err != nil {
			return s, err
		}
	}
	return s, nil
}

// stored looks at the log and at the tables that the projector writes.
func (g *grown) stored(ctx context.Context) (s stored, err error) {
	stream, err := g.log.js.Stream(ctx, streams.EventStream)
	if err != nil {
		return s, fmt.Errorf("read the state of stream %s: %w", streams.EventStream, err)
	}
	state := stream.CachedInfo().State
	s.Messages, s.Subjects, s.Consumers, s.LogBytes = state.Msgs, state.NumSubjects, state.Consumers, state.Bytes
	if s.LogDisk, err = sizeOf(filepath.Join(g.data(), "nats")); err != nil {
		return s, err
	}
	db, err := pgx.Connect(ctx, g.conn.DatabaseURL)
	if err != nil {
		return s, fmt.Errorf("connect to Postgres: %w", err)
	}
	defer db.Close(ctx) //nolint:errcheck // it was only read
	// A partition counts for its table. Of the versions of the rows only the live one counts: a rebuild leaves another one behind.
	rows, err := db.Query(ctx, `select regexp_replace(c.relname, '_p?[0-9]+$', ''), sum(pg_table_size(c.oid))::bigint, sum(pg_indexes_size(c.oid))::bigint
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind = 'r' and n.nspname in (select 'public' union select 'v' || version from public.versions where state = 'live')
		group by 1`)
	if err != nil {
		return s, fmt.Errorf("measure the tables: %w", err)
	}
	s.Tables = map[string]table{}
	var name string
	var t table
	if _, err := pgx.ForEachRow(rows, []any{&name, &t.Bytes, &t.Indexes}, func() error { s.Tables[name] = t; return nil }); err != nil {
		return s, fmt.Errorf("measure the tables: %w", err)
	}
	return s, nil
}

// sizeOf returns what the files below a folder take. One that goes meanwhile counts nothing.
func sizeOf(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = entry.Info(); err == nil {
				bytes += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("measure a folder: %w", err)
	}
	return bytes, nil
}

// restart starts everything again, and before that the broker alone.
func (g *grown) restart(ctx context.Context, s *growth) error {
	g.closeLog(ctx)
	own := g.own
	g.own = nil
	if err := own.stop(); err != nil {
		return err
	}
	alone, line, err := spawn(ctx, "{", "bench", "broker", "--data-dir="+g.data(), "--nats-sync="+g.sync)
	if err != nil {
		return err
	}
	if err := alone.stop(); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(line), &s.Broker); err != nil {
		return fmt.Errorf("read what the broker takes: %w", err)
	}
	began := time.Now()
	if err := g.serve(ctx); err != nil {
		return err
	}
	s.RestartSeconds = time.Since(began).Seconds()
	return nil
}

// probes is how often something short is timed.
const probes = 20

// timed does something several times and returns the median in milliseconds.
func timed(do func(i int) error) (float64, error) {
	return inTurn(probes, func(i int) (time.Duration, error) {
		began := time.Now()
		err := do(i)
		return time.Since(began), err
	})
}

func (g *grown) store() *eventstore.JetStream {
	return eventstore.NewJetStream(g.log.js, eventstore.Config{Logger: slog.New(slog.DiscardHandler)})
}

// read times the stream and the load of the oldest session.
func (g *grown) read(ctx context.Context, s *growth) (err error) {
	cl, store := g.client(), g.store()
	s.StreamMS, err = timed(func(int) error { return readStream(ctx, cl, g.stream, func(frame) error { return nil }) })
	if err != nil {
		return err
	}
	key := menu.Key{Tenant: menu.DefaultTenant, Session: menu.SessionID(g.session)}
	s.LoadMS, err = timed(func(int) error { _, err := store.Load(ctx, key); return err })
	return err
}

// append times appends to sessions of their own, without dishes, so that nobody works on them.
func (g *grown) append(ctx context.Context, s *growth) (err error) {
	store := g.store()
	key := func(i int) menu.Key {
		return menu.Key{Tenant: menu.DefaultTenant, Session: menu.SessionID(fmt.Sprintf("probe-%d-%d", s.Dishes, i))}
	}
	s.GuardedMS, err = timed(func(i int) error {
		_, err := store.AppendMenu(ctx, key(i), 0, bench.Empty())
		return err
	})
	if err != nil {
		return err
	}
	s.AppendMS, err = timed(func(i int) error {
		_, err := store.Append(ctx, key(i), bench.Answer(key(i)))
		return err
	})
	return err
}

// remake times a rebuild and a verification, as an operator runs them beside the server.
func (g *grown) remake(ctx context.Context, s *growth) (err error) {
	if s.RebuildSeconds, err = g.kondate(ctx, "projections", "rebuild"); err == nil {
		s.VerifySeconds, err = g.kondate(ctx, "projections", "verify")
	}
	return err
}

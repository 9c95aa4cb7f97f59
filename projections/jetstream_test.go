package projections_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/projections"
	"kondate/projections/pgtest"
	"kondate/projections/postgres"
	"kondate/streams"
	"kondate/streams/natstest"
)

// realLog returns the log on a broker, and the settings of a projector on it.
func realLog(broker *natstest.Server) (*eventstore.JetStream, jetstream.JetStream, projections.ProjectorConfig) {
	js := broker.JetStream()
	cfg := config()
	cfg.Identity = func(ctx context.Context) (string, error) { return streams.Identity(ctx, js) }
	return eventstore.NewJetStream(js, eventstore.Config{Logger: slog.New(slog.DiscardHandler)}), js, cfg
}

// runSession appends a session of n dishes with all its answers.
func runSession(f *fixture, log *eventstore.JetStream, key menu.Key, n int) {
	f.Helper()
	items := menutest.Items(string(key.Session), n)
	if _, err := log.AppendMenu(f.Context(), key, 0, propose(menutest.Submitted(items))...); err != nil {
		f.Fatal(err)
	}
	for _, stage := range menu.Stages() {
		if _, err := log.Append(f.Context(), key, propose(menutest.Completed(stage, menutest.IDs(items)...))...); err != nil {
			f.Fatal(err)
		}
	}
}

func TestRealLog(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	broker := natstest.New(t)
	log, _, cfg := realLog(broker)
	f.project(log, cfg)
	const sessions = 20
	key := func(i int) menu.Key { return menutest.Key(fmt.Sprintf("s%d", i)) }
	for i := range sessions {
		runSession(f, log, key(i), 5)
		if i == sessions/2 {
			broker.Restart()
		}
	}
	for i := range sessions {
		f.completed(log, key(i), 1)
	}
	for i := range sessions {
		f.equalsFold(log, key(i))
	}
	if n := f.count("select count(*) from public.history"); uint64(n) != f.last(log) {
		t.Fatalf("history has %d rows, the log ends at %d", n, f.last(log))
	}
}

// A stream that is made anew under a running projector, or between two of them, is refused and not projected.
func TestRecreatedStreamIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	broker := natstest.New(t)
	log, js, cfg := realLog(broker)
	ended := make(chan error, 1)
	go func() { ended <- projections.NewProjector(f.pool, log, cfg).Run(t.Context()) }()
	runSession(f, log, menutest.Key("s1"), 1)
	f.completed(log, menutest.Key("s1"), 1)
	f.waitFor(f.last(log))
	at := f.last(log)
	if err := js.DeleteStream(t.Context(), streams.EventStream); err != nil {
		t.Fatal(err)
	}
	if err := streams.Ensure(t.Context(), js, broker.Topology()); err != nil {
		t.Fatal(err)
	}
	for i := range 5 { // past the checkpoint: the new stream does not look shorter
		runSession(f, log, menutest.Key(fmt.Sprintf("new%d", i)), 1)
	}
	if err := <-ended; !errors.Is(err, projections.ErrOtherStream) {
		t.Fatalf("Run = %v, want ErrOtherStream", err)
	}
	if err := f.ends(log, cfg); !errors.Is(err, projections.ErrOtherStream) {
		t.Fatalf("the second Run = %v, want ErrOtherStream", err)
	}
	if got, err := f.queries.Checkpoint(t.Context()); err != nil || got != at {
		t.Fatalf("checkpoint = %d, %v; want %d", got, err, at)
	}
	if n := f.count("select count(*) from public.sessions"); n != 1 {
		t.Fatalf("%d sessions, want the one of the old stream", n)
	}
}

// Postgres is stopped and started in the middle, killed hard the second time.
func TestPostgresRestarts(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	start := func() *postgres.Server {
		server, err := postgres.Start(t.Context(), postgres.Config{Dir: dir, NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		return server
	}
	server := start()
	t.Cleanup(func() { _ = server.Stop(context.WithoutCancel(t.Context())) })
	if err := projections.Migrate(t.Context(), server.URL()); err != nil {
		t.Fatal(err)
	}
	pool := newPool(t, server.URL())
	f := &fixture{TB: t, pool: pool, log: eventstore.NewMemory(0), queries: projections.NewQueries(pool)}
	f.project(f.log, config())
	const sessions = 30
	for i := range sessions {
		key := menutest.Key(fmt.Sprintf("s%d", i))
		f.answer(key, f.submit(key, 5))
		switch i {
		case sessions / 3:
			f.completed(f.log, menutest.Key("s0"), 1)
			if err := server.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
		case 2 * sessions / 3:
			server = start()
			f.completed(f.log, key, 1)
			// An immediate shutdown: the next start recovers, as after a crash.
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if err := server.Stop(ended); err == nil {
				t.Log("the server stopped in order before it could be ended at once")
			}
			server = start()
		}
	}
	for i := range sessions {
		f.completed(f.log, menutest.Key(fmt.Sprintf("s%d", i)), 1)
	}
	for i := range sessions {
		f.equalsFold(f.log, menutest.Key(fmt.Sprintf("s%d", i)))
	}
	f.holdsWholeLog()
}

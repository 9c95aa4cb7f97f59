package projections_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/projections"
	"kondate/projections/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// patience bounds every wait of a test.
const patience = 30 * time.Second

// store is what the tests need of a log; *eventstore.Memory and *eventstore.JetStream are ones.
type store interface {
	projections.Log
	Append(ctx context.Context, key menu.Key, events ...eventstore.Proposed) (eventstore.Receipt, error)
	Load(ctx context.Context, key menu.Key) ([]eventstore.Entry, error)
	Last(ctx context.Context) (uint64, error)
	LastOf(ctx context.Context, key menu.Key) (uint64, error)
}

// fixture is one test's database and log.
type fixture struct {
	testing.TB

	pool    *pgxpool.Pool
	log     *eventstore.Memory
	queries *projections.Queries
}

// newFixture returns a migrated database and an empty log, and no projector.
func newFixture(tb testing.TB) *fixture {
	tb.Helper()
	pool := newPool(tb, pgtest.New(tb, pgtest.WithTemplate("projections", projections.Migrate)))
	return &fixture{TB: tb, pool: pool, log: eventstore.NewMemory(0), queries: projections.NewQueries(pool)}
}

func newPool(tb testing.TB, url string) *pgxpool.Pool {
	tb.Helper()
	pool, err := pgxpool.New(tb.Context(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

const identity = "stream-1"

func config() projections.ProjectorConfig {
	return projections.ProjectorConfig{
		Identity: func(context.Context) (string, error) { return identity, nil },
		Logger:   slog.New(slog.DiscardHandler),
	}
}

// project runs a projector until the returned function is called, which returns what Run returned. The test ends it too.
func (f *fixture) project(log projections.Log, cfg projections.ProjectorConfig) (stop func() error) {
	f.Helper()
	ctx, cancel := context.WithCancel(f.Context())
	ended := make(chan error, 1)
	go func() { ended <- projections.NewProjector(f.pool, log, cfg).Run(ctx) }()
	stop = func() error {
		cancel()
		err, ok := <-ended
		if ok {
			close(ended)
		}
		return err
	}
	f.Cleanup(func() { _ = stop() })
	return stop
}

// ends waits for a projector to give up by itself.
func (f *fixture) ends(log projections.Log, cfg projections.ProjectorConfig) error {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), patience)
	defer cancel()
	err := projections.NewProjector(f.pool, log, cfg).Run(ctx)
	if ctx.Err() != nil {
		f.Fatalf("the projector did not give up: %v", err)
	}
	return err
}

func propose(events ...menu.Event) []eventstore.Proposed {
	proposed := make([]eventstore.Proposed, len(events))
	for i, e := range events {
		proposed[i] = eventstore.Proposed{Event: e, Time: menutest.Start()}
	}
	return proposed
}

// submit appends a submission of n dishes "<session>-0", … and returns them.
func (f *fixture) submit(key menu.Key, n int) []menu.Item {
	f.Helper()
	items := menutest.Items(string(key.Session), n)
	f.menuEvent(key, menutest.Submitted(items))
	return items
}

// menuEvent appends to the lane menu, whatever is there.
func (f *fixture) menuEvent(key menu.Key, event menu.Event) {
	f.Helper()
	for {
		_, err := f.log.AppendMenu(f.Context(), key, f.menuSeq(key), propose(event)...)
		if err == nil {
			return
		}
		if !errors.Is(err, eventstore.ErrConflict) {
			f.Fatal(err)
		}
	}
}

func (f *fixture) menuSeq(key menu.Key) uint64 {
	f.Helper()
	entries, err := f.log.LoadLane(f.Context(), key, menu.LaneMenu, 0)
	if err != nil {
		f.Fatal(err)
	}
	if len(entries) == 0 {
		return 0
	}
	return entries[len(entries)-1].Seq
}

// stageEvents appends to the lanes of stages.
func (f *fixture) stageEvents(key menu.Key, events ...menu.Event) uint64 {
	f.Helper()
	var seq uint64
	for _, e := range events {
		receipt, err := f.log.Append(f.Context(), key, propose(e)...)
		if err != nil {
			f.Fatal(err)
		}
		seq = receipt.Seq
	}
	return seq
}

// answer appends all eight answers for all dishes.
func (f *fixture) answer(key menu.Key, items []menu.Item) {
	f.Helper()
	for _, stage := range menu.Stages() {
		f.stageEvents(key, menutest.Completed(stage, menutest.IDs(items)...))
	}
}

func parked(stage menu.Stage, ids ...menu.DishID) menu.StageFailed {
	return menu.StageFailed{Stage: stage, IDs: ids, Attempts: 3, Reason: "timeout", Error: "no answer", Provider: "test"}
}

// settle waits until the rows reflect all of the fixture's log.
func (f *fixture) settle() {
	f.Helper()
	f.waitFor(f.last(f.log))
}

func (f *fixture) last(log store) uint64 {
	f.Helper()
	last, err := log.Last(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	return last
}

func (f *fixture) waitFor(seq uint64) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), patience)
	defer cancel()
	if err := f.queries.WaitFor(ctx, seq); err != nil {
		f.Fatal(err)
	}
}

// completed waits for the session's menu.completed of a round and returns it.
func (f *fixture) completed(log store, key menu.Key, round int) menu.Completed {
	f.Helper()
	var found menu.Completed
	f.eventually(fmt.Sprintf("menu.completed of round %d", round), func() bool {
		entries, err := log.Load(f.Context(), key)
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range entries {
			if c, ok := e.Event.(menu.Completed); ok && c.Round == round {
				found = c
				return true
			}
		}
		return false
	})
	return found
}

// eventually waits for something that sends no signal.
func (f *fixture) eventually(what string, happened func() bool) {
	f.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for !happened() {
		select {
		case <-tick.C:
		case <-late.C:
			f.Fatalf("waited in vain for %s", what)
		}
	}
}

func (f *fixture) exec(ctx context.Context, sql string) {
	f.Helper()
	if _, err := f.pool.Exec(ctx, sql); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) count(sql string, args ...any) int {
	f.Helper()
	var n int
	if err := f.pool.QueryRow(f.Context(), sql, args...).Scan(&n); err != nil {
		f.Fatal(err)
	}
	return n
}

func (f *fixture) rows(key menu.Key) []projections.MenuRow {
	f.Helper()
	rows, _, err := f.queries.Menus(f.Context(), key)
	if err != nil {
		f.Fatal(err)
	}
	return rows
}

func (f *fixture) session(key menu.Key) projections.SessionRow {
	f.Helper()
	row, err := f.queries.Session(f.Context(), key)
	if err != nil {
		f.Fatal(err)
	}
	return row
}

// sevenStages returns all stages but the last.
func sevenStages() []menu.Stage {
	stages := menu.Stages()
	return stages[:menu.StageCount-1]
}

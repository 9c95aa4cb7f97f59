package projections_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/projections"
)

// faulty is a log that misbehaves as a test wants.
type faulty struct {
	store

	follow     func(ctx context.Context, after uint64, fn func(context.Context, []eventstore.Entry) error) error
	appendMenu func(ctx context.Context, key menu.Key, expected uint64, events ...eventstore.Proposed) (eventstore.Receipt, error)
	erase      func() error
}

func (l faulty) Erase(ctx context.Context, key menu.Key, tombstone, through uint64) error {
	if l.erase == nil {
		return l.store.Erase(ctx, key, tombstone, through)
	}
	return l.erase()
}

func (l faulty) Follow(ctx context.Context, after uint64, fn func(context.Context, []eventstore.Entry) error) error {
	if l.follow == nil {
		return l.store.Follow(ctx, after, fn)
	}
	return l.follow(ctx, after, fn)
}

func (l faulty) AppendMenu(ctx context.Context, key menu.Key, expected uint64, events ...eventstore.Proposed) (eventstore.Receipt, error) {
	if l.appendMenu == nil {
		return l.store.AppendMenu(ctx, key, expected, events...)
	}
	return l.appendMenu(ctx, key, expected, events...)
}

func TestDeliveredTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	key := menutest.Key("s1")
	items := f.submit(key, 3)
	f.answer(key, items)
	f.project(faulty{store: f.log, follow: func(ctx context.Context, after uint64, fn func(context.Context, []eventstore.Entry) error) error {
		return f.log.Follow(ctx, after, func(ctx context.Context, page []eventstore.Entry) error {
			return errors.Join(fn(ctx, page), fn(ctx, page))
		})
	}}, config())
	f.completed(f.log, key, 1)
	// The log itself may hold an event twice: the broker knows an id for two minutes only.
	for _, e := range mustLoad(f, f.log, key) {
		f.log.Inject(&nats.Msg{Subject: "menu.evt.public.s1." + string(e.Type), Header: e.Header, Data: e.Data})
	}
	f.equalsFold(f.log, key)
	if got := f.session(key); got.Completed != 3 || got.Status != menu.SessionCompleted {
		t.Fatalf("session = %+v", got)
	}
	f.holdsWholeLog()
}

func mustLoad(f *fixture, log store, key menu.Key) []eventstore.Entry {
	f.Helper()
	entries, err := log.Load(f.Context(), key)
	if err != nil {
		f.Fatal(err)
	}
	return entries
}

// holdsWholeLog checks that history has each message of the log once.
func (f *fixture) holdsWholeLog() {
	f.Helper()
	f.eventually("what was erased to leave the log", func() bool {
		return f.count("select count(*) from public.erasures where purged < through") == 0
	})
	entries, err := f.log.Read(f.Context(), 0, math.MaxInt)
	if err != nil {
		f.Fatal(err)
	}
	if n := f.count("select count(*) from public.history"); n != len(entries) {
		f.Fatalf("history has %d rows, the log %d events", n, len(entries))
	}
}

func TestPartitionsAreMadeAhead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	entries := make([]eventstore.Entry, 0, 4)
	for _, seq := range []uint64{999_999, 1_000_000, 1_000_001, 7_500_000} {
		entries = append(entries, eventstore.Decode("menu.evt.public.s1.menu.expired", seq, menutest.Start(), nats.Header{}, nil))
	}
	f.project(faulty{store: f.log, follow: func(ctx context.Context, _ uint64, fn func(context.Context, []eventstore.Entry) error) error {
		for _, page := range [][]eventstore.Entry{entries[:1], entries[1:3], entries[3:]} {
			if err := fn(ctx, page); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}}, config())
	f.waitFor(7_500_000)
	if n := f.count("select count(*) from public.history"); n != 4 {
		t.Fatalf("history has %d rows, want 4", n)
	}
	if n := f.count("select count(*) from pg_class where relname = 'history_8'"); n != 1 {
		t.Fatal("the partition after the last event was not made ahead")
	}
}

// One of two projectors works. When its connection is cut, either goes on, and nothing is folded twice or left out.
func TestOneOfTwoProjectorsAdvances(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	f.project(f.log, config())
	const lead = `select count(pg_terminate_backend(l.pid)) from pg_locks l
where l.locktype = 'advisory' and l.granted and l.database = (select oid from pg_database where datname = current_database())`
	keys := make([]menu.Key, 10)
	for i := range keys {
		keys[i] = menutest.Key(fmt.Sprintf("s%d", i))
		f.answer(keys[i], f.submit(keys[i], 5))
		f.eventually("a leader to cut off", func() bool { return f.count(lead) == 1 })
	}
	for _, key := range keys {
		f.completed(f.log, key, 1)
	}
	for _, key := range keys {
		f.equalsFold(f.log, key)
		if n := len(mustLoad(f, f.log, key)); n != 1+menu.StageCount+1 {
			t.Fatalf("session %s has %d events: one completion too many or too few", key, n)
		}
	}
	f.holdsWholeLog()
}

// The lock is not what makes two projectors safe: one that believes it leads cannot commit past a checkpoint that
// somebody else moved.
func TestProjectorIsFenced(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	key := menutest.Key("s1")
	f.submit(key, 1)
	err := f.ends(faulty{store: f.log, follow: func(ctx context.Context, after uint64, fn func(context.Context, []eventstore.Entry) error) error {
		f.exec(ctx, "update public.checkpoints set seq = 7") // as another projector would have
		return f.log.Follow(ctx, after, fn)
	}}, config())
	if !errors.Is(err, projections.ErrFenced) {
		t.Fatalf("Run = %v, want ErrFenced", err)
	}
	if n := f.count("select (select count(*) from public.menus) + (select count(*) from public.history) + (select count(*) from public.menu_ids)"); n != 0 {
		t.Fatalf("the fenced projector left %d rows", n)
	}
}

func TestOtherStreamIsRefused(t *testing.T) {
	t.Parallel()
	fill := func(t *testing.T) *fixture {
		t.Helper()
		f := newFixture(t)
		f.submit(menutest.Key("s1"), 1)
		f.submit(menutest.Key("s2"), 1)
		stop := f.project(f.log, config())
		f.settle()
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Fatalf("Run = %v after its context ended", err)
		}
		return f
	}
	check := func(t *testing.T, f *fixture, err error) {
		t.Helper()
		if !errors.Is(err, projections.ErrOtherStream) || !strings.Contains(err.Error(), "event 2 of stream "+identity) {
			t.Fatalf("Run = %v, want ErrOtherStream that names the checkpoint", err)
		}
		if at, err := f.queries.Checkpoint(t.Context()); err != nil || at != 2 {
			t.Fatalf("checkpoint = %d, %v", at, err)
		}
	}
	t.Run("MadeAnew", func(t *testing.T) {
		t.Parallel()
		f := fill(t)
		cfg := config()
		cfg.Identity = func(context.Context) (string, error) { return "stream-2", nil }
		check(t, f, f.ends(f.log, cfg))
	})
	t.Run("MadeAnewBeforeTheFirstPage", func(t *testing.T) {
		t.Parallel()
		f := fill(t)
		f.submit(menutest.Key("s3"), 1)
		var asked atomic.Int32
		cfg := config()
		cfg.Identity = func(context.Context) (string, error) { return fmt.Sprintf("stream-%d", asked.Add(1)), nil }
		check(t, f, f.ends(f.log, cfg))
	})
	t.Run("Shorter", func(t *testing.T) {
		t.Parallel()
		f := fill(t)
		check(t, f, f.ends(eventstore.NewMemory(0), config()))
	})
}

// A crash between the fold and menu.completed: the next projector finds the session.
func TestCompletionIsRepairedAfterCrash(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	whole, partly := menutest.Key("s1"), menutest.Key("s2")
	f.answer(whole, f.submit(whole, 2))
	items := f.submit(partly, 3)
	for _, stage := range sevenStages() {
		f.stageEvents(partly, menutest.Completed(stage, menutest.IDs(items)...))
	}
	f.stageEvents(partly, menutest.Completed(menu.Task8, "s2-1"), parked(menu.Task8, "s2-2", "s2-0"))
	tried := make(chan struct{}, 100)
	stop := f.project(faulty{store: f.log, appendMenu: func(context.Context, menu.Key, uint64, ...eventstore.Proposed) (eventstore.Receipt, error) {
		tried <- struct{}{}
		return eventstore.Receipt{}, errors.New("the process died here")
	}}, config())
	f.settle()
	<-tried
	<-tried
	_ = stop()
	if n := f.count("select count(*) from v1.sessions where done"); n != 2 {
		t.Fatalf("%d sessions are done, want 2", n)
	}
	f.project(f.log, config())
	f.completed(f.log, whole, 1)
	got := f.completed(f.log, partly, 1)
	if got.Items != 3 || got.Completed != 1 || got.Failed != 2 || len(got.FailedMenuIDs) != 2 || got.FailedMenuIDs[0] != "s2-0" {
		t.Fatalf("completion = %+v, want s2-0 and s2-2 failed", got)
	}
	for _, key := range []menu.Key{whole, partly} {
		f.equalsFold(f.log, key)
		entries := mustLoad(f, f.log, key)
		last := entries[len(entries)-1]
		if last.Correlation != entries[0].ID || last.Causation != entries[len(entries)-2].ID {
			t.Fatalf("the completion's correlation is %s and its cause %s", last.Correlation, last.Causation)
		}
	}
}

// A broker that refuses for a moment costs a completion a second, not the minute until the next sweep.
func TestFailedCompletionIsTriedAgainSoon(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	key := menutest.Key("s1")
	var tries atomic.Int32
	f.project(faulty{store: f.log, appendMenu: func(ctx context.Context, key menu.Key, expected uint64, events ...eventstore.Proposed) (eventstore.Receipt, error) {
		if tries.Add(1) <= 2 {
			return eventstore.Receipt{}, errors.New("no answer")
		}
		return f.log.AppendMenu(ctx, key, expected, events...)
	}}, config())
	f.answer(key, f.submit(key, 2))
	f.completed(f.log, key, 1)
	f.equalsFold(f.log, key)
}

// A completion that loses the race for the menu lane is decided again on the event that won.
func TestCompletionLosesRaceAndComesAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	key := menutest.Key("s1")
	var tries atomic.Int32
	f.project(faulty{store: f.log, appendMenu: func(ctx context.Context, key menu.Key, expected uint64, events ...eventstore.Proposed) (eventstore.Receipt, error) {
		if tries.Add(1) == 1 {
			if _, err := f.log.AppendMenu(ctx, key, expected, propose(menu.Expired{Unanswered: 1})...); err != nil {
				return eventstore.Receipt{}, err
			}
		}
		return f.log.AppendMenu(ctx, key, expected, events...)
	}}, config())
	f.answer(key, f.submit(key, 2))
	f.completed(f.log, key, 1)
	f.equalsFold(f.log, key)
	if got := f.session(key); got.Status != menu.SessionCompleted {
		t.Fatalf("status = %s", got.Status)
	}
}

func TestRetryLeadsToAnotherRound(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	key := menutest.Key("s1")
	f.submit(key, 1)
	for _, stage := range sevenStages() {
		f.stageEvents(key, menutest.Completed(stage, "s1-0"))
	}
	f.stageEvents(key, parked(menu.Task8, "s1-0"))
	if got := f.completed(f.log, key, 1); got.Failed != 1 {
		t.Fatalf("completion = %+v", got)
	}
	f.equalsFold(f.log, key)
	f.stageEvents(key, menu.StageRetryRequested{Stage: menu.Task8, IDs: []menu.DishID{"s1-0"}, Epoch: 1, By: "me"})
	f.settle()
	if row := f.rows(key)[0]; row.ProcessingStatus != menu.Processing {
		t.Fatalf("processing_status = %s", row.ProcessingStatus)
	}
	answer := menutest.Completed(menu.Task8, "s1-0")
	answer.Results[0].Epoch = 1
	f.stageEvents(key, answer)
	if got := f.completed(f.log, key, 2); got.Completed != 1 {
		t.Fatalf("second completion = %+v", got)
	}
	f.equalsFold(f.log, key)
}

func TestEraseLeavesTheTombstone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	key := menutest.Key("s1")
	items := f.submit(key, 3)
	f.settle()
	f.menuEvent(key, menu.Erased{By: "me", Reason: "asked"})
	f.answer(key, items)
	f.settle()
	f.equalsFold(f.log, key)
	rows, _, err := f.queries.Menus(t.Context(), key)
	if err != nil || len(rows) != 0 {
		t.Fatalf("%d rows of an erased session, %v", len(rows), err)
	}
	if got := f.session(key); got.Status != menu.SessionErased || got.Title != "" || !got.Closed {
		t.Fatalf("session = %+v", got)
	}
}

// postgresAway is how long TestPostgresAwayAndBack keeps Postgres away, besides what the test itself takes.
var postgresAway = flag.Duration("postgres-away", 0, "how long Postgres stays away in TestPostgresAwayAndBack, such as 60s")

// Postgres goes away in the middle, and comes back: nothing is lost and nobody restarts anything.
func TestPostgresAwayAndBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	url := f.pool.Config().ConnString()
	f.project(f.log, config())
	key := menutest.Key("s1")
	items := f.submit(key, 20)
	f.settle()
	other, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	name := pgx.Identifier{other.Database}.Sanitize()
	other.Database = "postgres"
	admin, err := pgx.ConnectConfig(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // the test is over
	exec := func(sql string, args ...any) {
		if _, err := admin.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec("alter database " + name + " allow_connections false")
	exec("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", f.pool.Config().ConnConfig.Database)
	f.answer(key, items)
	if _, err := f.queries.Checkpoint(t.Context()); err == nil {
		t.Fatal("Postgres answers although it is away")
	}
	select {
	case <-time.After(*postgresAway):
	case <-t.Context().Done():
	}
	exec("alter database " + name + " allow_connections true")
	f.completed(f.log, key, 1)
	f.equalsFold(f.log, key)
	f.holdsWholeLog()
}

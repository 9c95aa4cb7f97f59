package projections_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu/menutest"
	"kondate/eventstore"
)

// cutOff is a log that cannot be reached while away is set, though whoever follows it is not told.
type cutOff struct {
	store

	away *atomic.Bool
}

func (c cutOff) Last(ctx context.Context) (uint64, error) {
	if c.away.Load() {
		return 0, errors.New("no answer")
	}
	return c.store.Last(ctx)
}

// A leader that lives and holds its connection, but does not reach the log, loses the lead to a standby that does.
func TestSilentLeaderLosesTheLead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var away atomic.Bool
	f.project(cutOff{faulty{store: f.log, follow: func(ctx context.Context, _ uint64, _ func(context.Context, []eventstore.Entry) error) error {
		away.Store(true)
		<-ctx.Done()
		return ctx.Err()
	}}, &away}, config())
	f.eventually("a leader that stands still", away.Load)
	key := menutest.Key("s1")
	f.answer(key, f.submit(key, 1))
	f.project(f.log, config())
	begin := time.Now()
	f.completed(f.log, key, 1)
	t.Logf("taken over after %s", time.Since(begin).Round(time.Millisecond))
}

// When nobody reaches the log, the lead stays where it is.
func TestSilenceOfAllChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var away atomic.Bool
	f.project(cutOff{f.log, &away}, config())
	const holder = "select coalesce(max(pid), 0) from pg_locks where locktype = 'advisory' and granted and database = (select oid from pg_database where datname = current_database())"
	f.eventually("a leader", func() bool { return f.count(holder) != 0 })
	f.project(cutOff{f.log, &away}, config())
	f.eventually("a standby", func() bool {
		return f.count("select count(*) from pg_stat_activity where datname = current_database() and application_name like 'kondate pulse %'") == 2
	})
	before := f.count(holder)
	away.Store(true)
	<-time.After(3 * time.Second)
	if after := f.count(holder); after != before {
		t.Errorf("connection %d took the lead from %d", after, before)
	}
}

// What holds the lead and is no projector, as a restore, is not disturbed.
func TestHolderWithoutPulseIsLetAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	conn, err := pgx.Connect(t.Context(), f.pool.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // the test is over
	if _, err := conn.Exec(t.Context(), "select pg_advisory_lock($1, 1)", 0x6b6f6e64); err != nil {
		t.Fatal(err)
	}
	f.project(f.log, config())
	<-time.After(3 * time.Second)
	if err := conn.Ping(t.Context()); err != nil {
		t.Errorf("the connection was ended: %v", err)
	}
}

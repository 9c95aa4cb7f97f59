package projections_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu/menutest"
	"kondate/eventstore"
)

// cutOff is a log that can go out of reach, though whoever follows it is not told: what is asked for its end gets no answer.
type cutOff struct {
	store

	back     atomic.Pointer[chan struct{}] // closed when it is in reach again; nil: it is
	answered atomic.Int64
	lost     atomic.Int64
}

func (c *cutOff) Last(ctx context.Context) (uint64, error) {
	if back := c.back.Load(); back != nil {
		select {
		case <-*back:
		case <-ctx.Done():
			c.lost.Add(1)
			return 0, context.Cause(ctx)
		}
	}
	seq, err := c.store.Last(ctx)
	if err == nil {
		c.answered.Add(1)
	}
	return seq, err
}

func (c *cutOff) leave() {
	back := make(chan struct{})
	c.back.Store(&back)
}

func (c *cutOff) comeBack() { close(*c.back.Swap(nil)) }

// eventuallyMore waits until a counter is n higher than it is.
func (f *fixture) eventuallyMore(what string, counter *atomic.Int64, n int64) {
	f.Helper()
	before := counter.Load()
	f.eventually(what, func() bool { return counter.Load() >= before+n })
}

// A projector gives five signs of life in the second after which a leader is silent; these are more than two seconds.
const manyBeats = 12

// A leader that lives and holds its connection, but does not reach the log, loses the lead to a standby that does.
func TestSilentLeaderLosesTheLead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	log := &cutOff{}
	log.store = faulty{store: f.log, follow: func(ctx context.Context, _ uint64, _ func(context.Context, []eventstore.Entry) error) error {
		log.leave()
		<-ctx.Done()
		return ctx.Err()
	}}
	f.project(log, config())
	f.eventually("a leader that stands still", func() bool { return log.back.Load() != nil })
	key := menutest.Key("s1")
	f.answer(key, f.submit(key, 1))
	f.project(f.log, config())
	begin := time.Now()
	f.completed(f.log, key, 1)
	t.Logf("taken over after %s", time.Since(begin).Round(time.Millisecond))
}

// When nobody reaches the log, the lead stays where it is; also when the standby reaches it a moment earlier again.
func TestSilenceOfAllChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	leader, standby := &cutOff{store: f.log}, &cutOff{store: f.log}
	const holder = "select coalesce(max(pid), 0) from pg_locks where locktype = 'advisory' and granted and database = (select oid from pg_database where datname = current_database())"
	f.project(leader, config())
	f.eventually("a leader", func() bool { return f.count(holder) != 0 })
	f.project(standby, config())
	f.eventuallyMore("a standby that lives", &standby.answered, manyBeats)
	before := f.count(holder)
	leader.leave()
	standby.leave()
	f.eventuallyMore("a silent leader", &leader.lost, 4) // of half a second each
	f.eventuallyMore("a silent standby", &standby.lost, 1)
	alone := time.Now()
	standby.comeBack()
	f.eventuallyMore("a standby that lives again", &standby.answered, 3) // it has looked for a silent leader meanwhile
	leader.comeBack()
	advantage := time.Since(alone)
	f.eventuallyMore("a standby that lives again", &standby.answered, manyBeats)
	if after := f.count(holder); after != before && advantage < time.Second {
		t.Errorf("connection %d took the lead from %d, after %s in which it alone reached the log", after, before, advantage)
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
	log := &cutOff{store: f.log}
	f.project(log, config())
	f.eventuallyMore("a standby that lives", &log.answered, manyBeats)
	if err := conn.Ping(t.Context()); err != nil {
		t.Errorf("the connection was ended: %v", err)
	}
}

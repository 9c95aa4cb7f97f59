package eventstore_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/streams/natstest"
)

// appends is how many guarded appends TestAppendsAreExact makes for each number of copies.
var appends = flag.Int("appends", 400, "guarded appends of TestAppendsAreExact for each number of copies")

const (
	linearWriters  = 8
	linearSessions = 12
	// linearPatience is how long the log may take to have a leader again.
	linearPatience = 30 * time.Second
	// disturbEvery is the pause between two disturbances.
	disturbEvery = 40 * time.Millisecond
)

// outcome is what one append was told.
type outcome struct {
	key      menu.Key
	id       string
	guarded  bool
	expected uint64
	seq      uint64
	given    bool // up after a conflict: it must not be in the log
}

// Many writers append to the same sessions while connections are cut and, with three copies, the leader changes and servers
// are killed. Whatever Append answers is so: an accepted append stands right behind the event that it expected, everything
// acknowledged is in the log exactly once, also what was appended again, and a conflict is not in the log.
func TestAppendsAreExact(t *testing.T) {
	t.Parallel()
	t.Run("OneCopy", func(t *testing.T) {
		t.Parallel()
		broker := natstest.New(t)
		checkAppends(t, broker.Conn, func(conns []*nats.Conn) string {
			cut(conns)
			return "cuts"
		})
	})
	t.Run("ThreeCopies", func(t *testing.T) {
		t.Parallel()
		cluster := natstest.NewCluster(t)
		steps, restarts := cluster.Conn(), 0
		checkAppends(t, cluster.Conn, func(conns []*nats.Conn) string {
			switch n := rand.IntN(20); {
			case n == 0:
				restarts++
				cluster.Kill(restarts % 3)
				cluster.Start(restarts % 3)
				return "kills"
			case n < 6:
				if cluster.StepDown(steps) != nil {
					return "step-downs refused" // there is no leader at the moment
				}
				return "step-downs"
			}
			cut(conns)
			return "cuts"
		})
	})
}

// cut breaks a connection with whatever is on its way.
func cut(conns []*nats.Conn) { _ = conns[rand.IntN(len(conns))].ForceReconnect() } // it may be reconnecting already

func checkAppends(t *testing.T, connect func() *nats.Conn, disturb func([]*nats.Conn) string) {
	t.Helper()
	var (
		conns   []*nats.Conn
		stores  []*eventstore.JetStream
		writers errgroup.Group
		left    atomic.Int64
	)
	for range linearWriters {
		nc := connect()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, nc)
		stores = append(stores, eventstore.NewJetStream(js, eventstore.Config{Logger: slog.New(slog.DiscardHandler)}))
	}
	left.Store(int64(*appends))
	all := make([][]outcome, linearWriters)
	var tally [5]atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i, store := range stores {
		writers.Go(func() (err error) {
			all[i], err = appendMany(ctx, store, i, &left, &tally)
			return err
		})
	}
	disturbances := map[string]int{}
	disturbed := make(chan struct{})
	go func() {
		defer close(disturbed)
		tick := time.NewTicker(disturbEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				disturbances[disturb(conns)]++
			case <-ctx.Done():
				return
			}
		}
	}()
	err := writers.Wait()
	cancel()
	<-disturbed
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d guarded appends accepted, %d conflicts, %d already committed, %d stage events, %d unclear answers tried again; %v",
		tally[accepted].Load(), tally[conflicts].Load(), tally[already].Load(), tally[unguarded].Load(), tally[unclear].Load(), disturbances)
	checkLog(t, stores[0], all)
}

// What the writers count.
const (
	accepted = iota
	conflicts
	already
	unguarded
	unclear
)

// appendMany is one writer: it appends until none is left, deciding again after a conflict and trying again after an answer
// that is none.
func appendMany(ctx context.Context, store *eventstore.JetStream, writer int, left *atomic.Int64, tally *[5]atomic.Int64) ([]outcome, error) {
	var outcomes []outcome
	at := map[menu.Key]uint64{} // the last menu event of each session, as far as this writer knows
	for n := 0; left.Add(-1) >= 0; n++ {
		key := menutest.Key(fmt.Sprintf("s%d", rand.IntN(linearSessions)))
		cause := fmt.Sprintf("w%d-%d", writer, n)
		if n%4 == 0 {
			o, err := appendUnguarded(ctx, store, key, cause, tally)
			if err != nil {
				return nil, err
			}
			outcomes = append(outcomes, o)
		}
		event := eventstore.Proposed{Event: menu.Completed{Round: n + 1}, Time: menutest.Start(), Causation: cause}
		id, err := eventstore.EventID(key, cause, event.Event)
		if err != nil {
			return nil, err
		}
		for decided := false; !decided; {
			expected := at[key]
			receipt, err := store.AppendMenu(ctx, key, expected, event)
			conflict, isConflict := errors.AsType[*eventstore.ConflictError](err)
			switch {
			case err == nil:
				tally[accepted].Add(1)
				if receipt.Already {
					tally[already].Add(1)
				}
				outcomes = append(outcomes, outcome{key: key, id: id, guarded: true, expected: expected, seq: receipt.Seq})
				at[key], decided = receipt.Seq, true
				if n%7 == 0 { // as a client whose answer was lost
					again, err := store.AppendMenu(ctx, key, expected, event)
					if err == nil && (!again.Already || again.Seq != receipt.Seq) {
						return nil, fmt.Errorf("an append that was repeated is at %d (already: %v), it was at %d", again.Seq, again.Already, receipt.Seq)
					}
				}
			case isConflict:
				tally[conflicts].Add(1)
				if at[key] = conflict.Actual; rand.IntN(10) == 0 {
					outcomes = append(outcomes, outcome{key: key, id: id, given: true})
					decided = true
				}
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			default:
				tally[unclear].Add(1)
			}
		}
	}
	return outcomes, nil
}

func appendUnguarded(ctx context.Context, store *eventstore.JetStream, key menu.Key, cause string, tally *[5]atomic.Int64) (outcome, error) {
	event := menu.StageAttemptFailed{Stage: menu.Task6, IDs: []menu.DishID{"d"}, Attempt: 1}
	id, err := eventstore.EventID(key, cause, event)
	if err != nil {
		return outcome{}, err
	}
	for {
		receipt, err := store.Append(ctx, key, eventstore.Proposed{Event: event, Time: menutest.Start(), Causation: cause})
		if err == nil {
			tally[unguarded].Add(1)
			return outcome{key: key, id: id, seq: receipt.Seq}, nil
		}
		if ctx.Err() != nil {
			return outcome{}, context.Cause(ctx)
		}
		tally[unclear].Add(1)
	}
}

// checkLog holds the answers against the log.
func checkLog(t *testing.T, store *eventstore.JetStream, all [][]outcome) {
	t.Helper()
	where := map[string][]uint64{}
	before := map[uint64]uint64{} // of an event on the lane menu: the one before it in its session
	last := map[menu.Key]uint64{}
	for at := uint64(0); ; {
		entries, err := store.Read(t.Context(), at, 1000)
		for late := time.Now().Add(linearPatience); err != nil && time.Now().Before(late); { // there may be no leader at the moment
			entries, err = store.Read(t.Context(), at, 1000)
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			at = e.Seq
			where[e.ID] = append(where[e.ID], e.Seq)
			if e.Type.Lane() == menu.LaneMenu {
				before[e.Seq], last[e.Key] = last[e.Key], e.Seq
			}
		}
	}
	violations := 0
	for _, outcomes := range all {
		for _, o := range outcomes {
			switch stands := where[o.id]; {
			case o.given && len(stands) != 0:
				violations++
				t.Errorf("an append of %s was called a conflict and is in the log at %v", o.key, stands)
			case o.given:
			case len(stands) != 1 || stands[0] != o.seq:
				violations++
				t.Errorf("an append of %s was acknowledged at %d and is in the log at %v", o.key, o.seq, stands)
			case o.guarded && before[o.seq] != o.expected:
				violations++
				t.Errorf("the append of %s at %d expected %d, before it stands %d", o.key, o.seq, o.expected, before[o.seq])
			}
			if violations > 10 {
				t.FailNow()
			}
		}
	}
}

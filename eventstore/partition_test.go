package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/streams"
)

// The plan of docs/scaling.md for a log that outgrows one stream, tried on a real broker: the account maps each subject of
// the log to one of n partitions by tenant and session, each partition is a stream that stores the subject as it was
// published. No product code uses it yet.

// partitionOf is the partition of a session among n: the broker's own {{partition(n,1,2)}} over the tokens tenant and session.
func partitionOf(key menu.Key, n int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(string(key.Tenant) + string(key.Session))) // it never fails
	return int(h.Sum32() % uint32(n))
}

// partitioned is a broker with a log in n streams.
type partitioned struct {
	js   jetstream.JetStream
	n    int
	stop func()
}

func partitionName(i int) string { return fmt.Sprintf("%s_P%d", streams.EventStream, i) }

// startPartitioned starts a broker whose log is in n streams; with 1 it is the one stream of today.
func startPartitioned(tb testing.TB, n int, syncAlways bool) *partitioned {
	tb.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "partitioned", DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: tb.TempDir(), SyncAlways: syncAlways, MaxPending: 256 << 20,
	})
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	p := &partitioned{n: n, stop: sync.OnceFunc(func() { s.Shutdown(); s.WaitForShutdown() })}
	tb.Cleanup(p.stop)
	if !s.ReadyForConnections(10 * time.Second) {
		tb.Fatal("the broker is not ready")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	if p.js, err = jetstream.New(nc); err != nil {
		tb.Fatal(err)
	}
	if n > 1 {
		to := fmt.Sprintf("partition.{{partition(%d,1,2)}}.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}.{{wildcard(4)}}", n)
		if err := s.GlobalAccount().AddMapping("menu.evt.*.*.*.*", to); err != nil {
			tb.Fatal(err)
		}
	}
	for i := range n {
		cfg := jetstream.StreamConfig{
			Name: partitionName(i), Subjects: []string{streams.AllEvents}, Compression: jetstream.S2Compression, Discard: jetstream.DiscardNew,
			Duplicates: 2 * time.Minute, AllowDirect: true, AllowAtomicPublish: true,
		}
		if n > 1 {
			from := fmt.Sprintf("partition.%d.*.*.*.*", i)
			cfg.Subjects = []string{from}
			cfg.SubjectTransform = &jetstream.SubjectTransformConfig{
				Source: from, Destination: "menu.evt.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}.{{wildcard(4)}}",
			}
		}
		if _, err := p.js.CreateStream(tb.Context(), cfg); err != nil {
			tb.Fatal(err)
		}
	}
	return p
}

// lengths returns how many messages each stream has.
func (p *partitioned) lengths(tb testing.TB) []uint64 {
	tb.Helper()
	lengths := make([]uint64, p.n)
	for i := range lengths {
		stream, err := p.js.Stream(tb.Context(), partitionName(i))
		if err != nil {
			tb.Fatal(err)
		}
		lengths[i] = stream.CachedInfo().State.Msgs
	}
	return lengths
}

// read returns what a stream holds after a sequence that matches a filter.
func (p *partitioned) read(tb testing.TB, stream int, filter string, after uint64) []eventstore.Entry {
	tb.Helper()
	s, err := p.js.Stream(tb.Context(), partitionName(stream))
	if err != nil {
		tb.Fatal(err)
	}
	var entries []eventstore.Entry
	for {
		raw, err := s.GetMsg(tb.Context(), after+1, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return entries
		}
		if err != nil {
			tb.Fatal(err)
		}
		entries = append(entries, eventstore.Decode(raw.Subject, raw.Sequence, raw.Time, raw.Header, raw.Data))
		after = raw.Sequence
	}
}

func mustEncode(tb testing.TB, key menu.Key, event menu.Event) *nats.Msg {
	tb.Helper()
	msg, err := eventstore.Encode(key, eventstore.Proposed{Event: event, Time: menutest.Start()})
	if err != nil {
		tb.Fatal(err)
	}
	return msg
}

// sessionEvents are a submission and an answer of each stage, in the order in which they are appended.
func sessionEvents(tb testing.TB, key menu.Key, dishes int) []*nats.Msg {
	tb.Helper()
	items := menutest.Items(string(key.Session), dishes)
	msgs := []*nats.Msg{mustEncode(tb, key, menutest.Submitted(items))}
	for _, st := range menu.Stages() {
		msgs = append(msgs, mustEncode(tb, key, menutest.Completed(st, menutest.IDs(items)...)))
	}
	return msgs
}

// Every event of a session is in the stream that partitionOf names, as it was published and in order; what is repeated is
// dropped; and a cursor, which is a sequence of that stream, goes on where it stood.
func TestPartitionsKeepSessionsWhole(t *testing.T) {
	t.Parallel()
	const n, sessions = 4, 60
	p := startPartitioned(t, n, false)
	keys := make([]menu.Key, sessions)
	for i := range keys {
		keys[i] = menu.Key{Tenant: menu.Tenant(fmt.Sprintf("tenant%d", i%3)), Session: menu.SessionID(fmt.Sprintf("session-%d", i))}
	}
	var g errgroup.Group
	for _, key := range keys { // all at once, so that sessions mix within a stream
		msgs := sessionEvents(t, key, 2)
		g.Go(func() error {
			for _, msg := range append(slices.Clone(msgs), msgs[3]) { // one of them again
				if _, err := p.js.PublishMsg(t.Context(), msg); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	total := uint64(0)
	for i, length := range p.lengths(t) {
		if total += length; length == 0 {
			t.Errorf("stream %d got nothing", i)
		}
	}
	if want := uint64(sessions * (1 + menu.StageCount)); total != want {
		t.Errorf("%d events in all streams, want %d", total, want)
	}
	for _, key := range keys {
		want := sessionEvents(t, key, 2)
		got := p.read(t, partitionOf(key, n), streams.SessionFilter(key), 0)
		if len(got) != len(want) {
			t.Fatalf("session %s: %d events in the stream that is its own, want %d", key, len(got), len(want))
		}
		for i, e := range got {
			if e.Err != nil || e.ID != want[i].Header.Get(eventstore.HeaderID) || e.Key != key {
				t.Fatalf("session %s: event %d is %s of %s (%v), want %s", key, i, e.ID, e.Key, e.Err, want[i].Header.Get(eventstore.HeaderID))
			}
		}
		cursor := got[4].Seq
		if rest := p.read(t, partitionOf(key, n), streams.SessionFilter(key), cursor); len(rest) != len(got)-5 || rest[0].ID != got[5].ID {
			t.Errorf("session %s: %d events after its cursor %d, want %d", key, len(rest), cursor, len(got)-5)
		}
	}
}

// The guard of the menu lane is written as today, and of many writers who expect the same event one wins.
func TestPartitionsKeepGuardsExact(t *testing.T) {
	t.Parallel()
	const n, sessions, writers = 4, 12, 8
	p := startPartitioned(t, n, false)
	for i := range sessions {
		key := menutest.Key(fmt.Sprintf("guarded-%d", i))
		seq := uint64(0)
		for round := range 3 {
			acks, told := make(chan uint64, writers), make(chan error, writers)
			var g errgroup.Group
			for w := range writers {
				msg := mustEncode(t, key, menu.Completed{Round: round*writers + w + 1, FailedMenuIDs: []menu.DishID{}})
				g.Go(func() error {
					ack, err := p.js.PublishMsg(t.Context(), msg, jetstream.WithExpectLastSequenceForSubject(seq, streams.LaneFilter(key, menu.LaneMenu)))
					if told <- err; err == nil {
						acks <- ack.Sequence
					}
					return nil
				})
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			if len(acks) != 1 {
				t.Fatalf("session %s: %d of %d writers won, want 1", key, len(acks), writers)
			}
			for range writers {
				err := <-told
				if api, ok := errors.AsType[*jetstream.APIError](err); err != nil && (!ok || api.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence) {
					t.Fatalf("session %s: a loser was told %v", key, err)
				}
			}
			seq = <-acks
		}
	}
}

// BenchmarkPartitions appends the same events to one stream and to four, and lets eight durable consumers per stream read
// them all.
func BenchmarkPartitions(b *testing.B) {
	for _, syncAlways := range []bool{true, false} {
		b.Run(fmt.Sprintf("syncAlways=%t", syncAlways), func(b *testing.B) {
			const round = 200 // sessions
			made := 0
			took := map[string]time.Duration{}
			for b.Loop() {
				var loads [][]*nats.Msg
				for range round {
					made++
					loads = append(loads, sessionEvents(b, menutest.Key(fmt.Sprintf("s%d", made)), 20))
				}
				for _, n := range []int{1, 4} {
					p := startPartitioned(b, n, syncAlways)
					took[fmt.Sprintf("append-%d", n)] += p.append(b, loads)
					took[fmt.Sprintf("consume-%d", n)] += p.consume(b)
					p.stop()
				}
			}
			events := float64(made * (1 + menu.StageCount))
			for what, d := range took {
				b.ReportMetric(events/d.Seconds(), what+"/s")
			}
			b.ReportMetric(took["append-1"].Seconds()/took["append-4"].Seconds(), "append-4:1")
			b.ReportMetric(took["consume-1"].Seconds()/took["consume-4"].Seconds(), "consume-4:1")
		})
	}
}

// append publishes sessions, 64 at a time, each event after the one before it is acknowledged.
func (p *partitioned) append(b *testing.B, sessions [][]*nats.Msg) time.Duration {
	b.Helper()
	began := time.Now()
	var g errgroup.Group
	g.SetLimit(64)
	for _, msgs := range sessions {
		g.Go(func() error {
			for _, msg := range msgs {
				if _, err := p.js.PublishMsg(b.Context(), msg); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// consume lets the consumers of eight stages read each stream to its end.
func (p *partitioned) consume(b *testing.B) time.Duration {
	b.Helper()
	lengths := p.lengths(b)
	began := time.Now()
	g, ctx := errgroup.WithContext(b.Context())
	for i, length := range lengths {
		for _, st := range menu.Stages() {
			g.Go(func() error { return p.drain(ctx, i, streams.StageConsumer(st), length) })
		}
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

func (p *partitioned) drain(ctx context.Context, stream int, name string, n uint64) error {
	consumer, err := p.js.CreateConsumer(ctx, partitionName(stream), jetstream.ConsumerConfig{Durable: name, AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 1000})
	if err != nil {
		return err
	}
	for n > 0 {
		batch, err := consumer.Fetch(int(min(n, 256)), jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return err
		}
		for msg := range batch.Messages() {
			if err := msg.Ack(); err != nil {
				return err
			}
			n--
		}
		if err := errors.Join(batch.Error(), ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

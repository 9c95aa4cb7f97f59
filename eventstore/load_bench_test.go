package eventstore_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/streams"
	"kondate/streams/natstest"
)

func benchKey(i int) menu.Key { return menutest.Key(fmt.Sprintf("s%d", i)) }

// appendSessions appends n sessions of ten events each, from that of [benchKey] i on, and returns the sequences of their events.
func appendSessions(b *testing.B, broker *natstest.Server, i, n int) [][]uint64 {
	b.Helper()
	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise) // it never fails; S2 finds little to compress
	var place atomic.Uint64
	seqs := make([][]uint64, n)
	var g errgroup.Group
	g.SetLimit(16)
	js := broker.JetStream()
	for j := range n {
		g.Go(func() error {
			key := benchKey(i + j)
			for _, msg := range append(sessionEvents(b, key, 20), mustEncode(b, key, menu.Completed{Round: 1})) {
				at := int(place.Add(997) % (1<<20 - 1_000))
				msg.Data = fmt.Appendf(msg.Data[:len(msg.Data)-1], `,"padding":"%x"}`, noise[at:at+1_000])
				ack, err := js.PublishMsg(b.Context(), msg)
				if err != nil {
					return err
				}
				seqs[j] = append(seqs[j], ack.Sequence)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	return seqs
}

// atSizes measures with as many sessions as a small and a large log have: what one costs must not grow with the log.
func atSizes(b *testing.B, measure func(b *testing.B, broker *natstest.Server, sessions int)) {
	b.Helper()
	for _, sessions := range []int{500, 8000} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) { measure(b, natstest.New(b), sessions) })
	}
}

// BenchmarkLoad reads sessions, the oldest ones first.
func BenchmarkLoad(b *testing.B) {
	atSizes(b, func(b *testing.B, broker *natstest.Server, sessions int) {
		b.Helper()
		store := newStore(broker)
		appendSessions(b, broker, 0, sessions)
		for i := 0; b.Loop(); i++ {
			key := benchKey(i % sessions)
			if entries, err := store.Load(b.Context(), key); err != nil || len(entries) != 10 {
				b.Fatalf("%d events of session %s: %v", len(entries), key, err)
			}
		}
	})
}

// BenchmarkLoadPage reads the last events of sessions, the oldest sessions first: what a client of an old session gets that
// resumes.
func BenchmarkLoadPage(b *testing.B) {
	atSizes(b, func(b *testing.B, broker *natstest.Server, sessions int) {
		b.Helper()
		store := newStore(broker)
		seqs := appendSessions(b, broker, 0, sessions)
		for i := 0; b.Loop(); i++ {
			i := i % sessions
			if entries, err := store.LoadPage(b.Context(), benchKey(i), seqs[i][4], 100); err != nil || len(entries) != 5 {
				b.Fatalf("%d events of session %s: %v", len(entries), benchKey(i), err)
			}
		}
	})
}

// BenchmarkRead reads the whole log in pages of 1,000 entries, again and again, while others append: a log with a gap, where a
// session was taken out. It reports how long an append had to wait at most.
func BenchmarkRead(b *testing.B) {
	atSizes(b, func(b *testing.B, broker *natstest.Server, sessions int) {
		b.Helper()
		store := newStore(broker)
		seqs := appendSessions(b, broker, 0, sessions)
		if err := store.Retire(b.Context(), benchKey(0), seqs[0]); err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		var appender sync.WaitGroup
		var most time.Duration
		js := broker.JetStream()
		appender.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				began := time.Now()
				if _, err := js.Publish(ctx, fmt.Sprintf("menu.evt.public.new%d.menu.completed", i), []byte("{}")); err == nil {
					most = max(most, time.Since(began))
				}
			}
		})
		at := uint64(0)
		for b.Loop() {
			entries, err := store.Read(b.Context(), at, 1000)
			if err != nil {
				b.Fatal(err)
			}
			if at = 0; len(entries) == 1000 {
				at = entries[999].Seq
			}
		}
		cancel()
		appender.Wait()
		b.ReportMetric(float64(most.Microseconds())/1000, "append-ms-max")
	})
}

// BenchmarkRetire takes sessions out of the log, the oldest ones first. When all are gone, as many come again.
func BenchmarkRetire(b *testing.B) {
	atSizes(b, func(b *testing.B, broker *natstest.Server, sessions int) {
		b.Helper()
		store := newStore(broker)
		seqs := appendSessions(b, broker, 0, sessions)
		for i := 0; b.Loop(); i++ {
			if i == len(seqs) {
				b.StopTimer()
				seqs = append(seqs, appendSessions(b, broker, i, sessions)...)
				b.StartTimer()
			}
			if err := store.Retire(b.Context(), benchKey(i), seqs[i]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkBlocks appends to a log of 60,000 subjects while the stages' consumers read it: as they are, and with two
// filters each. The broker then looks at every subject whenever a consumer comes to the end of a block.
func BenchmarkBlocks(b *testing.B) {
	for _, filters := range []int{1, 2} {
		b.Run(fmt.Sprintf("filters=%d", filters), func(b *testing.B) {
			broker := natstest.New(b)
			js := broker.JetStream()
			appendSessions(b, broker, 0, 6000)
			ctx, cancel := context.WithCancel(b.Context())
			var stages sync.WaitGroup
			defer stages.Wait()
			defer cancel()
			for _, st := range menu.Stages() {
				consumer, err := js.Consumer(ctx, streams.EventStream, streams.StageConsumer(st))
				if err != nil {
					b.Fatal(err)
				}
				if filters == 2 {
					cfg := consumer.CachedInfo().Config
					cfg.FilterSubjects = append(cfg.FilterSubjects, streams.TypeFilter(menu.StageRetryRequested{Stage: st}.Type()))
					if consumer, err = js.UpdateConsumer(ctx, streams.EventStream, cfg); err != nil {
						b.Fatal(err)
					}
				}
				stages.Go(func() {
					for ctx.Err() == nil {
						batch, err := consumer.Fetch(64, jetstream.FetchContext(ctx))
						if err != nil {
							return
						}
						for msg := range batch.Messages() {
							_ = msg.Ack() // what is read again changes nothing
						}
					}
				})
			}
			for _, st := range menu.Stages() { // what was there before does not count
				for {
					consumer, err := js.Consumer(ctx, streams.EventStream, streams.StageConsumer(st))
					if err != nil {
						b.Fatal(err)
					}
					if info := consumer.CachedInfo(); info.NumPending+uint64(info.NumAckPending) == 0 {
						break
					}
					<-time.After(10 * time.Millisecond)
				}
			}
			body := make([]byte, 10_000)
			_, _ = rand.Read(body) // it never fails
			for i := 0; b.Loop(); i++ {
				kind := "allergen.completed"
				if i%10 == 0 {
					kind = "menu.submitted"
				}
				if _, err := js.Publish(b.Context(), fmt.Sprintf("menu.evt.public.new%d.%s", i, kind), body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

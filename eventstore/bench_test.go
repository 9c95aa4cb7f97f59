package eventstore_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/streams"
	"kondate/streams/natstest"
)

// BenchmarkAppend appends a stage's results for 20 dishes from many writers, beside raw publishes of the same messages
// in the same run: of messages that were encoded before (of-raw), and with their encoding (of-encoded).
func BenchmarkAppend(b *testing.B) {
	for _, policy := range []string{"always", "100ms", "default"} {
		for _, writers := range []int{1, 8, 64, 512} {
			b.Run(fmt.Sprintf("sync=%s/writers=%d", policy, writers), func(b *testing.B) {
				syncs, err := streams.ParseSync(policy)
				if err != nil {
					b.Fatal(err)
				}
				broker := natstest.NewWith(b, streams.ServerConfig{Sync: syncs})
				store, js := newStore(broker), broker.JetStream()
				items := menutest.Items("d", 20)
				var made atomic.Int64
				propose := func() (menu.Key, eventstore.Proposed) {
					key := menutest.Key(fmt.Sprintf("s%d", made.Add(1)))
					return key, eventstore.Proposed{Event: menutest.Completed(menu.Allergen, menutest.IDs(items)...), Time: time.Now()}
				}
				const each = 1024 // appends in a round, ours and raw in turn
				var ours, raw, encoded time.Duration
				n := 0
				type proposal struct {
					key menu.Key
					p   eventstore.Proposed
				}
				for b.Loop() {
					proposals := make(chan proposal, each)
					for range each {
						key, p := propose()
						proposals <- proposal{key, p}
					}
					ours += many(b, writers, each, func() error {
						next := <-proposals
						_, err := store.Append(b.Context(), next.key, next.p)
						return err
					})
					msgs := make(chan *nats.Msg, each)
					for range each {
						key, p := propose()
						msg, err := eventstore.Encode(key, p)
						if err != nil {
							b.Fatal(err)
						}
						msgs <- msg
					}
					raw += many(b, writers, each, func() error {
						_, err := js.PublishMsg(b.Context(), <-msgs)
						return err
					})
					for range each {
						key, p := propose()
						proposals <- proposal{key, p}
					}
					encoded += many(b, writers, each, func() error {
						next := <-proposals
						msg, err := eventstore.Encode(next.key, next.p)
						if err != nil {
							return err
						}
						_, err = js.PublishMsg(b.Context(), msg)
						return err
					})
					n += each
				}
				b.ReportMetric(float64(n)/ours.Seconds(), "appends/s")
				b.ReportMetric(float64(n)/raw.Seconds(), "raw/s")
				b.ReportMetric(raw.Seconds()/ours.Seconds(), "of-raw")
				b.ReportMetric(encoded.Seconds()/ours.Seconds(), "of-encoded")
			})
		}
	}
}

// many calls do n times from a number of goroutines and returns how long it took.
func many(b *testing.B, writers, n int, do func() error) time.Duration {
	b.Helper()
	began := time.Now()
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(n))
	for range writers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

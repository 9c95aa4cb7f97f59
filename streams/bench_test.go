package streams_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// BenchmarkSubscriber measures messages handed out and acked, one reader.
func BenchmarkSubscriber(b *testing.B) {
	for _, inFlight := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("inFlight=%d", inFlight), func(b *testing.B) {
			w := newWork(b, time.Minute)
			for i := range b.N {
				if _, err := w.js.PublishAsync(topic+".item", fmt.Append(nil, i)); err != nil {
					b.Fatal(err)
				}
			}
			<-w.js.PublishAsyncComplete()
			cfg := w.config(b, w.js, inFlight)
			b.ResetTimer()
			_, out := subscribe(b, cfg)
			for range b.N {
				(<-out).Ack()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

// BenchmarkFetch is the raw limit beside it: the client's own pulls, each ack confirmed, one at a time.
func BenchmarkFetch(b *testing.B) {
	w := newWork(b, time.Minute)
	for i := range b.N {
		if _, err := w.js.PublishAsync(topic+".item", fmt.Append(nil, i)); err != nil {
			b.Fatal(err)
		}
	}
	<-w.js.PublishAsyncComplete()
	consumer, err := w.js.Consumer(b.Context(), topic, topic)
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for n := 0; n < b.N; {
		batch, err := consumer.Fetch(min(128, b.N-n), jetstream.FetchMaxWait(time.Second))
		if err != nil {
			b.Fatal(err)
		}
		for msg := range batch.Messages() {
			if err := msg.DoubleAck(b.Context()); err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

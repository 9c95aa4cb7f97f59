package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
)

// benchDishes is the size of a benchmark's menu.
const benchDishes = 20

// BenchmarkSession is one menu alone: from the POST to menu.completed on the client's stream.
func BenchmarkSession(b *testing.B) {
	for name, providers := range map[string]map[menu.Stage]stage.Provider{"noop": slowProviders(0), "local": nil} {
		for _, sync := range []string{"always", "100ms"} {
			b.Run(name+"/sync="+sync, func(b *testing.B) {
				s := startSystem(b, providers, "--nats-sync", sync)
				cl := s.client()
				menu := body(b, benchDishes)
				var took []time.Duration
				for b.Loop() {
					began := time.Now()
					answer, err := cl.submit(b.Context(), menu)
					if err != nil {
						b.Fatal(err)
					}
					completed, err := untilCompleted(b.Context(), cl, answer.StreamURL)
					if err != nil {
						b.Fatal(err)
					}
					took = append(took, completed.Sub(began))
				}
				slices.Sort(took)
				ms := func(q float64) float64 { return took[int(q*float64(len(took)-1))].Seconds() * 1000 }
				b.ReportMetric(ms(0.5), "p50-ms")
				b.ReportMetric(ms(0.99), "p99-ms")
			})
		}
	}
}

// untilCompleted reads a stream to its end and returns when menu.completed came.
func untilCompleted(ctx context.Context, cl *client, url string) (at time.Time, err error) {
	f := &follower{client: cl, url: url, pause: time.Millisecond, attempts: 10, out: func(string, ...any) {}}
	err = f.run(ctx, func(fr frame) error {
		if fr.event == "menu.completed" {
			at = time.Now()
		}
		return nil
	})
	return at, err
}

// BenchmarkThroughput is many menus at once, with a no-op provider, beside the floor of the same run: the same events
// published, consumed by eight consumers and upserted by hand-written loops with nothing of ours between them.
func BenchmarkThroughput(b *testing.B) {
	for _, sync := range []string{"always", "100ms"} {
		for _, sessions := range []int{20, 200} {
			b.Run(fmt.Sprintf("sessions=%d/sync=%s", sessions, sync), func(b *testing.B) {
				s := startSystem(b, slowProviders(0), "--nats-sync", sync)
				f := newFloor(b, sync)
				menu := body(b, benchDishes)
				var ours, raw time.Duration
				dishes := 0
				for b.Loop() {
					raw += f.run(b, sessions)
					ours += throughput(b, s, menu, sessions)
					dishes += sessions * benchDishes
				}
				b.ReportMetric(float64(dishes)/ours.Seconds(), "dishes/s")
				b.ReportMetric(float64(dishes)/raw.Seconds(), "floor-dishes/s")
				b.ReportMetric(raw.Seconds()/ours.Seconds(), "of-floor")
			})
		}
	}
}

// errAll says that a follower has seen all it waited for.
var errAll = errors.New("all are there")

// throughput submits sessions, sixteen requests at a time, and returns how long it took until the last one's
// menu.completed was in the log.
func throughput(b *testing.B, s *system, menu []byte, sessions int) time.Duration {
	b.Helper()
	cl := s.client()
	last, err := s.log().Last(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	done := make(chan error, 1)
	go func() {
		left := sessions
		done <- s.log().Follow(b.Context(), last, func(_ context.Context, page []eventstore.Entry) error {
			for _, e := range page {
				if e.Type == "menu.completed" {
					left--
				}
			}
			if left == 0 {
				return errAll
			}
			return nil
		})
	}()
	var wg sync.WaitGroup
	requests := make(chan struct{}, 16)
	for range sessions {
		requests <- struct{}{}
		wg.Go(func() {
			defer func() { <-requests }()
			if _, err := cl.submit(b.Context(), menu); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	if err := <-done; !errors.Is(err, errAll) {
		b.Fatal(err)
	}
	took := time.Since(began)
	cl.http.Transport.(*http.Transport).CloseIdleConnections() //nolint:forcetypeassert // it is ours
	return took
}

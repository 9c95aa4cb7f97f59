package stage_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
	"kondate/streams"
	"kondate/streams/natstest"
)

// noop is a provider that costs nothing.
type noop struct{}

func (noop) Name() string    { return "noop" }
func (noop) Version() string { return "1" }
func (noop) Answer(_ context.Context, r stage.Request) (menu.Result, error) {
	return menu.Result{
		Stage: r.Stage, Status: menu.StatusOK, Provider: "noop", ProviderVersion: "1", Basis: menu.BasisExact, Confidence: 1,
		Data: []byte(`{"translation":"Chicken and egg rice bowl (oyakodon)","category_translation":"Rice bowls","keep_term":"oyakodon"}`),
	}, nil
}

const menuSize = 20

// BenchmarkDishes measures menus of 20 dishes through all eight stages, and beside it the bare publishing of the same
// events: what the broker alone takes. An iteration is one menu.
func BenchmarkDishes(b *testing.B) {
	for _, policy := range []string{"always", "100ms"} {
		sync, err := streams.ParseSync(policy)
		if err != nil {
			b.Fatal(err)
		}
		server := func(b *testing.B) *site {
			b.Helper()
			return siteOn(b, natstest.NewWith(b, streams.ServerConfig{Sync: sync}))
		}
		b.Run("sync="+policy+"/engine", func(b *testing.B) {
			s := server(b)
			for i := range b.N {
				s.submit(menu.SessionID(fmt.Sprintf("s%d", i)), menuSize)
			}
			b.ResetTimer()
			_, stop := s.start(noop{}, s.patient())
			s.idle(false)
			b.StopTimer()
			report(b)
			stop()
		})
		b.Run("sync="+policy+"/raw", func(b *testing.B) {
			s := server(b)
			menus := make([][]*nats.Msg, b.N)
			for i := range menus {
				menus[i] = rawAnswers(b, menu.Key{Tenant: menu.DefaultTenant, Session: menu.SessionID(fmt.Sprintf("s%d", i))})
			}
			js, err := jetstream.New(s.srv.Conn(), jetstream.WithPublishAsyncMaxPending(1024))
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for _, msgs := range menus {
				for _, msg := range msgs {
					if _, err := js.PublishMsgAsync(msg, jetstream.WithStallWait(time.Minute)); err != nil {
						b.Fatal(err)
					}
				}
			}
			<-js.PublishAsyncComplete()
			b.StopTimer()
			report(b)
		})
	}
}

// patient gives the consumers the ack wait of production: with less, a backlog counts as old and is read back first.
func (s *site) patient() func(*stage.Config) {
	s.tb.Helper()
	topology := s.srv.Topology()
	topology.AckWait = 30 * time.Second
	if err := streams.Ensure(context.Background(), s.js, topology); err != nil {
		s.tb.Fatal(err)
	}
	return func(cfg *stage.Config) { cfg.AckWait = topology.AckWait }
}

func report(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(b.N*menuSize)/b.Elapsed().Seconds(), "dishes/s")
	b.ReportMetric(0, "ns/op")
}

// rawAnswers encodes what the eight stages would record of a menu.
func rawAnswers(b *testing.B, key menu.Key) []*nats.Msg {
	b.Helper()
	msgs := make([]*nats.Msg, 0, menu.StageCount)
	for _, st := range menu.Stages() {
		results := make([]menu.DishResult, menuSize)
		for i := range results {
			r, err := noop{}.Answer(b.Context(), stage.Request{Stage: st})
			if err != nil {
				b.Fatal(err)
			}
			results[i] = menu.DishResult{ID: menu.DishID(fmt.Sprintf("d%d", i)), Attempt: 1, Result: r}
		}
		msg, err := eventstore.Encode(key, eventstore.Proposed{
			Event: menu.StageCompleted{Stage: st, Results: results}, Time: time.Now(), Causation: "bench", Correlation: "bench",
		})
		if err != nil {
			b.Fatal(err)
		}
		msgs = append(msgs, msg)
	}
	return msgs
}

// BenchmarkFairness measures a menu of 10 dishes alone and behind one of 1,000, all eight stages with eight dishes at a
// time that take 20 ms each, in one process and in two.
func BenchmarkFairness(b *testing.B) {
	for _, c := range []struct{ processes, ahead int }{{1, 0}, {1, 1000}, {2, 0}, {2, 1000}} {
		b.Run(fmt.Sprintf("processes=%d/behind=%d", c.processes, c.ahead), func(b *testing.B) {
			s, ahead := newSite(b), c.ahead
			for range c.processes {
				s.start(&scripted{answer: func(ctx context.Context, r stage.Request) (menu.Result, error) {
					select {
					case <-time.After(20 * time.Millisecond):
						return ok(r), nil
					case <-ctx.Done():
						return menu.Result{}, ctx.Err()
					}
				}}, s.patient())
			}
			for i := range b.N {
				b.StopTimer()
				var long menu.Key
				if ahead > 0 {
					long = s.submit(menu.SessionID(fmt.Sprintf("long%d", i)), ahead)
					s.until(0, func(sessions map[menu.Key]menu.Session) bool { // it is being worked on
						return sessions[long].Exists() && sessions[long].Unanswered() < ahead*menu.StageCount
					})
				}
				last, err := s.store.Last(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				short := s.submit(menu.SessionID(fmt.Sprintf("short%d", i)), 10)
				s.answeredAfter(last, short)
				b.StopTimer()
				if ahead > 0 {
					s.answered(long)
				}
			}
		})
	}
}

// BenchmarkWaiting measures a menu of 10 dishes alone, and while 10,000 dishes of each stage wait for their next attempt.
func BenchmarkWaiting(b *testing.B) {
	for _, waiting := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			s := newSite(b)
			s.start(&scripted{answer: failing}, s.patient(), func(cfg *stage.Config) { cfg.RetryDelay = time.Hour })
			s.waitingDishes(waiting)
			last, err := s.store.Last(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for i := range b.N {
				history := s.answeredAfter(last, s.submit(menu.SessionID(fmt.Sprintf("healthy%d", i)), 10))
				last = history[len(history)-1].Seq
			}
		})
	}
}

package stage_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/handlers/stage"
	"kondate/streams"
)

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

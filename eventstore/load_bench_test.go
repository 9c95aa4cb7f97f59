package eventstore_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/streams/natstest"
)

// sessionsOf returns a log of as many sessions of ten events each, and the
// sequences of each one's events.
func sessionsOf(b *testing.B, broker *natstest.Server, sessions int) (key func(i int) menu.Key, seqs [][]uint64) {
	b.Helper()
	padding := `,"padding":"` + strings.Repeat("x", 2_000) + `"}`
	key = func(i int) menu.Key { return menutest.Key(fmt.Sprintf("s%d", i)) }
	seqs = make([][]uint64, sessions)
	var g errgroup.Group
	g.SetLimit(16)
	js := broker.JetStream()
	for i := range sessions {
		g.Go(func() error {
			for _, msg := range append(sessionEvents(b, key(i), 20), mustEncode(b, key(i), menu.Completed{Round: 1})) {
				msg.Data = append(msg.Data[:len(msg.Data)-1], padding...)
				ack, err := js.PublishMsg(b.Context(), msg)
				if err != nil {
					return err
				}
				seqs[i] = append(seqs[i], ack.Sequence)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	return key, seqs
}

// BenchmarkLoad reads sessions of logs of two sizes, the oldest ones first: what one costs must not grow with the log.
func BenchmarkLoad(b *testing.B) {
	for _, sessions := range []int{500, 8000} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			broker := natstest.New(b)
			store := newStore(broker)
			key, _ := sessionsOf(b, broker, sessions)
			i := 0
			for b.Loop() {
				if entries, err := store.Load(b.Context(), key(i%sessions)); err != nil || len(entries) != 10 {
					b.Fatalf("%d events of session %s: %v", len(entries), key(i%sessions), err)
				}
				i++
			}
		})
	}
}

// BenchmarkRetire takes sessions out of logs of two sizes, at most 500: what one costs must not grow with the log.
func BenchmarkRetire(b *testing.B) {
	for _, sessions := range []int{500, 8000} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			broker := natstest.New(b)
			store := newStore(broker)
			key, seqs := sessionsOf(b, broker, sessions)
			i := 0
			for b.Loop() {
				if err := store.Retire(b.Context(), key(i), seqs[i]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

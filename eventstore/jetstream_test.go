package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/eventstore/storetest"
	"kondate/streams"
	"kondate/streams/natstest"
)

func TestMain(m *testing.M) {
	if natstest.RunNode() {
		return
	}
	goleak.VerifyTestMain(m)
}

func newStore(s *natstest.Server) *eventstore.JetStream {
	return eventstore.NewJetStream(s.JetStream(), eventstore.Config{MaxEventSize: storetest.MaxEventSize, Logger: slog.New(slog.DiscardHandler)})
}

func TestJetStream(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Store {
		t.Helper()
		return newStore(natstest.New(t))
	})
}

// A follower goes on after the broker was away, and sees every event once and in order.
func TestFollowSurvivesRestart(t *testing.T) {
	t.Parallel()
	broker := natstest.New(t)
	store := newStore(broker)
	key := menutest.Key("s1")
	first, err := store.AppendMenu(t.Context(), key, 0, storetest.Propose(menutest.Submitted(menutest.Items("d", 1)))...)
	if err != nil {
		t.Fatal(err)
	}
	done := errors.New("done")
	pages := make(chan []eventstore.Entry)
	followed := make(chan error, 1)
	go func() {
		followed <- store.Follow(t.Context(), 0, func(_ context.Context, page []eventstore.Entry) error {
			pages <- page
			if page[len(page)-1].Type == "task8.completed" {
				return done
			}
			return nil
		})
	}()
	if page := <-pages; page[0].Seq != first.Seq {
		t.Fatalf("the first event has sequence %d, want %d", page[0].Seq, first.Seq)
	}
	broker.Restart()
	for _, stage := range menu.Stages() {
		if _, err := store.Append(t.Context(), key, storetest.Propose(menutest.Completed(stage, "d-0"))...); err != nil {
			t.Fatal(err)
		}
	}
	var types []menu.Type
	for len(types) < menu.StageCount {
		for _, e := range <-pages {
			types = append(types, e.Type)
		}
	}
	for i, stage := range menu.Stages() {
		if types[i] != (menu.StageCompleted{Stage: stage}).Type() {
			t.Fatalf("events = %v", types)
		}
	}
	if err := <-followed; !errors.Is(err, done) {
		t.Fatal(err)
	}
}

// Sequences of one log mean nothing in another: a follower that went on would skip events.
func TestFollowRefusesARecreatedStream(t *testing.T) {
	t.Parallel()
	broker := natstest.New(t)
	js := broker.JetStream()
	store := newStore(broker)
	seen := make(chan struct{}, 1)
	followed := make(chan error, 1)
	go func() {
		followed <- store.Follow(t.Context(), 0, func(context.Context, []eventstore.Entry) error {
			seen <- struct{}{}
			return nil
		})
	}()
	if _, err := store.AppendMenu(t.Context(), menutest.Key("s1"), 0, storetest.Propose(menutest.Submitted(menutest.Items("d", 1)))...); err != nil {
		t.Fatal(err)
	}
	<-seen
	if err := js.DeleteStream(t.Context(), streams.EventStream); err != nil {
		t.Fatal(err)
	}
	if err := streams.Ensure(t.Context(), js, broker.Topology()); err != nil {
		t.Fatal(err)
	}
	if err := <-followed; !errors.Is(err, eventstore.ErrOtherLog) {
		t.Fatalf("Follow = %v, want ErrOtherLog", err)
	}
}

// A stored message may carry the headers that the broker uses to end a pull, or to say where a message stands. Nobody's log
// stops for it, and it stands where it stands.
func TestForgedStatus(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"", "408", "404", "409", "503", "100", "204"} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			broker := natstest.New(t)
			store, js := newStore(broker), broker.JetStream()
			key := menutest.Key("s1")
			if _, err := store.AppendMenu(t.Context(), key, 0, storetest.Propose(menutest.Submitted(menutest.Items("d", 1)))...); err != nil {
				t.Fatal(err)
			}
			forged := &nats.Msg{
				Subject: "menu.evt.public.s1.task6.completed",
				Header:  nats.Header{"Description": {"Consumer Deleted"}, "Nats-Sequence": {"1"}, "Nats-Subject": {"menu.evt.public.s9.task7.completed"}},
			}
			if status == "" {
				forged.Data = []byte("{}")
			} else { // it has no body
				forged.Header.Set("Status", status)
				forged.Header.Set("Nats-Last-Sequence", "7")
			}
			for range 2 {
				if _, err := js.PublishMsg(t.Context(), forged); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := store.Append(t.Context(), key, storetest.Propose(menutest.Completed(menu.Task6, "d-0"))...); err != nil {
				t.Fatal(err)
			}
			done := errors.New("done")
			var seqs []uint64
			err := store.Follow(t.Context(), 0, func(_ context.Context, page []eventstore.Entry) error {
				for _, e := range page {
					seqs = append(seqs, e.Seq)
				}
				if len(seqs) >= 4 {
					return done
				}
				return nil
			})
			if !errors.Is(err, done) || !slices.Equal(seqs, []uint64{1, 2, 3, 4}) {
				t.Fatalf("followed %v, %v", seqs, err)
			}
			load := func() ([]eventstore.Entry, error) { return store.Load(t.Context(), key) }
			read := func() ([]eventstore.Entry, error) { return store.Read(t.Context(), 0, 10) }
			for name, all := range map[string]func() ([]eventstore.Entry, error){"Load": load, "Read": read} {
				entries, err := all()
				if err != nil || !slices.Equal(sequences(entries), []uint64{1, 2, 3, 4}) || !errors.Is(entries[1].Err, eventstore.ErrMalformed) || entries[3].Err != nil {
					t.Fatalf("%s: %v, %v", name, sequences(entries), err)
				}
				if e := entries[1]; e.Key != key || e.Header.Get("Nats-Sequence") != "1" {
					t.Errorf("%s: event 2 is of session %s, with the headers %v", name, e.Key, e.Header)
				}
			}
		})
	}
}

// Pages of the whole log go over gaps of any length, and end where the log does.
func TestReadCrossesGaps(t *testing.T) {
	t.Parallel()
	broker := natstest.New(t)
	store, js := newStore(broker), broker.JetStream()
	const last = 3_000
	for i := range last {
		if _, err := js.PublishAsync(fmt.Sprintf("menu.evt.public.s%d.menu.expired", i), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
	stream, err := js.Stream(t.Context(), streams.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	gone := func(seq uint64) bool {
		return seq < 20 || seq >= 30 && seq <= 60 || seq > 300 && seq < 2_500 || seq > last-5
	}
	var want []uint64
	for seq := uint64(1); seq <= last; seq++ {
		if !gone(seq) {
			want = append(want, seq)
		} else if err := stream.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	for _, limit := range []int{90, 500, last} {
		var got []uint64
		for at := uint64(0); ; at = got[len(got)-1] {
			entries, err := store.Read(t.Context(), at, limit)
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, sequences(entries)...); len(entries) < limit {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %d entries from %d to %d, want %d", limit, len(got), got[0], got[len(got)-1], len(want))
		}
	}
}

func sequences(entries []eventstore.Entry) []uint64 {
	seqs := make([]uint64, len(entries))
	for i, e := range entries {
		seqs[i] = e.Seq
	}
	return seqs
}

// The log unopened is the log but for what is in the bodies, broken ones included.
func TestUnopened(t *testing.T) {
	t.Parallel()
	broker := natstest.New(t)
	store, key := newStore(broker), menutest.Key("s1")
	if _, err := store.AppendMenu(t.Context(), key, 0, storetest.Propose(menutest.Submitted(menutest.Items("d", 3)))...); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Append(t.Context(), key, storetest.Propose(menutest.Completed(menu.Allergen, "d-0"))...); err != nil {
		t.Fatal(err)
	}
	readable := nats.Header{eventstore.HeaderID: {"x"}, eventstore.HeaderTime: {"2026-11-23T12:00:00.000001Z"}, eventstore.HeaderSchema: {"1"}}
	forged := maps.Clone(readable) // the leader is asked for it
	forged["Nats-Sequence"] = []string{"1"}
	for _, header := range []nats.Header{readable, forged, {"X": {"no header of an event"}}} {
		if _, err := broker.JetStream().PublishMsg(t.Context(), &nats.Msg{Subject: "menu.evt.public.s2.menu.submitted", Header: header, Data: []byte("{")}); err != nil {
			t.Fatal(err)
		}
	}
	opened, err := store.Read(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	got, err := eventstore.Unopened{Log: store}.Read(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(opened) != 5 || len(got) != 5 {
		t.Fatalf("%d entries, %d of them unopened, want 5", len(opened), len(got))
	}
	for i, want := range opened {
		if broken := i >= 2; broken != (want.Err != nil) {
			t.Errorf("entry %d: %v", want.Seq, want.Err)
		}
		if unreadable := i == 4; unreadable != (got[i].Err != nil) {
			t.Errorf("unopened entry %d: %v", got[i].Seq, got[i].Err)
		}
		if want.Event, want.Err, got[i].Err = nil, nil, nil; !reflect.DeepEqual(got[i], want) {
			t.Errorf("entry %d: %+v, want %+v", want.Seq, got[i], want)
		}
	}
}

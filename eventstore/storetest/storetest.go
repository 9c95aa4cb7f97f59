// Package storetest is the suite that every store of events passes.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
)

// Store is what the suite tests.
type Store interface {
	Append(ctx context.Context, key menu.Key, events ...eventstore.Proposed) (eventstore.Receipt, error)
	AppendMenu(ctx context.Context, key menu.Key, expected uint64, events ...eventstore.Proposed) (eventstore.Receipt, error)
	Load(ctx context.Context, key menu.Key) ([]eventstore.Entry, error)
	LoadPage(ctx context.Context, key menu.Key, after uint64, limit int) ([]eventstore.Entry, error)
	LoadLane(ctx context.Context, key menu.Key, lane menu.Lane, after uint64) ([]eventstore.Entry, error)
	Read(ctx context.Context, after uint64, limit int) ([]eventstore.Entry, error)
	Erase(ctx context.Context, key menu.Key, tombstone, through uint64) error
	LastOf(ctx context.Context, key menu.Key) (uint64, error)
	Last(ctx context.Context) (uint64, error)
	Follow(ctx context.Context, after uint64, fn func(context.Context, []eventstore.Entry) error) error
}

// MaxEventSize is the limit of event bodies that a tested store is made with.
const MaxEventSize = 1 << 20

// Propose wraps events with the time of tests.
func Propose(events ...menu.Event) []eventstore.Proposed {
	proposed := make([]eventstore.Proposed, len(events))
	for i, e := range events {
		proposed[i] = eventstore.Proposed{Event: e, Time: menutest.Start()}
	}
	return proposed
}

// Run tests a store; open returns an empty one for each test.
func Run(t *testing.T, open func(t *testing.T) Store) {
	t.Helper()
	tests := map[string]func(*testing.T, Store){
		"AppendsAndLoads":            appendsAndLoads,
		"RepeatIsAlreadyCommitted":   repeatIsAlreadyCommitted,
		"ConflictIsTyped":            conflictIsTyped,
		"OneOfManyWritersWins":       oneOfManyWritersWins,
		"PagesAreTheWhole":           pagesAreTheWhole,
		"ReadsAreTheWholeLog":        readsAreTheWholeLog,
		"ChunksStandTogether":        chunksStandTogether,
		"EraseLeavesTheTombstone":    eraseLeavesTheTombstone,
		"LanesAreApart":              lanesAreApart,
		"WrongLaneIsRefused":         wrongLaneIsRefused,
		"TooLargeIsRefused":          tooLargeIsRefused,
		"FollowHasNoHole":            followHasNoHole,
		"FollowReturnsTheError":      followReturnsTheError,
		"FollowRefusesAShorterLog":   followRefusesAShorterLog,
		"EndedContextAppendsNothing": endedContextAppendsNothing,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func submission(prefix string, n int) []eventstore.Proposed {
	return Propose(menutest.Submitted(menutest.Items(prefix, n)))
}

func mustAppendMenu(t *testing.T, s Store, key menu.Key, expected uint64, events []eventstore.Proposed) eventstore.Receipt {
	t.Helper()
	r, err := s.AppendMenu(t.Context(), key, expected, events...)
	if err != nil {
		t.Fatalf("AppendMenu: %v", err)
	}
	return r
}

func mustLoad(t *testing.T, s Store, key menu.Key) []eventstore.Entry {
	t.Helper()
	entries, err := s.Load(t.Context(), key)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return entries
}

func readsAreTheWholeLog(t *testing.T, s Store) {
	var want []uint64
	for i := range 7 {
		key := menutest.Key(fmt.Sprintf("s%d", i))
		want = append(want, mustAppendMenu(t, s, key, 0, submission(string(key.Session), 1)).Seq)
	}
	var got []uint64
	for after := uint64(0); ; after = got[len(got)-1] {
		entries, err := s.Read(t.Context(), after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		if len(entries) > 3 {
			t.Fatalf("read %d entries, want 3 at most", len(entries))
		}
		for _, e := range entries {
			got = append(got, e.Seq)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}

func appendsAndLoads(t *testing.T, s Store) {
	key := menutest.Key("s1")
	items := menutest.Items("d", 2)
	first := mustAppendMenu(t, s, key, 0, submission("d", 2))
	mustAppendMenu(t, s, menutest.Key("s2"), 0, submission("other", 1))
	answer := Propose(menutest.Completed(menu.Allergen, menutest.IDs(items)...))
	answer[0].Causation, answer[0].Correlation = first.IDs[0], first.IDs[0]
	second, err := s.Append(t.Context(), key, answer...)
	if err != nil {
		t.Fatal(err)
	}
	entries := mustLoad(t, s, key)
	if len(entries) != 2 {
		t.Fatalf("loaded %d events, want 2", len(entries))
	}
	got := entries[1]
	if got.Err != nil || got.Seq != second.Seq || got.ID != second.IDs[0] || got.Causation != first.IDs[0] ||
		got.Correlation != first.IDs[0] || !got.Time.Equal(menutest.Start()) || got.Version != 2 || got.Key != key {
		t.Fatalf("loaded %+v", got)
	}
	if entries[0].Correlation != first.IDs[0] {
		t.Errorf("a submission starts the chain: correlation %q, want its own id %q", entries[0].Correlation, first.IDs[0])
	}
	state := menu.Evolve(menu.Evolve(menu.Session{}, entries[0].Recorded), got.Recorded)
	if tally := state.Stages[menu.Allergen]; tally.Completed != 2 {
		t.Fatalf("folded tally = %+v", tally)
	}
	if last, err := s.LastOf(t.Context(), key); err != nil || last != second.Seq {
		t.Fatalf("LastOf = %d, %v; want %d", last, err, second.Seq)
	}
	if last, err := s.LastOf(t.Context(), menutest.Key("nobody")); err != nil || last != 0 {
		t.Fatalf("LastOf an unknown session = %d, %v", last, err)
	}
	if last, err := s.Last(t.Context()); err != nil || last != second.Seq {
		t.Fatalf("Last = %d, %v; want %d", last, err, second.Seq)
	}
	if after, err := s.LoadPage(t.Context(), key, first.Seq, 10); err != nil || len(after) != 1 || after[0].Seq != second.Seq {
		t.Fatalf("LoadPage = %v, %v", after, err)
	}
}

func repeatIsAlreadyCommitted(t *testing.T, s Store) {
	key := menutest.Key("s1")
	first := mustAppendMenu(t, s, key, 0, submission("d", 1))
	again := mustAppendMenu(t, s, key, 0, submission("d", 1))
	if !again.Already || again.Seq != first.Seq || again.IDs[0] != first.IDs[0] {
		t.Fatalf("guarded repeat = %+v, want already committed at %d", again, first.Seq)
	}
	answer := Propose(menutest.Completed(menu.Task6, "d-0"))
	one, err := s.Append(t.Context(), key, answer...)
	if err != nil || one.Already {
		t.Fatalf("Append = %+v, %v", one, err)
	}
	two, err := s.Append(t.Context(), key, answer...)
	if err != nil || !two.Already || two.Seq != one.Seq {
		t.Fatalf("repeated Append = %+v, %v; want already committed at %d", two, err, one.Seq)
	}
	if n := len(mustLoad(t, s, key)); n != 2 {
		t.Fatalf("the log holds %d events, want 2", n)
	}
}

func conflictIsTyped(t *testing.T, s Store) {
	key := menutest.Key("s1")
	first := mustAppendMenu(t, s, key, 0, submission("d", 1))
	_, err := s.AppendMenu(t.Context(), key, 0, submission("other", 1)...)
	conflict, ok := errors.AsType[*eventstore.ConflictError](err)
	if !ok || !errors.Is(err, eventstore.ErrConflict) {
		t.Fatalf("err = %v, want a ConflictError", err)
	}
	if conflict.Actual != first.Seq || conflict.Expected != 0 || conflict.Key != key {
		t.Fatalf("conflict = %+v", conflict)
	}
	mustAppendMenu(t, s, key, first.Seq, Propose(menu.Expired{Unanswered: 8}))
}

func oneOfManyWritersWins(t *testing.T, s Store) {
	const writers = 8
	key := menutest.Key("s1")
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			_, err := s.AppendMenu(t.Context(), key, 0, submission(fmt.Sprintf("w%d", w), 1)...)
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, eventstore.ErrConflict):
				lost.Add(1)
			default:
				t.Errorf("writer %d: %v", w, err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != writers-1 {
		t.Fatalf("%d won and %d lost, want 1 and %d", won.Load(), lost.Load(), writers-1)
	}
}

func chunksStandTogether(t *testing.T, s Store) {
	key := menutest.Key("s1")
	events, err := menu.Submit(menu.Session{}, menu.SubmitMenu{
		SourceLanguage: "ja", TargetLanguage: "en", Items: menutest.Items("d", 250), ChunkItems: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	first := mustAppendMenu(t, s, key, 0, Propose(events...))
	entries := mustLoad(t, s, key)
	if len(entries) != 3 || len(first.IDs) != 3 || entries[2].Seq != first.Seq {
		t.Fatalf("%d events, receipt %+v; want three chunks", len(entries), first)
	}
	for i, e := range entries {
		if e.Seq != entries[0].Seq+uint64(i) || e.Correlation != first.IDs[0] {
			t.Errorf("chunk %d at %d with correlation %q", i+1, e.Seq, e.Correlation)
		}
	}
	again := mustAppendMenu(t, s, key, 0, Propose(events...))
	if !again.Already || again.Seq != first.Seq || !slices.Equal(again.IDs, first.IDs) {
		t.Fatalf("repeated batch = %+v, want already committed at %d", again, first.Seq)
	}
	if n := len(mustLoad(t, s, key)); n != 3 {
		t.Fatalf("the log holds %d events after the repeat, want 3", n)
	}
}

func lanesAreApart(t *testing.T, s Store) {
	key := menutest.Key("s1")
	mustAppendMenu(t, s, key, 0, submission("d", 1))
	for _, stage := range menu.Stages() {
		if _, err := s.Append(t.Context(), key, Propose(menutest.Completed(stage, "d-0"))...); err != nil {
			t.Fatal(err)
		}
	}
	lane, err := s.LoadLane(t.Context(), key, menu.Task7.Lane(), 0)
	if err != nil || len(lane) != 1 || lane[0].Type != "task7.completed" {
		t.Fatalf("LoadLane = %v, %v", lane, err)
	}
	if lane, err = s.LoadLane(t.Context(), key, menu.Task7.Lane(), lane[0].Seq); err != nil || len(lane) != 0 {
		t.Fatalf("LoadLane after its last event = %v, %v", lane, err)
	}
}

func wrongLaneIsRefused(t *testing.T, s Store) {
	key := menutest.Key("s1")
	if _, err := s.Append(t.Context(), key, submission("d", 1)...); err == nil {
		t.Error("a menu event was appended without a guard")
	}
	if _, err := s.AppendMenu(t.Context(), key, 0, Propose(menutest.Completed(menu.Task6, "d-0"))...); err == nil {
		t.Error("a stage event was appended with the menu's guard")
	}
}

func tooLargeIsRefused(t *testing.T, s Store) {
	key := menutest.Key("s1")
	items := menutest.Items("d", 1)
	items[0].Name = string(make([]byte, MaxEventSize))
	_, err := s.AppendMenu(t.Context(), key, 0, Propose(menutest.Submitted(items))...)
	if !errors.Is(err, eventstore.ErrTooLarge) {
		t.Fatalf("err = %v, want ErrTooLarge", err)
	}
}

func pagesAreTheWhole(t *testing.T, s Store) {
	key := menutest.Key("s1")
	mustAppendMenu(t, s, key, 0, submission("d", 1))
	for i := range 10 {
		for _, k := range []menu.Key{key, menutest.Key("s2")} {
			e := Propose(menu.StageAttemptFailed{Stage: menu.Task6, IDs: []menu.DishID{"d-0"}, Attempt: i})
			if _, err := s.Append(t.Context(), k, e...); err != nil {
				t.Fatal(err)
			}
		}
	}
	var got, want []uint64
	for _, e := range mustLoad(t, s, key) {
		want = append(want, e.Seq)
	}
	for after, page := uint64(0), 4; page == 4; {
		entries, err := s.LoadPage(t.Context(), key, after, 4)
		if err != nil || len(entries) > 4 {
			t.Fatalf("LoadPage = %d entries, %v; want at most 4", len(entries), err)
		}
		for _, e := range entries {
			got, after = append(got, e.Seq), e.Seq
		}
		page = len(entries)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("pages hold %v, want %v", got, want)
	}
}

func followHasNoHole(t *testing.T, s Store) {
	const before, during = 700, 300
	key := menutest.Key("s1")
	first := mustAppendMenu(t, s, key, 0, submission("d", 1))
	add := func(from, to int) error {
		for i := from; i < to; i++ {
			e := Propose(menu.StageAttemptFailed{Stage: menu.Task6, IDs: []menu.DishID{"d-0"}, Attempt: i})
			if _, err := s.Append(t.Context(), key, e...); err != nil {
				return err
			}
		}
		return nil
	}
	if err := add(0, before); err != nil {
		t.Fatal(err)
	}
	added := make(chan error, 1)
	go func() { added <- add(before, before+during) }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := errors.New("done")
	var seqs []uint64
	err := s.Follow(ctx, first.Seq, func(_ context.Context, page []eventstore.Entry) error {
		if len(page) == 0 || len(page) > eventstore.MaxPage {
			t.Errorf("a page of %d", len(page))
		}
		for _, e := range page {
			seqs = append(seqs, e.Seq)
		}
		if len(seqs) == before+during {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		t.Fatalf("Follow = %v after %d events", err, len(seqs))
	}
	for i, seq := range seqs {
		if want := first.Seq + 1 + uint64(i); seq != want {
			t.Fatalf("event %d has sequence %d, want %d", i, seq, want)
		}
	}
	if err := <-added; err != nil {
		t.Fatal(err)
	}
}

func followReturnsTheError(t *testing.T, s Store) {
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone home")
	cancel(gone)
	err := s.Follow(ctx, 0, func(context.Context, []eventstore.Entry) error { return nil })
	if !errors.Is(err, gone) {
		t.Fatalf("Follow = %v, want the cause of the context's end", err)
	}
}

func followRefusesAShorterLog(t *testing.T, s Store) {
	err := s.Follow(t.Context(), 10, func(context.Context, []eventstore.Entry) error { return nil })
	if !errors.Is(err, eventstore.ErrOtherLog) {
		t.Fatalf("Follow from beyond the end = %v, want ErrOtherLog", err)
	}
}

func endedContextAppendsNothing(t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.AppendMenu(ctx, menutest.Key("s1"), 0, submission("d", 1)...); err == nil {
		t.Fatal("appended under an ended context")
	}
	if n := len(mustLoad(t, s, menutest.Key("s1"))); n != 0 {
		t.Fatalf("the log holds %d events", n)
	}
}

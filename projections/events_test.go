package projections_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/projections"
)

// seqs reads the sequences that a filter wants.
func (f *fixture) seqs(filter projections.EventFilter) []uint64 {
	f.Helper()
	got := []uint64{}
	for e, err := range f.queries.Events(f.Context(), filter) {
		if err != nil {
			f.Fatal(err)
		}
		got = append(got, e.Seq)
	}
	return got
}

// Every filter, and any combination of them, gives what a look at each event of the log gives.
func TestEventsByFilter(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	stages := menu.Stages()
	var all []eventstore.Entry
	for i := range 400 { // several pages
		key := menutest.Key(fmt.Sprintf("s%d", i%7))
		if i%3 == 0 {
			key.Tenant = "other"
		}
		var event menu.Event = menutest.Completed(stages[i%len(stages)], "d")
		switch i % 5 {
		case 0:
			event = parked(stages[i%len(stages)], "d")
		case 1:
			event = menutest.Submitted(menutest.Items(string(key.Session), 1))
		}
		at := menutest.Start().Add(time.Duration(i) * time.Second)
		msg, err := eventstore.Encode(key, eventstore.Proposed{Event: event, Time: at, Causation: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		switch i {
		case 50:
			msg.Header.Set(eventstore.HeaderSchema, "99") // from a newer program: passed on
		case 60:
			msg.Data = []byte("{") // no event: left out
		}
		all = append(all, eventstore.Decode(msg.Subject, f.log.Inject(msg), at, msg.Header, msg.Data))
	}
	f.project(f.log, config())
	f.settle()
	rapid.Check(t, func(t *rapid.T) {
		filter := projections.EventFilter{
			Tenant:  menu.Tenant(rapid.SampledFrom([]string{"", "public", "other", "nobody"}).Draw(t, "tenant")),
			Session: menu.SessionID(rapid.SampledFrom([]string{"", "s1", "s2"}).Draw(t, "session")),
			Type:    projections.TypePattern(rapid.SampledFrom([]string{"", "*.*", "allergen.*", "*.failed", "menu.submitted", "task6.completed", "search_engine.*"}).Draw(t, "type")),
			From:    rapid.SampledFrom([]uint64{0, 1, 100, 399, 500}).Draw(t, "from"),
			To:      rapid.SampledFrom([]uint64{0, 1, 200, 500}).Draw(t, "to"),
			Limit:   rapid.SampledFrom([]int{0, 0, 1, 10, 250}).Draw(t, "limit"),
		}
		if rapid.Bool().Draw(t, "has since") {
			filter.Since = menutest.Start().Add(100 * time.Second)
		}
		if rapid.Bool().Draw(t, "has until") {
			filter.Until = menutest.Start().Add(300 * time.Second)
		}
		want := []uint64{}
		for _, e := range all {
			if e.Seq != 61 && wanted(filter, e) && (filter.Limit == 0 || len(want) < filter.Limit) {
				want = append(want, e.Seq)
			}
		}
		if got := f.seqs(filter); !slices.Equal(got, want) {
			t.Fatalf("%+v gives\n%v, want\n%v", filter, got, want)
		}
	})
}

func wanted(f projections.EventFilter, e eventstore.Entry) bool {
	lane, event, _ := strings.Cut(string(f.Type), ".")
	return (f.Tenant == "" || e.Key.Tenant == f.Tenant) && (f.Session == "" || e.Key.Session == f.Session) &&
		(lane == "" || lane == "*" || string(e.Type.Lane()) == lane) && (event == "" || event == "*" || e.Type.Name() == event) &&
		!e.Time.Before(f.Since) && (f.Until.IsZero() || e.Time.Before(f.Until)) && e.Seq >= f.From && (f.To == 0 || e.Seq <= f.To)
}

func TestParseTypePattern(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"allergen.completed", "allergen.*", "*.failed", "*.*", "new-lane.new_event"} {
		if got, err := projections.ParseTypePattern(good); err != nil || string(got) != good {
			t.Errorf("%q: %q, %v", good, got, err)
		}
	}
	for _, bad := range []string{"", "*", "allergen", "allergen.", ".completed", "a.b.c", "allergen.>", "all*.x", "a .b", "a.b'"} {
		if _, err := projections.ParseTypePattern(bad); !errors.Is(err, projections.ErrPattern) {
			t.Errorf("%q: %v, want ErrPattern", bad, err)
		}
	}
}

// An old partition of history can be taken off: what is newer is read and written as before.
func TestDetachedPartition(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	f.many("old", 2)
	f.completed(f.log, menutest.Key("old1"), 1)
	f.completed(f.log, menutest.Key("old0"), 1)
	f.settle()
	// As if a million events had come: the next ones go to another partition.
	f.exec(t.Context(), `select public.make_history_partition(7)`)
	f.exec(t.Context(), `insert into public.history select seq + 7000000, tenant, 'new', type, version, time, id, headers, data, raw, error from public.history where session_id = 'old0'`)
	f.exec(t.Context(), `alter table public.history detach partition public.history_0`)
	if got := f.seqs(projections.EventFilter{}); len(got) != 10 || got[0] < 7_000_000 {
		t.Errorf("events are %v, want the new session's", got)
	}
	rows, err := f.queries.History(t.Context(), menutest.Key("new"), 0, 100)
	if err != nil || len(rows) != 10 {
		t.Errorf("the new session has %d events: %v", len(rows), err)
	}
	if n := f.count("select count(*) from public.dish_stages"); n != 2*menu.StageCount {
		t.Errorf("the view shows %d stages", n)
	}
	f.exec(t.Context(), `alter table public.history attach partition public.history_0 for values from (0) to (1000000)`)
	f.exec(t.Context(), "delete from public.history where seq > 1000000")
	f.sound()
}

// Rows of the past are what a fold of the log up to then says; rows of now are those of Postgres.
func TestRowsOfThePast(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		key := menutest.Key(fmt.Sprintf("r%d", round))
		var folded menu.Session
		past := map[uint64][]map[string]any{}
		sessions := map[uint64]map[string]any{}
		for i := range rapid.IntRange(1, 30).Draw(t, "events") {
			event := drawEvent(t, key)
			if _, erases := event.(menu.Erased); erases {
				continue // what was before it cannot be seen any more
			}
			msg, err := eventstore.Encode(key, eventstore.Proposed{Event: event, Time: menutest.Start().Add(time.Duration(i) * time.Second), Causation: fmt.Sprint(i)})
			if err != nil {
				t.Fatal(err)
			}
			seq := f.log.Inject(msg)
			entry := eventstore.Decode(msg.Subject, seq, time.Time{}, msg.Header, msg.Data)
			folded = menu.Evolve(folded, entry.Recorded)
			past[seq] = []map[string]any{}
			for _, d := range slices.SortedFunc(maps.Values(folded.Dishes), func(a, b menu.Dish) int { return a.Position - b.Position }) {
				past[seq] = append(past[seq], wantRow(key, d))
			}
			if folded.Exists() {
				sessions[seq] = wantSession(folded)
			}
		}
		f.settle()
		for seq, want := range past {
			got, err := f.queries.MenusAt(f.Context(), key, seq)
			session, sessionErr := f.queries.SessionAt(f.Context(), key, seq)
			if sessions[seq] == nil {
				if !errors.Is(err, projections.ErrNotFound) || !errors.Is(sessionErr, projections.ErrNotFound) {
					t.Fatalf("at %d, before the submission: %v, %v", seq, err, sessionErr)
				}
				continue
			}
			if err != nil || sessionErr != nil || len(got) != len(want) {
				t.Fatalf("at %d there are %d rows, want %d: %v, %v", seq, len(got), len(want), err, sessionErr)
			}
			if diff := jsonDiff(session, sessions[seq]); diff != "" {
				t.Fatalf("the session at %d: %s", seq, diff)
			}
			for i := range got {
				if diff := jsonDiff(got[i], want[i]); diff != "" {
					t.Fatalf("dish %s at %d: %s", got[i].ID, seq, diff)
				}
				one, err := f.queries.MenuAt(f.Context(), key.Tenant, got[i].ID, seq)
				if diff := jsonDiff(one, got[i]); err != nil || diff != "" {
					t.Fatalf("dish %s at %d by itself: %v %s", got[i].ID, seq, err, diff)
				}
			}
		}
		now, _, err := f.queries.Menus(f.Context(), key)
		if err != nil && !errors.Is(err, projections.ErrNotFound) {
			t.Fatal(err)
		}
		last, _ := f.queries.MenusAt(f.Context(), key, f.last(f.log))
		for i := range now {
			if diff := jsonDiff(last[i], now[i]); diff != "" {
				t.Fatalf("the last row of the past is not the row of now: %s", diff)
			}
		}
	})
	if _, err := f.queries.MenuAt(t.Context(), menu.DefaultTenant, "nobody", 1); !errors.Is(err, projections.ErrNotFound) {
		t.Errorf("a dish of nobody: %v", err)
	}
}

package projections_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/projections"
	"kondate/projections/pgtest"
)

func TestMigrateAtOnceAndAgain(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	var g errgroup.Group
	for range 4 {
		g.Go(func() error { return projections.Migrate(t.Context(), url) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := projections.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
}

func TestMenu(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	f.submit(menutest.Key("s1"), 2)
	f.settle()
	row, err := f.queries.Menu(t.Context(), menu.DefaultTenant, "s1-1")
	if err != nil || row.Position != 1 || row.SessionID != "s1" {
		t.Fatalf("Menu = %+v, %v", row, err)
	}
	if _, err := f.queries.Menu(t.Context(), "other", "s1-1"); !errors.Is(err, projections.ErrNotFound) {
		t.Fatalf("dish of another tenant: %v", err)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	key := menutest.Key("s1")
	items := f.submit(key, 2)
	f.submit(menutest.Key("s2"), 1)
	f.answer(key, items)
	f.completed(f.log, key, 1)
	f.settle()
	want := mustLoad(f, f.log, key)
	var got []projections.HistoryRow
	for after := uint64(0); ; {
		page, err := f.queries.History(t.Context(), key, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		after = page[len(page)-1].Seq
	}
	if len(got) != len(want) {
		t.Fatalf("history has %d events, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if g.Seq != w.Seq || g.ID != w.ID || g.Key != key || g.Type != w.Type || g.Version != w.Version || !g.Time.Equal(w.Time) || g.Err != "" {
			t.Fatalf("event %d = %+v, want %+v", i, g, w)
		}
		if string(g.Data) != string(w.Data) {
			t.Fatalf("event %d has the body %s, want %s", i, g.Data, w.Data)
		}
		if h, err := g.Header(); err != nil || !slices.Equal(h[eventstore.HeaderSource], []string{key.Source()}) || len(h) != len(w.Header) {
			t.Fatalf("event %d has the headers %s, %v; want %v", i, g.Headers, err, w.Header)
		}
	}
}

// Analysts see one row per dish and stage, with the time of its answer.
func TestDishStagesView(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	key := menutest.Key("s1")
	f.submit(key, 2)
	f.stageEvents(key, menutest.Completed(menu.Translation, "s1-0"), menutest.Completed(menu.Task6, "s1-1"), parked(menu.Task7, "s1-1"))
	f.settle()
	if n := f.count("select count(*) from public.dish_stages where session_id = 's1'"); n != 2*menu.StageCount {
		t.Fatalf("%d rows, want %d", n, 2*menu.StageCount)
	}
	const answered = "select count(*) from public.dish_stages where time = $1 and provider = 'test' and "
	for _, where := range []string{
		"menu_id = 's1-0' and stage = 'translation' and status = 'ok' and data->>'translation' = 'result for s1-0' and confidence = 0.9 and attempts = 1 and seq = 2",
		"menu_id = 's1-1' and stage = 'task6' and status = 'ok' and data->>'task6' = 'result for s1-1'",
		"menu_id = 's1-1' and stage = 'task7' and status = 'failed' and reason = 'timeout' and data is null",
	} {
		if n := f.count(answered+where, menutest.Start()); n != 1 {
			t.Fatalf("%d rows with %s, want 1", n, where)
		}
	}
	if n := f.count("select count(*) from public.dish_stages where status = 'pending' and time is null"); n != 13 {
		t.Fatalf("%d pending rows, want 13", n)
	}
}

func TestRowsAreJSONOfTheContract(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	f.submit(menutest.Key("s1"), 1)
	f.settle()
	encoded, err := json.Marshal(f.rows(menutest.Key("s1"))[0])
	if err != nil {
		t.Fatal(err)
	}
	const begin = `{"tenant":"public","id":"s1-0","session_id":"s1","position":0,"name":"品書0","translation":null,"category":"一品","category_translation":null,` +
		`"price":"300円","description":null,"allergy":null,"ingredient":null,"search_engine":null,"gen_image":null,"task6_data":null,"task7_data":null,"task8_data":null,` +
		`"processing_status":"basic_completed","stages":{"`
	const end = `},"created_at":"2026-11-23T12:00:00.000000Z","updated_at":"2026-11-23T12:00:00.000000Z","last_seq":1}`
	got := string(encoded)
	if len(got) < len(begin)+len(end) || got[:len(begin)] != begin || got[len(got)-len(end):] != end {
		t.Fatalf("row = %s", got)
	}
}

func TestWaitForReturnsWhenReached(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const waiters = 500
	var g errgroup.Group
	for i := range waiters {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			seq := uint64(i%20 + 1)
			if err := f.queries.WaitFor(ctx, seq); err != nil {
				return err
			}
			at, err := f.queries.Checkpoint(ctx)
			if err == nil && at < seq {
				err = fmt.Errorf("WaitFor(%d) returned at %d", seq, at)
			}
			return err
		})
	}
	f.project(f.log, config())
	for i := range 20 {
		f.submit(menutest.Key(fmt.Sprintf("s%d", i)), 1)
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestWaitForEndsWithItsContext(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	// The first one polls for all; the others go on when it leaves.
	first, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- f.queries.WaitFor(first, 1) }()
	second, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("the client's patience"))
	defer cancel()
	if err := f.queries.WaitFor(second, 1); err == nil || !errors.Is(err, context.Cause(second)) {
		t.Fatalf("WaitFor = %v, want the cause of its context", err)
	}
	third := make(chan error, 1)
	go func() { third <- f.queries.WaitFor(t.Context(), 1) }()
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatalf("WaitFor = %v, want context.Canceled", err)
	}
	f.project(f.log, config())
	f.submit(menutest.Key("s1"), 1)
	if err := <-third; err != nil {
		t.Fatal(err)
	}
}

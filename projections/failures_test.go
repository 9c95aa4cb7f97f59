package projections_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/projections"
)

func (f *fixture) failures(filter projections.FailureFilter) []string {
	f.Helper()
	if filter.Limit == 0 {
		filter.Limit = 100
	}
	found, err := f.queries.Failures(f.Context(), filter)
	if err != nil {
		f.Fatal(err)
	}
	var short []string
	for _, p := range found {
		short = append(short, fmt.Sprintf("%s/%s/%d", p.MenuID, p.Stage, p.Epoch))
	}
	return short
}

func (f *fixture) hasFailures(what string, filter projections.FailureFilter, want ...string) {
	f.Helper()
	if got := f.failures(filter); !slices.Equal(got, want) {
		f.Errorf("%s: parked are %v, want %v", what, got, want)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	a, b := menutest.Key("a"), menutest.Key("b")
	other := menu.Key{Tenant: "other", Session: "c"}
	for _, key := range []menu.Key{a, b, other} {
		f.submit(key, 3)
	}
	refused := parked(menu.Task6, "b-1")
	refused.Reason, refused.Attempts, refused.Error = "refused", 1, "no dish"
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	p := propose(refused)
	p[0].TraceParent = trace
	f.stageEvents(a, parked(menu.Allergen, "a-2", "a-0"), parked(menu.Task6, "a-0"))
	receipt, err := f.log.Append(t.Context(), b, p...)
	if err != nil {
		t.Fatal(err)
	}
	f.stageEvents(other, parked(menu.Allergen, "c-1"))
	f.settle()

	allergen := menu.Allergen
	all := []string{"a-0/allergen/0", "a-2/allergen/0", "a-0/task6/0", "b-1/task6/0"}
	f.hasFailures("all of a tenant", projections.FailureFilter{Tenant: a.Tenant}, all...)
	f.hasFailures("all of all tenants", projections.FailureFilter{}, append(all, "c-1/allergen/0")...)
	f.hasFailures("of a stage", projections.FailureFilter{Tenant: a.Tenant, Stage: &allergen}, all[:2]...)
	f.hasFailures("of a reason", projections.FailureFilter{Reason: "refused"}, all[3])
	f.hasFailures("of a session", projections.FailureFilter{Session: "b"}, all[3])
	f.hasFailures("of a dish", projections.FailureFilter{MenuID: "a-0"}, all[0], all[2])
	f.hasFailures("of nobody", projections.FailureFilter{Tenant: "nobody"})

	var pages []string
	filter := projections.FailureFilter{Tenant: a.Tenant, Limit: 1}
	for {
		page, err := f.queries.Failures(t.Context(), filter)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		pages = append(pages, fmt.Sprintf("%s/%s/%d", page[0].MenuID, page[0].Stage, page[0].Epoch))
		if filter.After, err = projections.ParseFailureCursor(page[0].Cursor().String()); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(pages, all) {
		t.Errorf("page by page: %v, want %v", pages, all)
	}

	found, err := f.queries.Failures(t.Context(), projections.FailureFilter{MenuID: "b-1", Limit: 1})
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	want := projections.Failure{
		Tenant: b.Tenant, MenuID: "b-1", SessionID: "b", Stage: menu.Task6, Reason: "refused", Error: "no dish", Provider: "test",
		Attempts: 1, ParkedAt: projections.Time{Time: menutest.Start()}, TraceID: strings.Split(trace, "-")[1], Seq: receipt.Seq,
	}
	if found[0] != want {
		t.Errorf("got  %+v\nwant %+v", found[0], want)
	}

	counts, err := f.queries.Parked(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(counts), fmt.Sprint([]projections.ParkedCount{
		{menu.Allergen, "timeout", 3, menutest.Start()}, {menu.Task6, "refused", 1, menutest.Start()}, {menu.Task6, "timeout", 1, menutest.Start()},
	}); strings.ReplaceAll(got, " +0000 +0000", " +0000 UTC") != want {
		t.Errorf("counts %s\nwant   %s", got, want)
	}

	// A retry takes it off the list, at once with the row; a rebuild leaves the list as it is.
	f.stageEvents(a, menu.StageRetryRequested{Stage: menu.Allergen, IDs: []menu.DishID{"a-0", "a-2"}, Epoch: 1, By: "cook"})
	f.settle()
	f.hasFailures("after the retry", projections.FailureFilter{Tenant: a.Tenant}, all[2:]...)
	if _, err := f.operations(f.log).Rebuild(t.Context(), projections.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	f.hasFailures("after the rebuild", projections.FailureFilter{Tenant: a.Tenant}, all[2:]...)
	f.stageEvents(a, parked(menu.Allergen, "a-0"))
	f.menuEvent(b, menu.Erased{By: "owner"})
	f.settle()
	f.hasFailures("after the erasure", projections.FailureFilter{Tenant: a.Tenant}, all[2])
}

func TestFailureCursor(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "1", "-", "x-a", "1-", "-1-a", "1-a b", "99999999999999999999-a", "1-*"} {
		if c, err := projections.ParseFailureCursor(raw); !errors.Is(err, projections.ErrCursor) {
			t.Errorf("%q is %v, %v", raw, c, err)
		}
	}
	if c, err := projections.ParseFailureCursor("12-a-b_c"); err != nil || c.String() != "12-a-b_c" {
		t.Errorf("got %v, %v", c, err)
	}
}

// What waits for its next attempt and is overdue is found by the event that says so.
func TestOverdueRetries(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	a := menutest.Key("a")
	f.submit(a, 4)
	at := menutest.Start().Add(time.Minute)
	fails := func(attempt int, at time.Time, ids ...menu.DishID) menu.StageAttemptFailed {
		return menu.StageAttemptFailed{Stage: menu.Task7, IDs: ids, Attempt: attempt, Reason: "timeout", Provider: "test", RetryAt: at}
	}
	f.stageEvents(a, fails(1, at, "a-0", "a-1"), fails(1, at.Add(time.Hour), "a-2"), fails(1, at, "a-3"))
	second := f.stageEvents(a, fails(2, at.Add(time.Second), "a-1"))
	f.stageEvents(a, menutest.Completed(menu.Task7, "a-3"))
	f.settle()
	for name, c := range map[string]struct {
		before time.Time
		limit  int
		want   []uint64
	}{
		"none":  {at, 10, nil},
		"first": {at.Add(time.Millisecond), 10, []uint64{2}},
		"both":  {at.Add(time.Minute), 10, []uint64{2, second}},
		"limit": {at.Add(time.Minute), 1, []uint64{2}},
	} {
		entries, err := f.queries.OverdueRetries(t.Context(), c.before, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for _, e := range entries {
			if _, is := e.Event.(menu.StageAttemptFailed); !is || e.Key != a || e.ID == "" {
				t.Errorf("%s: %+v", name, e)
			}
			got = append(got, e.Seq)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// Few failures among many rows are found by their index, also in a version that a rebuild made.
func TestFailuresUseTheirIndex(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	for i := range 30 {
		f.submit(menutest.Key(fmt.Sprintf("s%d", i)), 100)
	}
	f.stageEvents(menutest.Key("s7"), parked(menu.Allergen, "s7-3"))
	f.settle()
	if _, err := f.operations(f.log).Rebuild(t.Context(), projections.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	f.exec(t.Context(), "analyze v2.menus")
	rows, err := f.pool.Query(t.Context(), "explain select * from public.troubles where status = 'failed' order by seq, menu_id limit 10")
	if err != nil {
		t.Fatal(err)
	}
	var plan strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	if rows.Err() != nil || strings.Contains(plan.String(), "Seq Scan on menus") || !strings.Contains(plan.String(), "on menus") {
		t.Errorf("%v\n%s", rows.Err(), plan.String())
	}
}

// What is overdue is looked for every minute: no other body of history may be opened for it, whatever the planner thinks.
// A body that cannot be read shows whether it is.
func TestOverdueRetriesOpenNoOtherBody(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	f.inject("allergen.dreamt", `{"retry_at":"some day"}`)
	waiting, at := menutest.Key("waiting"), menutest.Start()
	f.submit(waiting, 1)
	f.stageEvents(waiting, menu.StageAttemptFailed{Stage: menu.Task7, IDs: []menu.DishID{"waiting-0"}, Attempt: 1, Reason: "timeout", Provider: "test", RetryAt: at})
	f.settle()
	cfg := f.pool.Config()
	cfg.ConnConfig.RuntimeParams["enable_nestloop"] = "off" // as the planner decides by itself on a large history
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	entries, err := projections.NewQueries(pool).OverdueRetries(t.Context(), at.Add(time.Hour), 10)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
}

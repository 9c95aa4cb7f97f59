package projections_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/projections"
)

func TestSaveWithSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	key := menutest.Key("s1")
	f.submit(key, 3)
	f.settle()
	if got := f.session(key); got.Items != 3 || got.Status != menu.SessionProcessing || got.Title != "おしながき" {
		t.Fatalf("session = %+v", got)
	}
	for i, row := range f.rows(key) {
		if row.SessionID != "s1" || row.Name != fmt.Sprintf("品書%d", i) || *row.Price != fmt.Sprintf("%d円", 300+i) {
			t.Fatalf("row %d = %+v", i, row)
		}
	}
	f.equalsFold(f.log, key)
}

func TestReadBySession(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	for _, s := range []string{"s1", "s2"} {
		f.submit(menutest.Key(s), 4)
	}
	f.settle()
	for _, s := range []string{"s1", "s2"} {
		rows, seq, err := f.queries.Menus(t.Context(), menutest.Key(s))
		if err != nil || seq != 2 || len(rows) != 4 {
			t.Fatalf("session %s: %d rows at %d, %v", s, len(rows), seq, err)
		}
		for i, row := range rows {
			if row.Position != i || row.SessionID != menu.SessionID(s) {
				t.Fatalf("row %d of session %s is %+v", i, s, row)
			}
		}
	}
	if _, _, err := f.queries.Menus(t.Context(), menutest.Key("s3")); !errors.Is(err, projections.ErrNotFound) {
		t.Fatalf("rows of an unknown session: %v", err)
	}
	other := menu.Key{Tenant: "other", Session: "s1"}
	if _, err := f.queries.Session(t.Context(), other); !errors.Is(err, projections.ErrNotFound) {
		t.Fatalf("session of another tenant: %v", err)
	}
}

func TestBasicCompletedAfterSaving(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	f.submit(menutest.Key("s1"), 1)
	f.settle()
	row := f.rows(menutest.Key("s1"))[0]
	if row.ProcessingStatus != menu.BasicCompleted {
		t.Fatalf("processing_status = %s", row.ProcessingStatus)
	}
	states, err := row.StageStates()
	if err != nil {
		t.Fatal(err)
	}
	for _, stage := range menu.Stages() {
		if states[stage].Status != menu.StagePending {
			t.Fatalf("%s = %s", stage, states[stage].Status)
		}
	}
}

func TestStepByStepUpdates(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	key := menutest.Key("s1")
	f.submit(key, 1)
	columns := map[menu.Stage]func(projections.MenuRow) string{
		menu.Translation:  func(r projections.MenuRow) string { return quote(r.Translation) },
		menu.Description:  func(r projections.MenuRow) string { return quote(r.Description) },
		menu.Allergen:     func(r projections.MenuRow) string { return string(r.Allergy) },
		menu.Ingredient:   func(r projections.MenuRow) string { return string(r.Ingredient) },
		menu.SearchEngine: func(r projections.MenuRow) string { return string(r.SearchEngine) },
		menu.Task6:        func(r projections.MenuRow) string { return string(r.Task6Data) },
		menu.Task7:        func(r projections.MenuRow) string { return string(r.Task7Data) },
		menu.Task8:        func(r projections.MenuRow) string { return string(r.Task8Data) },
	}
	for i, stage := range menu.Stages() {
		seq := f.stageEvents(key, menutest.Completed(stage, "s1-0"))
		f.settle()
		row := f.rows(key)[0]
		for other, column := range columns {
			if got := column(row); (other <= stage) != (got != "" && got != "null") {
				t.Fatalf("after %s, the column of %s is %s", stage, other, got)
			}
		}
		want := menu.Processing
		if i == menu.StageCount-1 {
			want = menu.DishCompleted
		}
		if row.ProcessingStatus != want || row.LastSeq != seq {
			t.Fatalf("after %s the row is %s at %d, want %s at %d", stage, row.ProcessingStatus, row.LastSeq, want, seq)
		}
		f.equalsFold(f.log, key)
	}
}

func quote(s *string) string {
	encoded, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(encoded)
}

func TestUpdateForUnknownDishChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	key, other := menutest.Key("s1"), menutest.Key("s2")
	f.submit(key, 1)
	f.submit(other, 1)
	f.settle()
	before := f.rows(key)[0]
	// Nobody's dish, another session's dish, and a session that does not exist.
	f.stageEvents(key, menutest.Completed(menu.Allergen, "nobody", "s2-0"))
	f.stageEvents(menutest.Key("s3"), menutest.Completed(menu.Allergen, "s1-0"))
	f.settle()
	if got := f.rows(key)[0]; got.LastSeq != before.LastSeq || got.Allergy != nil {
		t.Fatalf("the row changed: %+v", got)
	}
	for _, k := range []menu.Key{key, other, menutest.Key("s3")} {
		f.equalsFold(f.log, k)
	}
	if n := f.count("select count(*) from public.menus"); n != 2 {
		t.Fatalf("%d rows, want 2", n)
	}
}

func TestDuplicateIDIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	reservations := projections.NewReservations(f.pool, f.log)
	if err := reservations.Reserve(t.Context(), menutest.Key("s1"), []menu.DishID{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	err := reservations.Reserve(t.Context(), menutest.Key("s2"), []menu.DishID{"b", "c"})
	taken, ok := errors.AsType[*projections.TakenError](err)
	if !ok || len(taken.IDs) != 1 || taken.IDs[0] != "b" {
		t.Fatalf("Reserve = %v, want b taken", err)
	}
	if n := f.count("select count(*) from public.menu_ids where session_id = 's2'"); n != 0 {
		t.Fatalf("%d ids are reserved by the session that was refused", n)
	}
}

// A program that writes past the reservation costs nobody a row: the first session keeps its dish.
func TestDuplicateIDInTheLogStaysWithTheFirst(t *testing.T) {
	t.Parallel()
	for _, together := range []bool{true, false} {
		t.Run(fmt.Sprintf("SamePage=%v", together), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.menuEvent(menutest.Key("s1"), menutest.Submitted(menutest.Items("d", 2)))
			if !together {
				f.project(f.log, config())
				f.settle()
			}
			f.menuEvent(menutest.Key("s2"), menutest.Submitted(menutest.Items("d", 3)))
			f.stageEvents(menutest.Key("s2"), menutest.Completed(menu.Allergen, "d-0", "d-2"))
			if together {
				f.project(f.log, config())
			}
			f.settle()
			f.equalsFold(f.log, menutest.Key("s1"))
			if rows := f.rows(menutest.Key("s2")); len(rows) != 1 || rows[0].ID != "d-2" || rows[0].Allergy == nil {
				t.Fatalf("rows of the second session: %+v", rows)
			}
		})
	}
}

func TestBatchOf100Items(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	key := menutest.Key("s1")
	begin := time.Now()
	f.submit(key, 100)
	f.settle()
	stored := time.Since(begin)
	f.answer(key, menutest.Items("s1", 100))
	f.completed(f.log, key, 1)
	f.settle()
	t.Logf("100 dishes stored in %s, with eight answers each in %s", stored, time.Since(begin))
	if stored > 2*time.Second {
		t.Fatalf("100 dishes took %s", stored)
	}
	f.equalsFold(f.log, key)
	if got := f.session(key); got.Completed != 100 || got.Status != menu.SessionCompleted || !got.Closed {
		t.Fatalf("session = %+v", got)
	}
}

package projections_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/projections"
)

// equalsFold checks that the rows of a session are what a fold of its history says.
func (f *fixture) equalsFold(log store, key menu.Key) {
	f.Helper()
	if diff := f.settledDiff(log, key); diff != "" {
		f.Fatal(diff)
	}
}

// settledDiff compares the rows of a session with a fold of its history, at a moment when nothing is on its way.
func (f *fixture) settledDiff(log store, key menu.Key) string {
	f.Helper()
	for {
		last := f.last(log)
		f.waitFor(last)
		diff := f.foldDiff(log, key)
		if diff == "" || f.last(log) == last { // else the projector has appended a completion meanwhile
			return diff
		}
	}
}

func (f *fixture) foldDiff(log store, key menu.Key) string {
	entries, err := log.Load(f.Context(), key)
	if err != nil {
		return err.Error()
	}
	var want menu.Session
	for _, e := range entries {
		if e.Err == nil {
			want = menu.Evolve(want, e.Recorded)
		}
	}
	got, err := f.queries.Session(f.Context(), key)
	if !want.Exists() {
		if !errors.Is(err, projections.ErrNotFound) {
			return fmt.Sprintf("session %s that nobody submitted: %v, want ErrNotFound", key, err)
		}
		return ""
	}
	if err != nil {
		return err.Error()
	}
	if diff := jsonDiff(got, wantSession(want)); diff != "" {
		return fmt.Sprintf("session %s: %s", key, diff)
	}
	if got.Closed != want.Closed() || !got.LastTime.Equal(want.UpdatedAt) {
		return fmt.Sprintf("session %s: closed %v at %s, want %v at %s", key, got.Closed, got.LastTime, want.Closed(), want.UpdatedAt)
	}
	rows, _, err := f.queries.Menus(f.Context(), key)
	if err != nil {
		return err.Error()
	}
	dishes := slices.SortedFunc(maps.Values(want.Dishes), func(a, b menu.Dish) int { return a.Position - b.Position })
	if len(rows) != len(dishes) {
		return fmt.Sprintf("session %s has %d rows, want %d", key, len(rows), len(dishes))
	}
	for i, d := range dishes {
		if diff := jsonDiff(rows[i], wantRow(key, d)); diff != "" {
			return fmt.Sprintf("session %s, dish %s: %s", key, d.ID, diff)
		}
	}
	return ""
}

func wantSession(s menu.Session) map[string]any {
	stages := map[string]any{}
	for _, stage := range menu.Stages() {
		stages[stage.String()] = s.Stages[stage]
	}
	return map[string]any{
		"session_id": s.Key.Session, "tenant": s.Key.Tenant, "title": s.Title, "status": s.Status, "items": s.ItemCount,
		"completed": s.Completed, "failed": s.Failed, "stages": stages, "created_at": orNil(!s.CreatedAt.IsZero(), eventstore.FormatTime(s.CreatedAt)),
		"completed_at": orNil(!s.CompletedAt.IsZero(), eventstore.FormatTime(s.CompletedAt)), "last_seq": s.LastSeq,
	}
}

func wantRow(key menu.Key, d menu.Dish) map[string]any {
	text := func(stage menu.Stage, field string) any {
		var data map[string]any
		_ = json.Unmarshal(d.Stages[stage].Data, &data)
		s, _ := data[field].(string)
		return orNil(s != "", s)
	}
	data := func(stage menu.Stage) any { return orNil(len(d.Stages[stage].Data) > 0, d.Stages[stage].Data) }
	stages := map[string]any{}
	for _, stage := range menu.Stages() {
		state := d.Stages[stage]
		if state.Status == "" {
			state.Status = menu.StagePending
		}
		stages[stage.String()] = state
	}
	return map[string]any{
		"tenant": key.Tenant, "id": d.ID, "session_id": key.Session, "position": d.Position, "name": d.Name,
		"translation": text(menu.Translation, "translation"), "category": orNil(d.Category != "", d.Category),
		"category_translation": text(menu.Translation, "category_translation"), "price": orNil(d.Price != "", d.Price),
		"description": text(menu.Description, "description"), "allergy": data(menu.Allergen), "ingredient": data(menu.Ingredient),
		"search_engine": data(menu.SearchEngine), "gen_image": orNil(d.Image.URL != "", d.Image.URL), "task6_data": data(menu.Task6),
		"task7_data": data(menu.Task7), "task8_data": data(menu.Task8), "processing_status": d.Status(), "stages": stages,
		"created_at": eventstore.FormatTime(d.CreatedAt), "updated_at": eventstore.FormatTime(d.UpdatedAt), "last_seq": d.LastSeq,
	}
}

func orNil(is bool, value any) any {
	if is {
		return value
	}
	return nil
}

// jsonDiff compares two values by their JSON.
func jsonDiff(got, want any) string {
	var values [2]map[string]any
	for i, v := range []any{got, want} {
		encoded, err := json.Marshal(v)
		if err != nil {
			return err.Error()
		}
		if err := json.Unmarshal(encoded, &values[i]); err != nil {
			return err.Error()
		}
	}
	for _, key := range slices.Sorted(maps.Keys(values[1])) {
		if !reflect.DeepEqual(values[0][key], values[1][key]) {
			return fmt.Sprintf("%s = %v, want %v", key, values[0][key], values[1][key])
		}
	}
	if len(values[0]) != len(values[1]) {
		return fmt.Sprintf("keys %v, want %v", slices.Sorted(maps.Keys(values[0])), slices.Sorted(maps.Keys(values[1])))
	}
	return ""
}

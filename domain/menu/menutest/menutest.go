// Package menutest builds domain values for the tests of other packages.
package menutest

import (
	"encoding/json"
	"fmt"
	"time"

	"kondate/domain/menu"
)

// Start is the time at which sessions of tests begin.
func Start() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// Key returns a session of the default tenant.
func Key(session string) menu.Key {
	return menu.Key{Tenant: menu.DefaultTenant, Session: menu.SessionID(session)}
}

// Items returns n dishes with ids "<prefix>-0" and so on.
func Items(prefix string, n int) []menu.Item {
	items := make([]menu.Item, n)
	for i := range items {
		items[i] = menu.Item{
			ID: menu.DishID(fmt.Sprintf("%s-%d", prefix, i)), Position: i,
			Name: fmt.Sprintf("品書%d", i), Category: "一品", Price: fmt.Sprintf("%d円", 300+i),
		}
	}
	return items
}

// Submitted returns the one event of a submission of these dishes.
func Submitted(items []menu.Item) menu.Submitted {
	return menu.Submitted{
		Title: "おしながき", SourceLanguage: "ja", TargetLanguage: "en",
		ItemCount: len(items), Chunk: 1, Chunks: 1, Items: items,
	}
}

// Result returns a plausible result of a stage for a dish.
func Result(stage menu.Stage, id menu.DishID) menu.Result {
	data, err := json.Marshal(map[string]string{stage.String(): "result for " + string(id)})
	if err != nil {
		panic(err) // a map of strings always marshals
	}
	return menu.Result{
		Stage: stage, Status: menu.StatusOK, Provider: "test", ProviderVersion: "1",
		Basis: menu.BasisExact, Confidence: 0.9, Data: data, ElapsedMS: 1,
	}
}

// Completed returns the event with results of a stage for all these dishes, epoch 0, first attempt.
func Completed(stage menu.Stage, ids ...menu.DishID) menu.StageCompleted {
	e := menu.StageCompleted{Stage: stage}
	for _, id := range ids {
		e.Results = append(e.Results, menu.DishResult{ID: id, Attempt: 1, Result: Result(stage, id)})
	}
	return e
}

// IDs returns the ids of dishes.
func IDs(items []menu.Item) []menu.DishID {
	ids := make([]menu.DishID, len(items))
	for i, item := range items {
		ids[i] = item.ID
	}
	return ids
}

// Record gives events consecutive sequences and times, as a log would.
func Record(key menu.Key, events ...menu.Event) []menu.Recorded {
	records := make([]menu.Recorded, len(events))
	for i, e := range events {
		records[i] = menu.Recorded{
			Seq: uint64(i) + 1, ID: fmt.Sprintf("event-%d", i+1), Key: key,
			Time: Start().Add(time.Duration(i) * time.Second), Event: e,
		}
	}
	return records
}

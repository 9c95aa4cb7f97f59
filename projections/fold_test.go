package projections_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
)

// Whatever the log holds and however it is cut into pages, the rows are what one fold of it says.
func TestRowsEqualFold(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		var keys []menu.Key
		for i := range rapid.IntRange(1, 3).Draw(t, "sessions") {
			keys = append(keys, menutest.Key(fmt.Sprintf("r%d-s%d", round, i)))
		}
		events := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) keyedEvent {
			key := rapid.SampledFrom(keys).Draw(t, "session")
			return keyedEvent{key, drawEvent(t, key)}
		}), 1, 60).Draw(t, "events")
		for i, e := range events {
			msg, err := eventstore.Encode(e.key, eventstore.Proposed{Event: e.event, Time: menutest.Start(), Causation: fmt.Sprint(i)})
			if err != nil {
				t.Fatal(err)
			}
			f.log.Inject(msg)
		}
		size := rapid.IntRange(1, 20).Draw(t, "page")
		stop := f.project(faulty{store: f.log, follow: func(ctx context.Context, after uint64, fn func(context.Context, []eventstore.Entry) error) error {
			return f.log.Follow(ctx, after, func(ctx context.Context, page []eventstore.Entry) error {
				for len(page) > 0 {
					n := min(size, len(page))
					if err := fn(ctx, page[:n]); err != nil {
						return err
					}
					page = page[n:]
				}
				return nil
			})
		}}, config())
		defer stop() //nolint:errcheck // ends as its context does
		for _, key := range keys {
			if diff := f.settledDiff(f.log, key); diff != "" {
				t.Fatal(diff)
			}
		}
		f.holdsWholeLog()
	})
}

type keyedEvent struct {
	key   menu.Key
	event menu.Event
}

// drawEvent draws what a session's log may hold: likely, unlikely and impossible events.
func drawEvent(t *rapid.T, key menu.Key) menu.Event {
	const dishes = 3
	ids := make([]menu.DishID, dishes+1) // the last one is nobody's
	for i := range ids {
		ids[i] = menu.DishID(fmt.Sprintf("%s-%d", key.Session, i))
	}
	stage := rapid.SampledFrom(stages()).Draw(t, "stage")
	named := rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 1, dishes, rapid.ID[menu.DishID]).Draw(t, "dishes")
	epoch := rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2}).Draw(t, "epoch")
	switch rapid.IntRange(0, 30).Draw(t, "event") {
	case 0, 1, 2, 3:
		items := menutest.Items(string(key.Session), dishes)
		e := menutest.Submitted(items)
		e.Chunk, e.Chunks = rapid.IntRange(1, 2).Draw(t, "chunk"), 2
		if e.Items = items[:2]; e.Chunk == 2 {
			e.Items = items[2:]
			e.Items[0].Category, e.Items[0].Price = "", ""
		}
		return e
	case 4, 5:
		return menu.StageAttemptFailed{Stage: stage, IDs: named, Epoch: epoch, Attempt: rapid.IntRange(1, 3).Draw(t, "attempt"), Reason: "timeout", Error: "e"}
	case 6, 7, 8, 9:
		return menu.StageFailed{Stage: stage, IDs: named, Epoch: epoch, Attempts: 3, Reason: "refused", Error: "<&>\u2028", Provider: "p", Permanent: true}
	case 10, 11, 12:
		return menu.StageRetryRequested{Stage: stage, IDs: named, Epoch: epoch + 1, By: "me"}
	case 13:
		return menu.ImageRequested{ID: named[0], Epoch: epoch + 1}
	case 14:
		return menu.ImageCompleted{ID: named[0], Epoch: epoch + 1, URL: rapid.SampledFrom([]string{"", "/a", "/b"}).Draw(t, "url")}
	case 15:
		return menu.ImageFailed{ID: named[0], Epoch: epoch + 1, Reason: "r"}
	case 16:
		return menu.Completed{Round: rapid.IntRange(1, 3).Draw(t, "round"), FailedMenuIDs: []menu.DishID{}}
	case 17:
		return menu.Expired{Unanswered: 1}
	case 18:
		if rapid.IntRange(0, 9).Draw(t, "erase") == 0 {
			return menu.Erased{By: "me", Reason: "asked"}
		}
		return menu.Expired{}
	}
	e := menu.StageCompleted{Stage: stage}
	for _, id := range named {
		result := menutest.Result(stage, id)
		result.Data = rapid.SampledFrom([]json.RawMessage{
			result.Data, result.Data, json.RawMessage("null"), json.RawMessage(`{}`), json.RawMessage(`{"translation":7,"category_translation":"c","description":null}`),
			json.RawMessage(`{"translation":"","category_translation":null,"n":1.50}`),
		}).Draw(t, "data")
		result.Status = rapid.SampledFrom([]menu.ResultStatus{menu.StatusOK, menu.StatusUnknown, menu.StatusSkipped}).Draw(t, "status")
		e.Results = append(e.Results, menu.DishResult{ID: id, Epoch: epoch, Attempt: 1, Result: result})
	}
	return e
}

func stages() []menu.Stage {
	all := menu.Stages()
	return all[:]
}

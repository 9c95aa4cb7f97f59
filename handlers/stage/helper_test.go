package stage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a provider whose answers a test decides.
type scripted struct {
	answer func(ctx context.Context, r stage.Request) (menu.Result, error)

	mu    sync.Mutex // guards calls
	calls []stage.Request
}

func (p *scripted) Name() string    { return "scripted" }
func (p *scripted) Version() string { return "1" }

func (p *scripted) Answer(ctx context.Context, r stage.Request) (menu.Result, error) {
	p.mu.Lock()
	p.calls = append(p.calls, r)
	p.mu.Unlock()
	return p.answer(ctx, r)
}

// asked returns the ids of the dishes that were asked for so far, in order.
func (p *scripted) asked() []menu.DishID {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]menu.DishID, len(p.calls))
	for i, r := range p.calls {
		ids[i] = r.Item.ID
	}
	return ids
}

func (p *scripted) requests() []stage.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// ok is the result of a dish that a test does not care about.
func ok(r stage.Request) menu.Result {
	return menu.Result{
		Stage: r.Stage, Status: menu.StatusOK, Provider: "scripted", ProviderVersion: "1", Basis: menu.BasisExact,
		Confidence: 1, Data: json.RawMessage(`{"name":` + fmt.Sprintf("%q", r.Item.ID) + `}`),
	}
}

func answerOK(_ context.Context, r stage.Request) (menu.Result, error) { return ok(r), nil }

// config returns settings with one provider for all stages.
func config(p stage.Provider) stage.Config {
	cfg := stage.Config{
		Providers: map[menu.Stage]stage.Provider{}, MaxParallelTasks: 8, TaskTimeout: time.Minute, RetryAttempts: 3,
		RetryDelay: time.Minute, AckWait: 30 * time.Second, Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
	}
	for _, s := range menu.Stages() {
		cfg.Providers[s] = p
	}
	return cfg
}

func items(n int) []menu.Item {
	list := make([]menu.Item, n)
	for i := range list {
		list[i] = menu.Item{ID: menu.DishID(fmt.Sprintf("d%d", i)), Position: i, Name: fmt.Sprintf("料理%d", i), Category: "丼", Price: "¥900"}
	}
	return list
}

// submission proposes a menu of n dishes in chunks of 100.
func submission(tb testing.TB, key menu.Key, n int) []eventstore.Proposed {
	tb.Helper()
	events, err := menu.Submit(menu.Session{Key: key}, menu.SubmitMenu{
		Title: "test", SourceLanguage: "ja", TargetLanguage: "en", Items: items(n), ChunkItems: 100,
	})
	if err != nil {
		tb.Fatal(err)
	}
	proposed := make([]eventstore.Proposed, len(events))
	for i, e := range events {
		proposed[i] = eventstore.Proposed{Event: e, Time: time.Now()}
	}
	return proposed
}

// tally counts the terminal answers in a history, by stage, dish and epoch.
type answered struct {
	stage menu.Stage
	id    menu.DishID
	epoch int
}

func tally(history []eventstore.Entry) map[answered]int {
	counts := map[answered]int{}
	for _, entry := range history {
		switch e := entry.Event.(type) {
		case menu.StageCompleted:
			for _, r := range e.Results {
				counts[answered{e.Stage, r.ID, r.Epoch}]++
			}
		case menu.StageFailed:
			for _, id := range e.IDs {
				counts[answered{e.Stage, id, e.Epoch}]++
			}
		}
	}
	return counts
}

// ofType returns a history's events of one type.
func ofType[E menu.Event](history []eventstore.Entry) []E {
	var found []E
	for _, entry := range history {
		if e, is := entry.Event.(E); is {
			found = append(found, e)
		}
	}
	return found
}

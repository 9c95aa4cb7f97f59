package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
)

// made numbers the menus of a measurement, so that no two are the same.
type made struct {
	prefix string
	n      int
}

// menuEvents is one menu and every event of it.
type menuEvents struct {
	key       menu.Key
	submitted menu.Submitted
	answers   [menu.StageCount]menu.StageCompleted
}

// next makes a menu.
func (m *made) next() menuEvents {
	m.n++
	name := fmt.Sprintf("%s-%d", m.prefix, m.n)
	e := menuEvents{key: menu.Key{Tenant: menu.DefaultTenant, Session: menu.SessionID(name)}}
	items := make([]menu.Item, Dishes)
	for i := range items {
		items[i] = menu.Item{
			ID: menu.DishID(fmt.Sprintf("%s-%d", name, i)), Position: i, Name: fmt.Sprintf("鶏の唐揚げ%d", i), Category: "一品", Price: fmt.Sprintf("%d円", 300+i),
		}
	}
	e.submitted = menu.Submitted{Title: "おしながき", SourceLanguage: "ja", TargetLanguage: "en", ItemCount: Dishes, Chunk: 1, Chunks: 1, Items: items}
	for _, st := range menu.Stages() {
		e.answers[st].Stage = st
		for _, item := range items {
			e.answers[st].Results = append(e.answers[st].Results, menu.DishResult{ID: item.ID, Attempt: 1, Result: noopResult(st)})
		}
	}
	return e
}

// take makes n menus.
func (m *made) take(n int) []menuEvents {
	menus := make([]menuEvents, n)
	for i := range menus {
		menus[i] = m.next()
	}
	return menus
}

func proposed(e menu.Event) eventstore.Proposed {
	return eventstore.Proposed{Event: e, Time: time.Now(), Causation: "bench", Correlation: "bench"}
}

func encode(key menu.Key, e menu.Event) (*nats.Msg, error) {
	return eventstore.Encode(key, proposed(e))
}

// completed is the end of a menu.
func completed() menu.Completed {
	return menu.Completed{Round: 1, Items: Dishes, Completed: Dishes, FailedMenuIDs: []menu.DishID{}}
}

// noopData is what a stage knows of a dish, in size.
const noopData = `{"translation":"Chicken and egg rice bowl (oyakodon)","category_translation":"Rice bowls","keep_term":"oyakodon"}`

func noopResult(st menu.Stage) menu.Result {
	return menu.Result{
		Stage: st, Status: menu.StatusOK, Provider: "noop", ProviderVersion: "1", Basis: menu.BasisExact, Confidence: 1,
		Data: json.RawMessage(noopData),
	}
}

// noop is a provider that costs nothing.
type noop struct{}

func (noop) Name() string    { return "noop" }
func (noop) Version() string { return "1" }

// Answer answers at once, and the same whatever is asked.
func (noop) Answer(_ context.Context, r stage.Request) (menu.Result, error) {
	return noopResult(r.Stage), nil
}

// Noop returns providers that cost nothing, for all stages.
func Noop() map[menu.Stage]stage.Provider {
	providers := map[menu.Stage]stage.Provider{}
	for _, st := range menu.Stages() {
		providers[st] = noop{}
	}
	return providers
}

// publish sends without waiting for each acknowledgement, and then waits for all.
func publish(ctx context.Context, js jetstream.JetStream, msgs []*nats.Msg) error {
	futures := make([]jetstream.PubAckFuture, len(msgs))
	for i, msg := range msgs {
		future, err := js.PublishMsgAsync(msg, jetstream.WithStallWait(time.Minute))
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		futures[i] = future
	}
	for _, future := range futures {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			return fmt.Errorf("publish: %w", err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Empty is a submission that promises a dish and has none, so that nobody works on it.
func Empty() eventstore.Proposed {
	return proposed(menu.Submitted{Title: "bench", SourceLanguage: "ja", TargetLanguage: "en", ItemCount: 1, Chunk: 1, Chunks: 1, Items: []menu.Item{}})
}

// Answer is what one stage answers to a menu of the session.
func Answer(key menu.Key) eventstore.Proposed {
	return proposed((&made{prefix: string(key.Session)}).next().answers[menu.Allergen])
}

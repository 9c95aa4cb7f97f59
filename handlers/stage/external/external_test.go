package external_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"kondate/domain/menu"
	"kondate/handlers/stage"
	"kondate/handlers/stage/external"
	"kondate/streams"
	"kondate/streams/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// task is a request as a worker reads it.
type task struct {
	SessionID      string `json:"session_id"`
	SourceLanguage string `json:"source_language"`
	TargetLanguage string `json:"target_language"`
	Epoch          int    `json:"epoch"`
	Attempt        int    `json:"attempt"`
	Items          []struct {
		MenuID   string `json:"menu_id"`
		Position int    `json:"position"`
		Name     string `json:"name"`
		Category string `json:"category"`
		Price    string `json:"price"`
	} `json:"items"`
}

// worker answers requests as it likes; say sends a reply. It runs in a goroutine of its own for each request.
type worker func(t task, say func(final bool, body string))

// start connects a worker to the allergen stage for as long as its connection lasts.
func (w worker) start(tb testing.TB, nc *nats.Conn) {
	tb.Helper()
	_, err := nc.QueueSubscribe(streams.WorkFilter(menu.Allergen), streams.WorkQueue(menu.Allergen), func(m *nats.Msg) {
		var t task
		if err := json.Unmarshal(m.Data, &t); err != nil {
			tb.Errorf("request %s: %v", m.Data, err)
		}
		go w(t, func(final bool, body string) {
			r := nats.NewMsg(m.Reply)
			r.Data = []byte(body)
			if final {
				r.Header.Set(external.HeaderFinal, external.FinalValue)
			}
			_ = nc.PublishMsg(r) // after the test
		})
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// answer is a result in a reply's list of results. Of a dish with letters of ASCII only it knows nothing.
func answer(id, name string) string {
	status := "partial"
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz ") == "" {
		status = "unknown"
	}
	return fmt.Sprintf(`{"menu_id":%q,"result":{"stage":"allergen","status":%q,"provider":"test","provider_version":"1","basis":"none",`+
		`"confidence":0,"data":{"allergens":[],"by_standard":{"jp":[],"eu":[],"us":[]},"completeness":"unknown",`+
		`"declared_by_restaurant":[],"ask_staff":{"ja":"","translated":""},"disclaimer":""}}}`, id, status)
}

func results(list ...string) string { return `{"results":[` + strings.Join(list, ",") + `]}` }

// all answers every dish of a task in one reply.
func all(t task) string {
	var list []string
	for _, item := range t.Items {
		list = append(list, answer(item.MenuID, item.Name))
	}
	return results(list...)
}

func ask(ctx context.Context, nc *nats.Conn) (menu.Result, error) {
	return external.New(nc, menu.Allergen, "1").Answer(ctx, stage.Request{
		Key: menu.Key{Tenant: "acme", Session: "s1"}, Stage: menu.Allergen, SourceLanguage: "ja", TargetLanguage: "en",
		Item: menu.Item{ID: "d1", Position: 3, Name: "親子丼", Category: "丼", Price: "850円"}, Epoch: 2, Attempt: 3,
	})
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	nc := server.Conn()
	got := make(chan task, 1)
	worker(func(t task, say func(bool, string)) {
		got <- t
		say(false, results())
		say(false, results(answer("d1", "親子丼")))
		say(true, results(answer("d1", "later"))) // changes nothing
	}).start(t, server.Conn())
	result, err := ask(t.Context(), nc)
	if err != nil {
		t.Fatal(err)
	}
	if result.Provider != "test" || result.Status != menu.StatusPartial || result.Stage != menu.Allergen {
		t.Errorf("result %+v", result)
	}
	asked, err := json.Marshal(<-got)
	want := `{"session_id":"s1","source_language":"ja","target_language":"en","epoch":2,"attempt":3,` +
		`"items":[{"menu_id":"d1","position":3,"name":"親子丼","category":"丼","price":"850円"}]}`
	if err != nil || string(asked) != want {
		t.Errorf("asked %s, %v", asked, err)
	}
	if n := nc.NumSubscriptions(); n != 0 {
		t.Errorf("%d subscriptions are left", n)
	}
}

func TestAnswerFailures(t *testing.T) {
	t.Parallel()
	good := answer("d1", "親子丼")
	tests := map[string]struct {
		final     bool
		body      string
		reason    string
		permanent bool
		text      string
	}{
		"WorkerSays":     {true, `{"error":{"reason":"quota\tused\nup"}}`, "quota used up", false, ""},
		"WorkerSaysEnd":  {true, `{"error":{"reason":"refused","permanent":true}}`, "refused", true, ""},
		"LongReason":     {true, `{"error":{"reason":"` + strings.Repeat("長", 100) + `"}}`, strings.Repeat("長", 21), false, ""},
		"NoReason":       {true, `{"error":{}}`, "invalid_result", false, "error.reason: no text"},
		"PermanentText":  {true, `{"error":{"reason":"x","permanent":"yes"}}`, "invalid_result", false, "error.permanent"},
		"NoJSON":         {true, `nonsense`, "invalid_result", false, "not valid JSON"},
		"Empty":          {true, ``, "invalid_result", false, "the reply has no body"},
		"List":           {true, `[]`, "invalid_result", false, "the reply: no JSON object"},
		"Both":           {true, `{"results":[],"error":{"reason":"x"}}`, "invalid_result", false, "exactly one of"},
		"UnknownKey":     {true, `{"Results":[]}`, "invalid_result", false, `the key "Results" is unknown`},
		"NullResults":    {true, `{"results":null}`, "invalid_result", false, "results: no list"},
		"NoDish":         {true, `{"results":[{"result":{}}]}`, "invalid_result", false, "results[0].menu_id: no text"},
		"NoResult":       {true, `{"results":[{"menu_id":"d1"}]}`, "invalid_result", false, "results[0].result: missing"},
		"UnknownDish":    {true, results(answer("d2", "x")), "invalid_result", false, `asked was "d1"`},
		"UnknownBeside":  {true, results(good, answer("d2", "x")), "invalid_result", false, `results[1].result is for the dish "d2"`},
		"Twice":          {true, results(good, good), "invalid_result", false, "the second one"},
		"OtherStage":     {true, results(strings.Replace(good, `"allergen"`, `"task6"`, 1)), "invalid_result", false, `results[0].result: the result is of another stage`},
		"DataField":      {true, results(strings.Replace(good, `"disclaimer"`, `"allergen_free":true,"disclaimer"`, 1)), "invalid_result", false, "'allergen_free' not allowed"},
		"OurName":        {true, results(strings.Replace(good, `"test"`, `"local"`, 1)), "invalid_result", false, `provider: "local"`},
		"Incomplete":     {true, results(), "incomplete", false, "without a result"},
		"WrongType":      {true, results(strings.Replace(good, `"disclaimer":""`, `"disclaimer":1`, 1)), "invalid_result", false, "data.disclaimer: got number"},
		"RepeatedHeader": {false, `{"error":{"reason":"x"},"error":{"reason":"y"}}`, "invalid_result", false, "the key is there twice"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := natstest.New(t)
			worker(func(_ task, say func(bool, string)) { say(test.final, test.body) }).start(t, server.Conn())
			_, err := ask(t.Context(), server.Conn())
			e, ok := errors.AsType[*stage.Error](err)
			if !ok || e.Reason != test.reason || e.Permanent != test.permanent || !strings.Contains(err.Error(), test.text) {
				t.Errorf("err = %v (%+v), want reason %q and %q", err, e, test.reason, test.text)
			}
		})
	}
}

func TestAnswerWithoutWorker(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	nc := server.Conn()
	_, err := ask(t.Context(), nc)
	if e, ok := errors.AsType[*stage.Error](err); !ok || e.Reason != external.ReasonNoResponders || e.Permanent {
		t.Fatalf("err = %v", err)
	}
	worker(func(task, func(bool, string)) {}).start(t, server.Conn())
	late := errors.New("late")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, late)
	defer cancel()
	if _, err := ask(ctx, nc); !errors.Is(err, late) {
		t.Errorf("a silent worker: %v", err)
	}
	if n := nc.NumSubscriptions(); n != 0 {
		t.Errorf("%d subscriptions are left", n)
	}
	nc.Close()
	if _, err := ask(t.Context(), nc); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("a closed connection: %v", err)
	}
}

package eventstore_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
)

const wantID = "d334c4d9-ef79-57a2-aa1c-0dae4824ab55"

var update = flag.Bool("update", false, "write missing golden files of the current versions; released ones are never rewritten")

// golden is a recorded message as it stands in testdata, for ever.
type golden struct {
	Subject string          `json:"subject"`
	Header  nats.Header     `json:"header"`
	Data    json.RawMessage `json:"data"`
}

// sample returns the event that the golden file of a type holds.
func sample(t *testing.T, typ menu.Type) menu.Event {
	t.Helper()
	ids := []menu.DishID{"d-0", "d-1"}
	at := menutest.Start().Add(90 * time.Second)
	samples := []menu.Event{
		menutest.Submitted(menutest.Items("d", 2)),
		menu.Completed{Round: 2, Items: 2, Completed: 1, Failed: 1, FailedMenuIDs: ids[:1], DurationMS: 1234},
		menu.Expired{Unanswered: 7},
		menu.Erased{By: "guest", Reason: "asked for"},
		menu.ImageRequested{ID: "d-0", Epoch: 1},
		menu.ImageCompleted{ID: "d-0", Epoch: 1, URL: "/v1/menus/d-0/image.svg", MediaType: "image/svg+xml", Generated: true, Attribution: "own work"},
		menu.ImageFailed{ID: "d-0", Epoch: 1, Reason: "no font"},
	}
	for _, stage := range menu.Stages() {
		samples = append(
			samples,
			menutest.Completed(stage, ids...),
			menu.StageAttemptFailed{Stage: stage, IDs: ids, Epoch: 1, Attempt: 2, Reason: "timeout", Error: "no answer in 300s", Provider: "test", RetryAt: at},
			menu.StageFailed{Stage: stage, IDs: ids, Epoch: 1, Attempts: 3, Reason: "timeout", Error: "no answer in 300s", Provider: "test", Permanent: true},
			menu.StageRetryRequested{Stage: stage, IDs: ids, Epoch: 2, By: "operator"},
		)
	}
	for _, e := range samples {
		if e.Type() == typ {
			return e
		}
	}
	t.Fatalf("there is no sample of %s: add one", typ)
	return nil
}

// Every released version of every event is decoded for ever, and reads as the newest one.
func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	files := map[string]bool{}
	for _, def := range eventstore.Registry() {
		for version := 1; version <= def.Version; version++ {
			name := fmt.Sprintf("%s.v%d", def.Type, version)
			files[name+".json"] = true
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				checkGolden(t, def, version)
			})
		}
	}
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() && !files[e.Name()] {
			t.Errorf("testdata/%s was released and is not in the registry any more: it has to be read for ever", e.Name())
		}
	}
}

func checkGolden(t *testing.T, def eventstore.Definition, version int) {
	t.Helper()
	want := sample(t, def.Type)
	file := filepath.Join("testdata", fmt.Sprintf("%s.v%d.json", def.Type, version))
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) && version == def.Version && *update {
		writeGolden(t, file, want)
	}
	g := readGolden(t, file)
	e := eventstore.Decode(g.Subject, 1, time.Time{}, g.Header, g.Data)
	if e.Err != nil {
		t.Fatal(e.Err)
	}
	if old, ok := want.(menu.StageAttemptFailed); ok && version == 1 {
		old.Provider = "" // version 1 did not say
		want = old
	}
	if !reflect.DeepEqual(normalised(t, e.Event), normalised(t, want)) {
		t.Fatalf("decoded\n%+v, want\n%+v", e.Event, want)
	}
	if e.Version != version || e.Type != def.Type || e.Key != menutest.Key("s1") || e.Causation != "cause" {
		t.Fatalf("decoded %+v", e)
	}
	if string(e.Data) != string(g.Data) {
		t.Errorf("the body is %s, want it as recorded", e.Data)
	}
}

func readGolden(t *testing.T, file string) golden {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("every released version has a golden file (go test ./eventstore -run Golden -update writes it): %v", err)
	}
	var g golden
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// normalised compares events as JSON values: raw JSON inside them may be laid out in another way.
func normalised(t *testing.T, e menu.Event) any {
	t.Helper()
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func writeGolden(t *testing.T, file string, e menu.Event) {
	t.Helper()
	msg, err := eventstore.Encode(menutest.Key("s1"), eventstore.Proposed{
		Event: e, Time: menutest.Start(), Causation: "cause", Correlation: "chain",
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.MarshalIndent(golden{msg.Subject, msg.Header, msg.Data}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(raw, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The id is part of the contract: other programs derive it too, so the value is written down here.
func TestEventID(t *testing.T) {
	t.Parallel()
	id, err := eventstore.EventID(menutest.Key("s1"), "cause", menutest.Completed(menu.Allergen, "d-0"))
	if err != nil {
		t.Fatal(err)
	}
	// uuid5(6f0b7c1e-3f0a-5c52-9d0e-1a7c3b9e4d21, '["public","s1","allergen","completed","cause",0,[["d-0",0,1]]]')
	if id != wantID {
		t.Fatalf("id = %s, want %s", id, wantID)
	}
	other, err := eventstore.EventID(menutest.Key("s1"), "cause", menu.Completed{Round: 2})
	if err != nil {
		t.Fatal(err)
	}
	again, err := eventstore.EventID(menutest.Key("s1"), "cause", menu.Completed{Round: 2, Items: 9})
	if err != nil || other != again {
		t.Fatalf("ids of one completion round differ: %s, %s, %v", other, again, err)
	}
}

// The id is written by hand for speed; it stays what encoding/json would make of the array.
func TestEventIDIsOverJSON(t *testing.T) {
	t.Parallel()
	namespace := uuid.MustParse("6f0b7c1e-3f0a-5c52-9d0e-1a7c3b9e4d21")
	rapid.Check(t, func(t *rapid.T) {
		id, causation := rapid.String().Draw(t, "dish"), rapid.String().Draw(t, "causation")
		epoch := rapid.IntRange(0, 1000).Draw(t, "epoch")
		name, err := json.Marshal([]any{"public", "s1", "task6", "retry_requested", causation, 0, []any{[]any{id, epoch, 0}}})
		if err != nil {
			t.Fatal(err)
		}
		want := uuid.NewSHA1(namespace, name).String()
		got, err := eventstore.EventID(menutest.Key("s1"), causation, menu.StageRetryRequested{Stage: menu.Task6, IDs: []menu.DishID{menu.DishID(id)}, Epoch: epoch})
		if err != nil || got != want {
			t.Fatalf("id = %s, %v; want %s over %s", got, err, want, name)
		}
	})
}

func TestDecodeSetsAside(t *testing.T) {
	t.Parallel()
	good := func() *nats.Msg {
		msg, err := eventstore.Encode(menutest.Key("s1"), eventstore.Proposed{Event: menutest.Completed(menu.Allergen, "d-0"), Time: menutest.Start()})
		if err != nil {
			t.Fatal(err)
		}
		return msg
	}
	if e := decode(good()); e.Err != nil {
		t.Fatal(e.Err)
	}
	tests := map[string]struct {
		change func(*nats.Msg)
		want   error
	}{
		"ForeignSubject": {func(m *nats.Msg) { m.Subject = "menu.evt.x" }, eventstore.ErrMalformed},
		"NoHeaders":      {func(m *nats.Msg) { m.Header = nil }, eventstore.ErrMalformed},
		"RepeatedHeader": {func(m *nats.Msg) { m.Header.Add(eventstore.HeaderID, "again") }, eventstore.ErrMalformed},
		"NoTime":         {func(m *nats.Msg) { m.Header.Del(eventstore.HeaderTime) }, eventstore.ErrMalformed},
		"BadTime":        {func(m *nats.Msg) { m.Header.Set(eventstore.HeaderTime, "yesterday") }, eventstore.ErrMalformed},
		"BadVersion":     {func(m *nats.Msg) { m.Header.Set(eventstore.HeaderSchema, "one") }, eventstore.ErrMalformed},
		"UnknownVersion": {func(m *nats.Msg) { m.Header.Set(eventstore.HeaderSchema, "99") }, eventstore.ErrUnknownEvent},
		"UnknownType":    {func(m *nats.Msg) { m.Subject = strings.Replace(m.Subject, "completed", "burnt", 1) }, eventstore.ErrUnknownEvent},
		"NoJSON":         {func(m *nats.Msg) { m.Data = []byte("{") }, eventstore.ErrMalformed},
		"TwoValues":      {func(m *nats.Msg) { m.Data = append(m.Data, "{}"...) }, eventstore.ErrMalformed},
		"OtherStage":     {func(m *nats.Msg) { m.Subject = strings.Replace(m.Subject, "allergen", "task6", 1) }, eventstore.ErrMalformed},
		"UnknownStage":   {func(m *nats.Msg) { m.Data = []byte(`{"stage":"DROP","results":[]}`) }, eventstore.ErrMalformed},
		"NoStage": {func(m *nats.Msg) {
			m.Subject = strings.Replace(m.Subject, "allergen", "translation", 1)
			m.Data = []byte(`{"results":[]}`)
		}, eventstore.ErrMalformed},
		"NullBody": {func(m *nats.Msg) {
			m.Subject = strings.Replace(m.Subject, "allergen.completed", "translation.failed", 1)
			m.Header.Set(eventstore.HeaderSchema, "1")
			m.Data = []byte(`null`)
		}, eventstore.ErrMalformed},
		"BadConfidence":   {func(m *nats.Msg) { m.Data = []byte(strings.Replace(string(m.Data), "0.9", "1.7", 1)) }, eventstore.ErrMalformed},
		"ResultIsFailure": {func(m *nats.Msg) { m.Data = []byte(strings.Replace(string(m.Data), `"ok"`, `"failed"`, 1)) }, eventstore.ErrMalformed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			msg := good()
			test.change(msg)
			e := decode(msg)
			if !errors.Is(e.Err, test.want) || e.Event != nil {
				t.Fatalf("Err = %v, Event = %v; want %v and none", e.Err, e.Event, test.want)
			}
		})
	}
}

func decode(msg *nats.Msg) eventstore.Entry {
	return eventstore.Decode(msg.Subject, 1, menutest.Start(), msg.Header, msg.Data)
}

// Nothing that anybody writes to the log makes decoding panic, and an entry is an event or says why it is none.
func FuzzDecode(f *testing.F) {
	for _, typ := range []menu.Type{"menu.submitted", "allergen.completed", "task6.attempt_failed", "image.completed", "nobody.knows"} {
		f.Add("menu.evt.public.s1."+string(typ), "1", menutest.Start().Format(time.RFC3339), []byte(`{"stage":"allergen","results":[{"menu_id":"d"}]}`))
	}
	f.Add("menu.evt.*.>", "-1", "", []byte("\x00\xff"))
	f.Add("menu.evt.public.s1.menu.erased", "1", "2026-01-02T03:04:05.123456789+09:00", []byte(`{}`))
	f.Fuzz(func(t *testing.T, subject, version, at string, data []byte) {
		e := eventstore.Decode(subject, 7, menutest.Start().Add(time.Nanosecond), nats.Header{
			eventstore.HeaderID: {"id"}, eventstore.HeaderTime: {at}, eventstore.HeaderSchema: {version},
		}, data)
		if (e.Err == nil) == (e.Event == nil) {
			t.Fatalf("Event %v and Err %v", e.Event, e.Err)
		}
		if e.Err == nil && e.Event.Type() != e.Type {
			t.Fatalf("a %s on the subject of %s", e.Event.Type(), e.Type)
		}
		if !e.Time.Equal(e.Time.Truncate(time.Microsecond)) {
			t.Fatalf("its time is %s, which history cannot hold", e.Time)
		}
	})
}

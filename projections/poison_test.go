package projections_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
)

// header returns the headers of a well-formed event.
func header(typ menu.Type) nats.Header {
	return nats.Header{
		eventstore.HeaderID: {"id-" + string(typ)}, eventstore.HeaderType: {string(typ)},
		eventstore.HeaderTime: {"2026-11-23T12:00:00.000000Z"}, eventstore.HeaderSchema: {"1"},
	}
}

// inject puts a body into the log as the next event of session s1.
func (f *fixture) inject(typ menu.Type, body string) uint64 {
	return f.log.Inject(&nats.Msg{Subject: "menu.evt.public.s1." + string(typ), Header: header(typ), Data: []byte(body)})
}

func completedBody(stage menu.Stage, id, data string) string {
	return fmt.Sprintf(`{"stage":%q,"results":[{"menu_id":%q,"epoch":0,"attempt":1,"result":{"stage":%q,"status":"ok","provider":"p","basis":"none","confidence":1,"data":%s}}]}`,
		stage, id, stage, data)
}

// Whatever other programs write into the log is recorded with its reason, and the events after it are folded.
func TestPoisonIsRecordedAndPassedOver(t *testing.T) {
	t.Parallel()
	poison := map[string]func(f *fixture) uint64{
		"NoJSON":      func(f *fixture) uint64 { return f.inject("allergen.completed", "{oops") },
		"EmptyBody":   func(f *fixture) uint64 { return f.inject("allergen.completed", "") },
		"Binary":      func(f *fixture) uint64 { return f.inject("allergen.completed", "\x00\xff\xfe") },
		"TwoValues":   func(f *fixture) uint64 { return f.inject("menu.expired", `{} {}`) },
		"UnknownType": func(f *fixture) uint64 { return f.inject("allergen.dreamt", `{}`) },
		"Megabyte":    func(f *fixture) uint64 { return f.inject("allergen.completed", strings.Repeat("x", 1<<20)) },
		"DeepNesting": func(f *fixture) uint64 {
			return f.inject("allergen.dreamt", strings.Repeat("[", 9999)+strings.Repeat("]", 9999))
		},
		"HugeNumber": func(f *fixture) uint64 {
			return f.inject("allergen.completed", completedBody(menu.Allergen, "s1-0", `{"n":1e999999}`))
		},
		"UnknownDish": func(f *fixture) uint64 {
			return f.inject("allergen.completed", completedBody(menu.Allergen, "no-such-dish", `{}`))
		},
		"LongID":    func(f *fixture) uint64 { return f.inject("menu.submitted", submittedBody(strings.Repeat("é", 1<<19))) },
		"NULInID":   func(f *fixture) uint64 { return f.inject("menu.submitted", submittedBody(`a\u0000b`)) },
		"NoHeaders": func(f *fixture) uint64 { return f.log.Inject(&nats.Msg{Subject: "menu.evt.public.s1.menu.expired"}) },
		"UnknownVersion": func(f *fixture) uint64 {
			msg := &nats.Msg{Subject: "menu.evt.public.s1.menu.expired", Header: header("menu.expired"), Data: []byte("{}")}
			msg.Header.Set(eventstore.HeaderSchema, "9223372036854775807")
			return f.log.Inject(msg)
		},
		"RepeatedHeader": func(f *fixture) uint64 {
			msg := &nats.Msg{Subject: "menu.evt.public.s1.menu.expired", Header: header("menu.expired"), Data: []byte("{}")}
			msg.Header.Add(eventstore.HeaderID, "another")
			msg.Header.Add("x-binary", "\x00\xff")
			return f.log.Inject(msg)
		},
		"NoSession": func(f *fixture) uint64 {
			return f.log.Inject(&nats.Msg{Subject: "menu.evt.oh\xff\x00", Data: []byte("{}")})
		},
	}
	for name, put := range poison {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			key := menutest.Key("s1")
			items := f.submit(key, 2)
			seq := put(f)
			f.answer(key, items)
			f.project(f.log, config())
			f.completed(f.log, key, 1)
			f.settle()
			var (
				reason string
				raw    []byte
			)
			if err := f.pool.QueryRow(t.Context(), "select error, coalesce(raw, convert_to(data::text, 'UTF8')) from public.history where seq = $1", seq).Scan(&reason, &raw); err != nil {
				t.Fatalf("the poison is not recorded: %v", err)
			}
			if entry := f.entry(seq); !bytes.Equal(raw, entry.Data) {
				t.Fatalf("the recorded body has %d bytes and is another one, want %d", len(raw), len(entry.Data))
			}
			if reason == "" {
				t.Fatal("the poison is recorded without a reason")
			}
			f.holdsWholeLog()
			if got := f.session(key); got.Completed != 2 || got.Status != menu.SessionCompleted {
				t.Fatalf("session = %+v", got)
			}
		})
	}
}

func submittedBody(id string) string {
	return `{"title":"t","source_language":"ja","target_language":"en","item_count":1,"chunk":1,"chunks":1,"items":[{"menu_id":"` + id + `","position":0,"name":"n"}]}`
}

// entry returns a message of the log.
func (f *fixture) entry(seq uint64) eventstore.Entry {
	f.Helper()
	var (
		found eventstore.Entry
		done  = errors.New("done")
	)
	err := f.log.Follow(f.Context(), seq-1, func(_ context.Context, page []eventstore.Entry) error {
		found = page[0]
		return done
	})
	if !errors.Is(err, done) {
		f.Fatal(err)
	}
	return found
}

// Text that Postgres cannot hold is folded like any other: rows show U+FFFD in its place, history keeps the bytes.
func TestTextThatPostgresCannotHold(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	key := menutest.Key("s1")
	body := strings.NewReplacer(`"t"`, `"t\u0000"`, `"n"`, "\"n\\u0000\xff\\ud800\"").Replace(submittedBody("d"))
	submitted := f.inject("menu.submitted", body)
	for _, stage := range menu.Stages() {
		data := fmt.Sprintf(`{%q:"a\u0000b\ud800c`+"\xff"+`d\\u0000"}`, stage)
		f.inject(menu.Type(stage.String()+".completed"), completedBody(stage, "d", data))
	}
	f.completed(f.log, key, 1)
	f.settle()
	if got := f.session(key); got.Title != "t\ufffd" || got.Completed != 1 {
		t.Fatalf("session = %+v", got)
	}
	row := f.rows(key)[0]
	if row.Name != "n\ufffd\ufffd\ufffd" || *row.Translation != "a\ufffdb\ufffdc\ufffdd\\u0000" {
		t.Fatalf("row = %+v", row)
	}
	var allergy map[string]string
	if err := json.Unmarshal(row.Allergy, &allergy); err != nil || allergy["allergen"] != "a\ufffdb\ufffdc\ufffdd\\u0000" {
		t.Fatalf("allergy = %s, %v", row.Allergy, err)
	}
	history, err := f.queries.History(t.Context(), key, 0, 1)
	if err != nil || history[0].Seq != submitted || string(history[0].Data) != body || history[0].Err != "" {
		t.Fatalf("history = %+v, %v", history, err)
	}
	// Analysts can read what they select.
	if n := f.count("select count(*) from public.history where data->>'title' is not null or data->'results'->0->>'menu_id' = 'd'"); n != 9 {
		t.Fatalf("%d events can be read in SQL, want 9", n)
	}
}

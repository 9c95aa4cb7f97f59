package projections_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
	"kondate/projections"
)

// FuzzCleanJSON checks the promise to Postgres, cheaply: no NUL, no half of a surrogate pair, nothing but UTF-8, and the
// same value otherwise.
func FuzzCleanJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `"\u0000"`, `"\\u0000"`, `"\\\u0000"`, `"\ud83c\udf63"`, `"\ud83c"`, `"\ud83c\ud83c\udf63"`, `"\udf63\ud83c"`,
		"\"\xff\"", "\"\xff\xff\"", `{"a\u0000":["\u00e9","\n","\"","\\"]}`, `"\ud83c\\udf63"`, `"\uD83C\uDF63"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		clean, exact := projections.CleanJSON(data)
		if exact != (string(clean) == string(data)) {
			t.Fatalf("exact = %v: %q became %q", exact, data, clean)
		}
		var got, want any
		if err := json.Unmarshal(clean, &got); err != nil {
			t.Fatalf("%q became %q: %v", data, clean, err)
		}
		if err := json.Unmarshal(data, &want); err != nil {
			return // a number beyond float64
		}
		encode := func(v any) string {
			out, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return strings.ReplaceAll(string(out), `\u0000`, "\ufffd")
		}
		if encode(got) != encode(want) {
			t.Fatalf("%q became %q", data, clean)
		}
		if !utf8.Valid(clean) || strings.Contains(encodeStrict(t, got), `\u0000`) {
			t.Fatalf("%q became %q, which Postgres refuses", data, clean)
		}
	})
}

func encodeStrict(t *testing.T, v any) string {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(out), `\\`, "")
}

// Postgres itself takes what CleanJSON returns.
func TestCleanJSONIsWhatPostgresTakes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, data := range []string{
		`"\u0000"`, `"\\u0000"`, `"\\\u0000"`, `"\ud83c\udf63"`, `"\ud83c"`, `"\ud83c\ud83c\udf63"`, `"\udf63\ud83c"`, "\"\xff\"",
		`{"a\u0000":1}`, `"\ud83c\\udf63"`, `"\ud83cx"`, `"\ud83c\n"`, `"\uD83C\uDF63"`, `"\uDBFF\uDFFF"`,
	} {
		clean, _ := projections.CleanJSON([]byte(data))
		var got string
		if err := f.pool.QueryRow(t.Context(), "select $1::jsonb::text", string(clean)).Scan(&got); err != nil {
			t.Errorf("%q became %q: %v", data, clean, err)
		}
	}
}

// FuzzProjector puts arbitrary messages into the log: each is recorded, none blocks.
func FuzzProjector(f *testing.F) {
	for _, seed := range []string{"", "{}", "\x00", completedBody(menu.Allergen, "s1-0", "{}"), submittedBody("s1-0"), submittedBody(`\u0000`)} {
		f.Add("menu.submitted", "x", "1", []byte(seed))
		f.Add("allergen.completed", "\xff", "2", []byte(seed))
	}
	fixture := newFixture(f)
	fixture.project(fixture.log, config())
	f.Fuzz(func(t *testing.T, typ, id, version string, body []byte) {
		h := header(menu.Type(typ))
		h.Set("ce-id", id)
		h.Set("Kondate-Schema", version)
		in := *fixture
		in.TB = t
		seq := in.log.Inject(&nats.Msg{Subject: "menu.evt.public.s1." + typ, Header: h, Data: body})
		in.waitFor(seq)
		if n := in.count("select count(*) from public.history where seq = $1", seq); n != 1 {
			t.Fatal("the message is not recorded")
		}
	})
}

package httpapi_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"kondate/domain/menu"
	"kondate/handlers/httpapi"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	got, err := httpapi.Decode([]byte("\ufeff" + ` {"title":"お品書き","source_language":"zh_hant","target_language":null,"items":[
		{"id":"a-1","name":"親子丼","category":null,"price":850},
		{"name":"x","name":" もりそば ","price":1.50e1},
		{"name":"ラーメン\ud83c","price":"時価"}]} `))
	if err != nil {
		t.Fatal(err)
	}
	want := httpapi.Decoded{Title: "お品書き", Source: "zh-Hant", Target: "en", Items: []menu.Item{
		{ID: "a-1", Name: "親子丼", Price: "850"}, {Name: " もりそば ", Price: "1.50e1"}, {Name: "ラーメン\ufffd", Price: "時価"},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %+v\nwant    %+v", got, want)
	}
}

// What is wrong with a body is said with its place.
func TestDecodeNamesTheField(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, tt := range []struct{ body, field, says string }{
		{``, "", "empty"},
		{" \n\t", "", "empty"},
		{"\ufeff", "", "empty"},
		{`{"items":[`, "", "line 1, column"},
		{"{\"items\":\n[{\"name\":\"冷奴\" x}]}", "", "line 2, column 15"},
		{`{} {}`, "", "after top-level value"},
		{"{\"title\":\"\x93\x56\"}", "", "UTF-8 (line 1, column 11)"},
		{"\xff\xfe{\x00", "", "UTF-16"},
		{deep(64), "body", "must be an object"},
		{deep(65), "", "64 levels of objects and arrays (line 1, column 65)"},
		{strings.Repeat("[", 1_000_000), "", "64 levels"},
		{`{"title":"\\\"` + strings.Repeat("[", 100) + `",` + deep(64), "", "64 levels"}, // brackets in a text do not count
		{`{"title":"\"` + strings.Repeat("[{", 100) + `\\","x":` + deep(63) + `}`, "x", "no field"},
		{`null`, "body", "must be an object, not null"},
		{`"menu"`, "body", "must be an object, not a string"},
		{`{"title":1}`, "title", "must be a string, not a number"},
		{`{"titel":"x"}`, "titel", "known are title"},
		{`{"` + strings.Repeat("k", 5000) + `":0}`, strings.Repeat("k", 64) + "…", "no field"},
		{`{"targetLanguage":"de"}`, "targetLanguage", "no field"},
		{`{"items":{}}`, "items", "must be an array, not an object"},
		{`{"items":[null]}`, "items[0]", "must be an object, not null"},
		{`{"items":[{"name":"a"},{"name":true}]}`, "items[1].name", "must be a string, not true or false"},
		{`{"items":[{"name":"a"},{"name":["x",{"y":[1]}],"price":{}}]}`, "items[1].price", "must be a string, not an object"},
		{`{"items":[{"name":` + deep(61) + `}]}`, "items[0].name", "not an array"},
		{`{"items":[{"nam":"a"}]}`, "items[0].nam", "known are id, name"},
		{`{"items":[{"Name":"a"}]}`, "items[0].Name", "known are id, name"},
		{`{"items":[{"` + strings.Repeat("長", 5000) + `":"a"}]}`, "items[0]." + strings.Repeat("長", 64) + "…", "no field"},
		{`{"items":[{"id":"","name":"a"}]}`, "items[0].id", "empty"},
		{`{"items":[{"id":"a.b","name":"a"}]}`, "items[0].id", "may hold only"},
		{`{"items":[{"id":7,"name":"a"}]}`, "items[0].id", "must be a string"},
		{`{"items":[` + strings.Repeat(`{},`, menu.MaxItems) + `{}]}`, "items", "more than 10000"},
		{`{"source_language":""}`, "source_language", "no language tag"},
		{`{"source_language":"und"}`, "source_language", "no language tag"},
		{`{"source_language":"und-JP"}`, "source_language", "no language tag"},
		{`{"source_language":"xx"}`, "source_language", "no language tag"},
		{`{"source_language":"x-ignore-this"}`, "source_language", "no language tag"},
		{`{"target_language":"en-x-ignore-previous"}`, "target_language", "no language tag"},
		{`{"target_language":"japanese please"}`, "target_language", "no language tag"},
		{`{"target_language":"` + strings.Repeat("en-", 4000) + `US"}`, "target_language", "at most 35"},
	} {
		_, err := httpapi.Decode([]byte(tt.body))
		if err == nil {
			t.Errorf("%.80q was taken", tt.body)
			continue
		}
		invalid, ok := errors.AsType[*menu.InvalidError](err)
		if tt.field == "" {
			if ok || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%.80q: %.300v, want %q", tt.body, err, tt.says)
			}
			continue
		}
		if !ok {
			t.Errorf("%.80q: %.300v, want a problem of %.80s", tt.body, err, tt.field)
			continue
		}
		if f := invalid.Fields[len(invalid.Fields)-1]; f.Field != tt.field || !strings.Contains(f.Problem, tt.says) {
			t.Errorf("%.80q: %.300v, want %.80s: %q", tt.body, f, tt.field, tt.says)
		}
	}
}

func TestDecodeBoundsItsProblems(t *testing.T) {
	t.Parallel()
	_, err := httpapi.Decode([]byte(`{"items":[` + strings.Repeat(`{"name":1},`, 500) + `1]}`))
	invalid, ok := errors.AsType[*menu.InvalidError](err)
	if !ok || len(invalid.Fields) != 20 {
		t.Fatalf("err = %.200v", err)
	}
}

// Whatever bytes come in: they are refused as a client's fault, or decoded into text that says the same when it is
// written down and read again.
func FuzzDecode(f *testing.F) {
	text, err := os.ReadFile("testdata/nasty_inputs.json")
	if err != nil {
		f.Fatal(err)
	}
	var file struct{ Inputs []nasty }
	if err := json.Unmarshal(text, &file); err != nil {
		f.Fatal(err)
	}
	for _, n := range file.Inputs {
		f.Add([]byte(n.Input))
	}
	for _, seed := range []string{
		`{"title":"お品書き","source_language":"ja","target_language":"en","items":[{"id":"a","name":"親子丼","category":"丼","price":850}]}`,
		"\ufeff{}", `{"items":[{}],"items":null}`, `{"items":[{"name":"a","name":null}]}`, `{"a":{"b":[1,{"c":null}]},"items":[[]]}`, `[[[`, "\xff", `{"items":[{"name":"\u0000\ud800"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := httpapi.Decode(body)
		if err != nil {
			if len(err.Error()) > 100_000 {
				t.Fatalf("the error has %d bytes", len(err.Error()))
			}
			return
		}
		if !json.Valid([]byte(strings.TrimPrefix(string(body), "\ufeff"))) {
			t.Fatalf("%q is no JSON and was taken", body)
		}
		items := make([]map[string]any, len(got.Items))
		for i, item := range got.Items {
			if !utf8.ValidString(item.Name + item.Category + item.Price + string(item.ID)) {
				t.Fatalf("item %d is not UTF-8: %+v", i, item)
			}
			items[i] = map[string]any{"name": item.Name, "category": item.Category, "price": item.Price}
			if item.ID != "" {
				items[i]["id"] = item.ID
			}
		}
		again, err := json.Marshal(map[string]any{"title": got.Title, "source_language": got.Source, "target_language": got.Target, "items": items})
		if err != nil {
			t.Fatal(err)
		}
		second, err := httpapi.Decode(again)
		if err != nil || second.Title != got.Title || second.Source != got.Source || second.Target != got.Target || len(second.Items) != len(got.Items) {
			t.Fatalf("%q came back as %+v, %v", body, second, err)
		}
		for i := range got.Items {
			if second.Items[i] != got.Items[i] {
				t.Fatalf("item %d: %+v came back as %+v", i, got.Items[i], second.Items[i])
			}
		}
	})
}

// The same through the whole API: no body makes it fail.
func FuzzSubmit(f *testing.F) {
	h := newHarness(f)
	for _, seed := range []string{`{"items":[{"name":"親子丼"}]}`, `{"items":[{"id":"a","name":"a"},{"id":"a","name":"b"}]}`, `{`, ``, "\x00"} {
		f.Add([]byte(seed), "")
		f.Add([]byte(seed), "key 1")
	}
	f.Fuzz(func(t *testing.T, body []byte, key string) {
		req := newRequest(http.MethodPost, "/v1/sessions", body)
		if key != "" {
			if strings.ContainsAny(key, "\r\n") || len(key) > 3000 { // no HTTP, or a header that the server refuses
				return
			}
			req.Header["Idempotency-Key"] = []string{key}
		}
		got := h.do(t, req)
		switch {
		case got.status == http.StatusAccepted:
			got.accepted(t)
		case got.status >= 400 && got.status < 500:
			got.problem(t, got.status)
		default:
			t.Fatalf("status %d: %s", got.status, got.body)
		}
	})
}

// No filter makes a retry fail, and none that is refused retries anything.
func FuzzRetryFailures(f *testing.F) {
	h := newHarness(f)
	for _, seed := range []string{
		`{"all":true}`, `{"stage":"allergen","reason":"timeout"}`, `{"menu_id":"a.b"}`, `{"after":"x"}`, `{"all":"yes"}`, `{"all":null}`, `[]`, `{`, "", "\x00",
		`{"reason":"\u0000"}`, `{"all":true,"all":false}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := h.do(t, newRequest(http.MethodPost, "/v1/failures/retry", body))
		if got.status != http.StatusBadRequest {
			got.problem(t, http.StatusServiceUnavailable) // of the database, which is away: the filter was taken
		}
	})
}

// No path, query or header makes a read fail or hang.
func FuzzRead(f *testing.F) {
	h := newHarness(f, func(c *httpapi.Config) { c.WaitTimeout = time.Millisecond })
	routes := []string{"/v1/sessions/", "/v1/menus/", "/v1/events/", "/v1/failures/", "/v1/", "/"}
	for i := range routes {
		for _, seed := range [][3]string{
			{"abc", "min_seq=1", "*"},
			{"abc/menus", "as_of_seq=18446744073709551615", `W/"1"`},
			{"a.b", "limit=1;SELECT pg_sleep(10)", `"`},
			{"..%2f..", "since=2026-11-26T08:00:00+09:00", ","},
			{"abc/image.svg", "type=*.failed&type=%00", ""},
			{"%0d%0a", "session=%ff", "\x7f"},
			{"", "after=MTox", ""},
			{"abc", "token=x&_=1", ""},
		} {
			f.Add(byte(i), seed[0], seed[1], seed[2])
		}
	}
	f.Fuzz(func(t *testing.T, route byte, path, query, tag string) {
		target, err := url.Parse(routes[int(route)%len(routes)])
		if err != nil {
			t.Fatal(err)
		}
		target = target.JoinPath(path)
		target.RawQuery = url.PathEscape(query)
		if strings.ContainsAny(tag, "\r\n\x00") || strings.ContainsAny(target.String(), " \r\n") || len(target.String())+len(tag) > 3000 {
			return // no HTTP, or too much of it
		}
		req := newRequest(http.MethodGet, "/", nil)
		req.URL = target
		req.Header["If-None-Match"] = []string{tag}
		got := h.do(t, req)
		switch {
		case got.status == http.StatusOK, got.status == http.StatusNotModified:
		case got.status >= 400 && got.status < 500, got.status == http.StatusServiceUnavailable, got.status == http.StatusGatewayTimeout:
			got.problem(t, got.status)
		default:
			t.Fatalf("status %d: %s", got.status, got.body)
		}
	})
}

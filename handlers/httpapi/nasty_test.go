package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"kondate/domain/menu"
)

type nasty struct {
	ID       string `json:"id"`
	Target   string `json:"target"`
	Input    string `json:"input"`
	InputHex string `json:"input_hex"`
	Generate *struct {
		Repeat       string `json:"repeat"`
		Prefix       string `json:"prefix"`
		Count        any    `json:"count"`
		RepeatBytes  string `json:"repeat_bytes"`
		Items        any    `json:"items"`
		NameTemplate string `json:"name_template"`
		Header       string `json:"header"`
		InflatedMB   int64  `json:"inflated_mb"`
	} `json:"generate"`
	Expect string `json:"expect"`
}

// call is one request made of a nasty input, and the statuses that are right for it.
type call struct {
	name   string
	req    *http.Request
	want   []int
	field  string // an error has to name it
	socket bool   // too large for app.Test, which fails before it sends
	verify func(t *testing.T, h *harness, got accepted)
}

// Every input of the file that goes in through these routes ends as the file says, on a real Postgres: what is taken
// is in the rows to the character.
func TestNastyInputs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/nasty_inputs.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Count  int     `json:"count"`
		Inputs []nasty `json:"inputs"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Inputs) != file.Count {
		t.Fatalf("the file has %d inputs and says %d", len(file.Inputs), file.Count)
	}
	h := newProjected(t)
	address := h.listen(t)
	tried := 0
	for _, input := range file.Inputs {
		switch input.Target {
		case "worker.result", "provider.http", "stream", "upload.filename":
			continue // not a way in through these routes; those of the stream are tested in sse, and with the whole program
		}
		tried++
		t.Run(input.ID, func(t *testing.T) {
			t.Parallel()
			for _, c := range input.calls(t) {
				do := h.do
				if c.socket {
					do = func(tb testing.TB, req *http.Request) answer {
						tb.Helper()
						return send(tb, address, req)
					}
				}
				got := do(t, c.req)
				switch {
				case !slices.Contains(c.want, got.status):
					t.Errorf("%s: status %d, want %v: %.300s", c.name, got.status, c.want, got.body)
				case got.status == http.StatusAccepted:
					answer := got.accepted(t)
					h.sameInRows(t, answer)
					if c.verify != nil {
						c.verify(t, h, answer)
					}
				case got.status >= http.StatusBadRequest:
					p := got.problem(t, got.status)
					if c.field != "" && !slices.ContainsFunc(p.Errors, func(e menu.FieldError) bool { return e.Field == c.field }) {
						t.Errorf("%s: no error names %s: %s", c.name, c.field, got.body)
					}
				}
			}
		})
	}
	if tried != 80 {
		t.Errorf("%d inputs were tried; the file has 80 for these routes", tried)
	}
}

// sameInRows checks that the rows of a session hold what the log holds.
func (h *harness) sameInRows(t *testing.T, got accepted) {
	t.Helper()
	var rows struct {
		Menus []struct {
			ID       menu.DishID `json:"id"`
			Name     string      `json:"name"`
			Category string      `json:"category"` // null: not printed
			Price    string      `json:"price"`
		} `json:"menus"`
	}
	res := h.get(t, fmt.Sprintf("/v1/sessions/%s/menus?min_seq=%d", got.SessionID, got.Seq))
	if res.status != http.StatusOK {
		t.Fatalf("the rows answer %d: %s", res.status, res.body)
	}
	res.into(t, &rows)
	_, items := h.submitted(t, got.SessionID)
	if len(rows.Menus) != len(items) {
		t.Fatalf("%d rows of %d items", len(rows.Menus), len(items))
	}
	for i, row := range rows.Menus {
		if item := items[i]; row.ID != item.ID || row.Name != item.Name || row.Category != item.Category || row.Price != item.Price {
			t.Fatalf("row %d is %+v, recorded is %+v", i, row, item)
		}
	}
}

// statuses says what an expectation of the file means here.
func statuses(t *testing.T, expect string) []int {
	t.Helper()
	switch expect {
	case "accept", "accept_flagged", "accept_or_400", "reject_or_complete":
		return []int{http.StatusAccepted} // what may be taken is taken
	case "reject_400", "reject_400_or_reassign", "reject_400_or_replace", "reject_400_or_strip", "reject_400_or_413":
		return []int{http.StatusBadRequest}
	case "reject_413":
		return []int{http.StatusRequestEntityTooLarge}
	case "reject_400_or_404":
		return []int{http.StatusBadRequest, http.StatusNotFound}
	case "reject_413_or_415":
		return []int{http.StatusUnsupportedMediaType}
	}
	t.Fatalf("expectation %q has no meaning here", expect)
	return nil
}

func (n nasty) calls(t *testing.T) []call {
	t.Helper()
	part, field, _ := strings.Cut(n.Target, ".")
	if part == "request_body" || strings.HasPrefix(n.Input, `{"items"`) {
		return n.bodies(t)
	}
	switch part {
	case "item":
		return n.fields(t, field)
	case "query":
		return n.queries(t, field)
	case "session":
		want := statuses(t, n.Expect)
		return []call{
			{name: "field", req: post(map[string]any{"session_id": n.Input, "items": []any{map[string]any{"name": "冷奴"}}}), want: want, field: "session_id"},
			{name: "path", req: newRequest(http.MethodGet, "/v1/sessions/"+url.PathEscape(n.Input), nil), want: want, field: "id"},
		}
	}
	t.Fatalf("target %q is not known", n.Target)
	return nil
}

func post(body any) *http.Request {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // the caller's literal is no JSON
	}
	return newRequest(http.MethodPost, "/v1/sessions", text)
}

func (n nasty) bodies(t *testing.T) []call {
	t.Helper()
	g := n.Generate
	one := func(body []byte) []call {
		return []call{{name: "body", req: newRequest(http.MethodPost, "/v1/sessions", body), want: statuses(t, n.Expect)}}
	}
	switch {
	case g == nil && n.InputHex != "":
		body, err := hex.DecodeString(n.InputHex)
		if err != nil {
			t.Fatal(err)
		}
		return one(body)
	case g == nil:
		return one([]byte(n.Input))
	case g.Header != "":
		return n.encodings(t)
	case g.RepeatBytes != "":
		unit, err := hex.DecodeString(g.RepeatBytes)
		if err != nil {
			t.Fatal(err)
		}
		calls := one(bytes.Repeat(unit, int(g.Count.(float64))))
		calls[0].socket = true
		return calls
	case g.Repeat != "":
		return one([]byte(strings.Repeat(g.Repeat, int(g.Count.(float64)))))
	case g.Items != nil:
		return n.manyItems(t)
	}
	t.Fatalf("generate rule of %s is not known", n.ID)
	return nil
}

func (n nasty) manyItems(t *testing.T) []call {
	t.Helper()
	count := menu.MaxItems
	if f, ok := n.Generate.Items.(float64); ok {
		count = int(f)
	}
	items := make([]map[string]string, count)
	for i := range items {
		items[i] = map[string]string{"name": strings.ReplaceAll(n.Generate.NameTemplate, "{i}", fmt.Sprint(i)), "price": fmt.Sprint(100 + i)}
	}
	return []call{{name: "items", req: post(map[string]any{"items": items}), want: statuses(t, n.Expect), verify: func(t *testing.T, h *harness, got accepted) {
		t.Helper()
		session, recorded := h.submitted(t, got.SessionID)
		if session.ItemCount != count || session.Loaded != count || len(got.Items) != count {
			t.Fatalf("%d items sent, %d of %d recorded, %d answered", count, session.Loaded, session.ItemCount, len(got.Items))
		}
		for i, item := range recorded {
			if item.Name != items[i]["name"] || item.Price != items[i]["price"] || item.Position != i || item.ID != got.Items[i].ID {
				t.Fatalf("item %d came as %+v and was answered as %+v", i, item, got.Items[i])
			}
		}
	}}}
}

func (n nasty) encodings(t *testing.T) []call {
	t.Helper()
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(w, zeros{}, n.Generate.InflatedMB<<20/128); err != nil { // not all of it: what counts is that it is not inflated
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want, valid := statuses(t, n.Expect), []byte(`{"items":[{"name":"冷奴"}]}`)
	request := func(body []byte, header string) *http.Request {
		return newRequest(http.MethodPost, "/v1/sessions", body, header)
	}
	return []call{
		{name: "gzip", req: request(bomb.Bytes(), n.Generate.Header), want: want},
		{name: "brotli", req: request(bomb.Bytes(), "Content-Encoding: br"), want: want},
		{name: "text", req: request(valid, "Content-Type: text/plain"), want: want},
		{name: "charset", req: request(valid, "Content-Type: application/json; charset=shift_jis"), want: want},
		{name: "no type", req: request(valid, "Content-Type"), want: []int{http.StatusAccepted}},
		{name: "identity", req: request(valid, "Content-Encoding: identity"), want: []int{http.StatusAccepted}},
		{name: "utf-8", req: request(valid, "Content-Type: application/json; charset=UTF-8"), want: []int{http.StatusAccepted}},
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// fields puts the input into a field of one item between two plain ones.
func (n nasty) fields(t *testing.T, field string) []call {
	t.Helper()
	with := func(name, value string, want ...int) call {
		item := map[string]string{"name": "天丼", "category": "丼", "price": "980円"}
		item[field] = value
		plain := map[string]string{"name": "冷奴"}
		return call{
			name: name, req: post(map[string]any{"items": []any{plain, item, plain}}), want: want, field: "items[1]." + field,
			verify: func(t *testing.T, h *harness, got accepted) {
				t.Helper()
				_, recorded := h.submitted(t, got.SessionID)
				kept := map[string]string{"name": recorded[1].Name, "category": recorded[1].Category, "price": recorded[1].Price}
				if len(recorded) != 3 || kept[field] != value {
					t.Errorf("%d items recorded, %s is %q, sent was %q", len(recorded), field, kept[field], value)
				}
			},
		}
	}
	g := n.Generate
	switch {
	case g == nil:
		return []call{with("input", n.Input, statuses(t, n.Expect)...)}
	case n.Expect == "boundary":
		return []call{
			with("limit", strings.Repeat(g.Repeat, menu.MaxName), http.StatusAccepted),
			with("limit+1", strings.Repeat(g.Repeat, menu.MaxName+1), http.StatusBadRequest),
		}
	}
	return []call{with("generated", g.Prefix+strings.Repeat(g.Repeat, int(g.Count.(float64))), statuses(t, n.Expect)...)}
}

func (n nasty) queries(t *testing.T, field string) []call {
	t.Helper()
	want := statuses(t, n.Expect)
	if field != "session_id" {
		// Every number that a query of these routes has.
		var calls []call
		for target, name := range map[string]string{
			"/v1/sessions/abc/menus": "min_seq", "/v1/sessions/abc": "as_of_seq", "/v1/menus/abc": "min_seq", "/v1/failures": "limit", "/v1/events": "limit",
			"/v1/events?type=*.failed": "from_seq",
		} {
			target += map[bool]string{true: "&", false: "?"}[strings.Contains(target, "?")] + name + "=" + url.QueryEscape(n.Input)
			calls = append(calls, call{name: target, req: newRequest(http.MethodGet, target, nil), want: want, field: name})
		}
		return calls
	}
	id := n.Input
	if !strings.Contains(id, "%") {
		id = url.PathEscape(id)
	}
	var calls []call
	for _, route := range []string{
		"GET /v1/sessions/ID", "DELETE /v1/sessions/ID", "GET /v1/sessions/ID/menus", "GET /v1/menus/ID", "POST /v1/menus/ID/image",
		"GET /v1/menus/ID/image.svg", "POST /v1/menus/ID/stages/allergen/retry", "POST /v1/menus/abc/stages/ID/retry",
		"GET /v1/events?session=ID", "GET /v1/events?type=ID", "GET /v1/failures?session=ID", "GET /v1/failures?menu_id=ID", "GET /v1/failures?stage=ID",
	} {
		method, path, _ := strings.Cut(strings.ReplaceAll(route, "ID", id), " ")
		calls = append(calls, call{name: route, req: newRequest(method, path, nil), want: want})
	}
	return calls
}

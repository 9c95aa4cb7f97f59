package httpapi_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
)

// line is an event as GET /v1/events gives it.
type line struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Seq       uint64          `json:"seq"`
	Time      time.Time       `json:"time"`
	Tenant    string          `json:"tenant"`
	SessionID string          `json:"session_id"`
	Data      json.RawMessage `json:"data"`
}

func (a answer) lines(tb testing.TB) []line {
	tb.Helper()
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/x-ndjson" {
		tb.Fatalf("%d %s: %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	lines := []line{}
	for text := range bytes.Lines(a.body) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			tb.Fatalf("%q: %v", text, err)
		}
		lines = append(lines, l)
	}
	return lines
}

func TestEvents(t *testing.T) {
	t.Parallel()
	h := newProjected(t)
	first := h.post(t, `{"items":[{"name":"かけそば\n並"}]}`).accepted(t)
	second := h.post(t, `{"items":[{"name":"冷奴"}]}`).accepted(t)
	receipt, err := h.log.Append(t.Context(), menu.Key{Tenant: menu.DefaultTenant, Session: second.SessionID}, eventstore.Proposed{
		Event: menutest.Completed(menu.Allergen, second.Items[0].ID), Time: menutest.Start(),
	})
	if err != nil {
		t.Fatal(err)
	}
	h.get(t, fmt.Sprintf("/v1/sessions/%s?min_seq=%d", second.SessionID, receipt.Seq))
	for query, want := range map[string]int{
		"": 3, "?tenant=public": 3, "?session=" + string(second.SessionID): 2, "?type=menu.submitted": 2, "?type=allergen.*": 1,
		"?type=*.completed&from_seq=3": 1, "?limit=2": 2, "?from_seq=4": 0, "?until=2026-11-23T12:00:00Z": 0,
		"?since=2026-11-23T13:00:00%2B01:00": 3, "?since=2026-11-23T12:00:00.000001Z": 2, "?session=nobody": 0,
	} {
		if got := h.get(t, "/v1/events"+query).lines(t); len(got) != want {
			t.Errorf("%q gives %d events, want %d", query, len(got), want)
		}
	}
	got := h.get(t, "/v1/events").lines(t)
	if l := got[0]; l.Type != "menu.submitted" || l.Seq != first.Seq || l.Tenant != "public" || l.SessionID != string(first.SessionID) ||
		!strings.Contains(string(l.Data), `かけそば\n並`) || l.ID == "" || l.Time.IsZero() {
		t.Errorf("the first event is %+v", l)
	}
}

func TestEventsRefuses(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for query, field := range map[string]string{
		"session=a.b": "session", "type=allergen": "type", "type=a.%3E": "type", "since=yesterday": "since", "until=2026-11-26": "until",
		"from_seq=-1": "from_seq", "from_seq=99999999999999999999": "from_seq", "limit=0": "limit", "limit=x": "limit",
	} {
		p := h.get(t, "/v1/events?"+query).problem(t, http.StatusBadRequest)
		if len(p.Errors) != 1 || p.Errors[0].Field != field {
			t.Errorf("%s: %+v", query, p)
		}
	}
	h.get(t, "/v1/events?tenant=other").problem(t, http.StatusForbidden)
	h.history.err = errors.New("away")
	h.get(t, "/v1/events").problem(t, http.StatusServiceUnavailable)
}

// An export that breaks in the middle does not look like one that has ended, nor does one that the server's stop cuts.
func TestEventsCut(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		after int
		stop  bool
	}{"HistoryGoesAway": {5000, false}, "ServerStops": {100_000_000, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.history.after, h.history.err = test.after, errors.New("away")
			address := h.listen(t)
			conn, err := net.Dial("tcp", address) //nolint:noctx // a test's connection
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()                                              //nolint:errcheck // the test is over
			fmt.Fprintf(conn, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n") //nolint:errcheck // a failure shows in the answer
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close() //nolint:errcheck // it was read
			lines := bufio.NewScanner(res.Body)
			n := 0
			for lines.Scan() {
				if n++; n == 100 && test.stop {
					h.api.Close()
				}
			}
			if err := lines.Err(); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("after %d events the body ended with %v, want a cut", n, err)
			}
			if n < 100 || n > test.after {
				t.Errorf("%d events came", n)
			}
		})
	}
}

// The rows as they were: before the submission there are none, after it they show what had been answered by then.
func TestAsOf(t *testing.T) {
	t.Parallel()
	h := newProjected(t)
	posted := h.post(t, `{"title":"昼","items":[{"id":"own","name":"かけそば"}]}`).accepted(t)
	var seqs []uint64
	for _, stage := range []menu.Stage{menu.Allergen, menu.Ingredient} {
		receipt, err := h.log.Append(t.Context(), menu.Key{Tenant: menu.DefaultTenant, Session: posted.SessionID}, eventstore.Proposed{
			Event: menutest.Completed(stage, "own"), Time: menutest.Start(),
		})
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, receipt.Seq)
	}
	session := "/v1/sessions/" + string(posted.SessionID)
	status := func(path string, seq uint64) string {
		var row struct {
			Stages map[menu.Stage]json.RawMessage `json:"stages"`
			Seq    uint64                         `json:"last_seq"`
		}
		h.get(t, fmt.Sprintf("%s?as_of_seq=%d", path, seq)).into(t, &row)
		return fmt.Sprint(row.Seq, strings.Contains(string(row.Stages[menu.Allergen]), `"ok"`), strings.Contains(string(row.Stages[menu.Ingredient]), `"ok"`))
	}
	for seq, want := range map[uint64]string{
		posted.Seq: fmt.Sprint(posted.Seq, false, false), seqs[0]: fmt.Sprint(seqs[0], true, false), seqs[1]: fmt.Sprint(seqs[1], true, true),
	} {
		if got := status("/v1/menus/own", seq); got != want {
			t.Errorf("the dish at %d: %s, want %s", seq, got, want)
		}
	}
	var rows struct {
		Menus []map[string]any `json:"menus"`
		Seq   uint64           `json:"seq"`
	}
	h.get(t, fmt.Sprintf("%s/menus?as_of_seq=%d", session, seqs[0])).into(t, &rows)
	if len(rows.Menus) != 1 || rows.Seq != seqs[0] || rows.Menus[0]["allergy"] == nil || rows.Menus[0]["ingredient"] != nil {
		t.Errorf("rows at %d: %+v", seqs[0], rows)
	}
	var now, then map[string]any
	h.get(t, session).into(t, &now)
	h.get(t, fmt.Sprintf("%s?as_of_seq=%d", session, seqs[1])).into(t, &then)
	if fmt.Sprint(now) != fmt.Sprint(then) {
		t.Errorf("as of the last event the session is %v, now it is %v", then, now)
	}
	for _, path := range []string{session, session + "/menus", "/v1/menus/own"} {
		h.get(t, path+"?as_of_seq=x").problem(t, http.StatusBadRequest)
	}
	h.get(t, "/v1/sessions/nobody?as_of_seq=1").problem(t, http.StatusNotFound)
}

func FuzzEventsQuery(f *testing.F) {
	f.Add("type=allergen.*&since=2026-11-26T08:00:00Z&limit=3")
	f.Add("from_seq=1&session=s&until=x&tenant=%ff")
	f.Add(`B8Z8"2 9#0000000000`)
	h := newHarness(f)
	f.Fuzz(func(t *testing.T, query string) {
		req, err := http.NewRequest(http.MethodGet, "/v1/events?"+query, nil)         //nolint:noctx // a test's request
		if err != nil || len(query) > 2<<10 || strings.ContainsAny(query, " \"#<>") { // no client sends these, and a longer request line is refused before it comes here
			return
		}
		if res := h.do(t, req); res.status != http.StatusOK && res.status != http.StatusBadRequest && res.status != http.StatusForbidden {
			t.Errorf("%q: %d %s", query, res.status, res.body)
		}
	})
}

// HEAD leaves nothing on the connection that the next answer would begin with.
func TestHeadOfEvents(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", h.listen(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the test is over
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := conn.Write([]byte("HEAD /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	answers := bufio.NewReader(conn)
	for n := range 3 {
		res, err := http.ReadResponse(answers, &http.Request{Method: http.MethodHead})
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("answer %d: %v, %v", n, res, err)
		}
		_ = res.Body.Close() // there is none
	}
}

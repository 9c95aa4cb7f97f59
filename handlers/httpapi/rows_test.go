package httpapi_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/httpapi"
)

func TestRows(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	posted := h.post(t, `{"items":[{"name":"親子丼"},{"name":"冷奴"}]}`).accepted(t)
	var session struct {
		ID menu.SessionID `json:"session_id"`
	}
	h.get(t, "/v1/sessions/"+string(posted.SessionID)).into(t, &session)
	if session.ID != posted.SessionID {
		t.Errorf("session %+v", session)
	}
	var rows struct {
		Menus []struct {
			ID menu.DishID `json:"id"`
		} `json:"menus"`
		Seq uint64 `json:"seq"`
	}
	h.get(t, "/v1/sessions/"+string(posted.SessionID)+"/menus?min_seq=1").into(t, &rows)
	if len(rows.Menus) != 2 || rows.Menus[1].ID != posted.Items[1].ID || rows.Seq != 1 {
		t.Errorf("rows %+v", rows)
	}
	var row struct {
		ID menu.DishID `json:"id"`
	}
	if h.get(t, "/v1/menus/"+string(posted.Items[0].ID)).into(t, &row); row.ID != posted.Items[0].ID {
		t.Errorf("row %+v", row)
	}
}

func TestRowsETag(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	posted := h.post(t, oneDish).accepted(t)
	session := "/v1/sessions/" + string(posted.SessionID)
	paths := map[string]string{session: `"1-`, session + "/menus": `W/"1-`, "/v1/menus/" + string(posted.Items[0].ID): `"1-`}
	tags := map[string]string{}
	for path, begins := range paths {
		tag := h.get(t, path).header.Get("ETag")
		if !strings.HasPrefix(tag, begins) || !strings.HasSuffix(tag, `"`) {
			t.Errorf("%s: ETag %q", path, tag)
		}
		tags[path] = tag
		for header, want := range map[string]int{
			"If-None-Match: " + tag: 304, `If-None-Match: "9", ` + tag: 304, "If-None-Match: *": 304, "If-None-Match: W/" + strings.TrimPrefix(tag, "W/"): 304,
			`If-None-Match: W/"1"`: 200, "If-None-Match: 1": 200, "If-Modified-Since: Mon, 02 Jan 2006 15:04:05 GMT": 200,
		} {
			res := h.get(t, path, header)
			if res.status != want || (want == 304) != (len(res.body) == 0) || res.header.Get("Cache-Control") != "no-cache, private" || res.header.Get("ETag") != tag {
				t.Errorf("%s with %s: %d, %d bytes, %v", path, header, res.status, len(res.body), res.header)
			}
		}
	}
	// What happens to another session changes nothing here, an event of this one does.
	h.post(t, oneDish).accepted(t)
	for path, tag := range tags {
		if res := h.get(t, path, "If-None-Match: "+tag); res.status != http.StatusNotModified {
			t.Errorf("%s after another session's event: %d", path, res.status)
		}
	}
	h.record(t, menu.Key{Tenant: menu.DefaultTenant, Session: posted.SessionID}, menu.StageFailed{Stage: menu.Allergen, IDs: []menu.DishID{posted.Items[0].ID}, Reason: "timeout"})
	if res := h.get(t, session, "If-None-Match: "+tags[session]); res.status != http.StatusOK {
		t.Errorf("the session after its own event: %d", res.status)
	}
}

// A session that was just submitted is waited for, not denied.
func TestRowsWaitForTheProjection(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	posted := h.post(t, oneDish).accepted(t)
	h.rows.behind = make(chan struct{})
	done := make(chan answer, 3)
	for _, path := range []string{"", "/menus", "/menus?min_seq=1"} {
		go func() { done <- h.get(t, "/v1/sessions/"+string(posted.SessionID)+path) }()
	}
	close(h.rows.behind)
	for range 3 {
		if res := <-done; res.status != http.StatusOK {
			t.Errorf("status %d: %s", res.status, res.body)
		}
	}
}

func TestRowsBehindForTooLong(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(c *httpapi.Config) { c.WaitTimeout = 20 * time.Millisecond })
	posted := h.post(t, oneDish).accepted(t)
	path := "/v1/sessions/" + string(posted.SessionID)
	res := h.get(t, path+"/menus?min_seq=18446744073709551615")
	if res.problem(t, http.StatusGatewayTimeout); res.header.Get("Retry-After") != "1" {
		t.Errorf("header %v", res.header)
	}
	h.rows.behind = make(chan struct{})
	h.get(t, path).problem(t, http.StatusGatewayTimeout)
	h.get(t, path+"/menus").problem(t, http.StatusGatewayTimeout)
	h.get(t, "/v1/sessions/unknown/menus").problem(t, http.StatusNotFound) // the log knows no such session: nothing to wait for
}

func TestRowsRefuse(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	posted := h.post(t, oneDish).accepted(t)
	for path, status := range map[string]int{
		"/v1/sessions/unknown":                                  404,
		"/v1/sessions/unknown/menus":                            404,
		"/v1/menus/unknown":                                     404,
		"/v1/sessions/a.b":                                      400,
		"/v1/sessions/*/menus":                                  400,
		"/v1/sessions/%2e%2e":                                   400,
		"/v1/sessions/" + strings.Repeat("x", 65):               400,
		"/v1/menus/a%0d%0ab":                                    400,
		"/v1/menus/%00":                                         400,
		"/v1/sessions/abc/menus?min_seq=-1":                     400,
		"/v1/sessions/abc/menus?min_seq=1e3":                    400,
		"/v1/sessions/abc/menus?min_seq=%E4%B8%80":              400,
		"/v1/sessions/abc/menus?min_seq=18446744073709551616":   400,
		"/v1/sessions":                                          405,
		"/v1/nothing":                                           404,
		"/V1/sessions/a":                                        404,
		"/v1/sessions/" + string(posted.SessionID) + "/nothing": 404,
	} {
		h.get(t, path).problem(t, status)
	}
	allow := h.do(t, newRequest(http.MethodDelete, "/v1/menus/a", nil))
	if allow.problem(t, http.StatusMethodNotAllowed); !strings.Contains(allow.header.Get("Allow"), "GET") {
		t.Errorf("Allow %q", allow.header.Get("Allow"))
	}
	h.rows.err = errors.New("connection refused")
	for _, path := range []string{"/v1/sessions/" + string(posted.SessionID), "/v1/sessions/x/menus", "/v1/menus/x", "/v1/sessions/x/menus?min_seq=1"} {
		h.get(t, path).problem(t, http.StatusServiceUnavailable)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	posted := h.post(t, oneDish).accepted(t)
	id, key := posted.Items[0].ID, menu.Key{Tenant: menu.DefaultTenant, Session: posted.SessionID}
	retry := func(id, stage string) answer {
		return h.do(t, newRequest(http.MethodPost, "/v1/menus/"+id+"/stages/"+stage+"/retry", nil))
	}
	retry(string(id), "allergen").problem(t, http.StatusConflict) // not parked
	parked := menu.StageFailed{Stage: menu.Allergen, IDs: []menu.DishID{id}, Attempts: 3, Reason: "timeout", Provider: "local"}
	if _, err := h.log.Append(t.Context(), key, eventstore.Proposed{Event: parked, Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if res := retry(string(id), "allergen"); res.status != http.StatusAccepted || string(res.body) != `{"retried":1}` {
		t.Errorf("%d %s", res.status, res.body)
	}
	entries, err := h.log.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	last := entries[len(entries)-1]
	requested, ok := last.Event.(menu.StageRetryRequested)
	if !ok || requested.Epoch != 1 || requested.Stage != menu.Allergen || requested.IDs[0] != id || last.Correlation != entries[0].ID {
		t.Errorf("recorded %+v", last)
	}
	retry(string(id), "allergen").problem(t, http.StatusConflict) // at work again
	retry(string(id), "taste").problem(t, http.StatusBadRequest)
	retry("unknown", "allergen").problem(t, http.StatusNotFound)
	retry("a.b", "allergen").problem(t, http.StatusBadRequest)
}

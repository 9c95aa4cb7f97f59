package httpapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
)

type failures struct {
	Failures []struct {
		MenuID    menu.DishID    `json:"menu_id"`
		SessionID menu.SessionID `json:"session_id"`
		Stage     menu.Stage     `json:"stage"`
		Epoch     int            `json:"epoch"`
		Reason    string         `json:"reason"`
		Error     string         `json:"error"`
		Provider  string         `json:"provider"`
		Attempts  int            `json:"attempts"`
		ParkedAt  time.Time      `json:"parked_at"`
		TraceID   string         `json:"trace_id"`
	} `json:"failures"`
	Next string `json:"next"`
}

// parkedMenus submits menus of n dishes and parks two stages of each dish.
func (h *harness) parkedMenus(t *testing.T, menus, n int) (keys []menu.Key) {
	t.Helper()
	for i := range menus {
		var items []string
		for j := range n {
			items = append(items, fmt.Sprintf(`{"id":"m%d-d%d","name":"親子丼"}`, i, j))
		}
		posted := h.post(t, `{"items":[`+strings.Join(items, ",")+`]}`).accepted(t)
		key := menu.Key{Tenant: menu.DefaultTenant, Session: posted.SessionID}
		keys = append(keys, key)
		var ids []menu.DishID
		for _, item := range posted.Items {
			ids = append(ids, item.ID)
		}
		for stage, reason := range map[menu.Stage]string{menu.Allergen: "timeout", menu.Task6: "refused"} {
			e := menu.StageFailed{Stage: stage, IDs: ids, Attempts: 3, Reason: reason, Error: "no answer", Provider: "local"}
			if _, err := h.log.Append(t.Context(), key, eventstore.Proposed{Event: e, Time: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		h.upToDate(t, key)
	}
	return keys
}

// upToDate waits until the rows reflect a session's log.
func (h *harness) upToDate(t *testing.T, key menu.Key) {
	t.Helper()
	last, err := h.log.LastOf(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if res := h.get(t, fmt.Sprintf("/v1/sessions/%s?min_seq=%d", key.Session, last)); res.status != http.StatusOK {
		t.Fatalf("%d %s", res.status, res.body)
	}
}

func (h *harness) retryFailures(t *testing.T, body string) answer {
	t.Helper()
	return h.do(t, newRequest(http.MethodPost, "/v1/failures/retry", []byte(body)))
}

func (h *harness) parked(t *testing.T, query string) failures {
	t.Helper()
	var got failures
	h.get(t, "/v1/failures"+query).into(t, &got)
	return got
}

func TestFailures(t *testing.T) {
	t.Parallel()
	h := newProjected(t)
	if res := h.get(t, "/v1/failures"); string(res.body) != `{"failures":[]}` {
		t.Errorf("%d %s", res.status, res.body)
	}
	keys := h.parkedMenus(t, 2, 3)
	for query, want := range map[string]int{
		"": 12, "?stage=allergen": 6, "?reason=refused": 6, "?reason=other": 0, "?menu_id=m0-d1": 2,
		"?session=" + string(keys[1].Session): 6, "?stage=task6&menu_id=m1-d2": 1, "?stage=translation": 0,
	} {
		if got := h.parked(t, query); len(got.Failures) != want || got.Next != "" {
			t.Errorf("%s: %d failures, next %q; want %d", query, len(got.Failures), got.Next, want)
		}
	}
	first := h.parked(t, "?stage=allergen&limit=1")
	if f := first.Failures[0]; f.MenuID != "m0-d0" || f.SessionID != keys[0].Session || f.Stage != menu.Allergen || f.Reason != "timeout" ||
		f.Error != "no answer" || f.Provider != "local" || f.Attempts != 3 || time.Since(f.ParkedAt) > time.Minute {
		t.Errorf("%+v", f)
	}
	seen := 1
	for next := first.Next; next != ""; seen++ {
		page := h.parked(t, "?stage=allergen&limit=1&after="+next)
		if len(page.Failures) != 1 {
			t.Fatalf("a page of %d", len(page.Failures))
		}
		next = page.Next
	}
	if seen != 6 {
		t.Errorf("%d failures page by page", seen)
	}
	for query, field := range map[string]string{
		"?stage=taste": "stage", "?session=a.b": "session", "?menu_id=*": "menu_id", "?limit=0": "limit", "?limit=1001": "limit",
		"?limit=x": "limit", "?after=x": "after", "?reason=%00": "reason", "?reason=%ff": "reason",
	} {
		if p := h.get(t, "/v1/failures"+query).problem(t, http.StatusBadRequest); len(p.Errors) != 1 || p.Errors[0].Field != field {
			t.Errorf("%s: %+v", query, p)
		}
	}
}

func TestRetryFailures(t *testing.T) {
	t.Parallel()
	h := newProjected(t)
	keys := h.parkedMenus(t, 3, 120)
	retry := func(body, want string) {
		t.Helper()
		if res := h.retryFailures(t, body); res.status != http.StatusAccepted || string(res.body) != want {
			t.Errorf("%s: %d %s, want %s", body, res.status, res.body, want)
		}
	}
	retry(`{"menu_id":"m0-d0","stage":"allergen"}`, `{"retried":1}`)
	retry(`{"menu_id":"m0-d0","stage":"task6"}`, `{"retried":1}`)
	retry(`{"menu_id":"m0-d0","stage":"translation"}`, `{"retried":0}`)
	h.upToDate(t, keys[0])
	retry(fmt.Sprintf(`{"session_id":%q,"reason":"refused"}`, keys[0].Session), `{"retried":119}`)
	h.upToDate(t, keys[0])
	retry(`{"reason":"refused"}`, `{"retried":240}`)
	for _, key := range keys {
		h.upToDate(t, key)
	}
	retry(`{"all":true}`, `{"retried":359}`)
	for _, key := range keys {
		h.upToDate(t, key)
	}
	retry(`{"all":true}`, `{"retried":0}`)

	// Each dish and stage went to its next epoch once, a hundred dishes in an event at most.
	for _, key := range keys {
		entries, err := h.log.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		asked := map[string]int{}
		for _, e := range entries {
			r, is := e.Event.(menu.StageRetryRequested)
			if !is {
				continue
			}
			if len(r.IDs) > 100 || r.Epoch != 1 || e.Correlation != entries[0].ID {
				t.Errorf("%d dishes of epoch %d in one event of %s", len(r.IDs), r.Epoch, e.Correlation)
			}
			for _, id := range r.IDs {
				asked[r.Stage.String()+" "+string(id)]++
			}
		}
		if len(asked) != 240 || slices.Max(slices.Collect(maps.Values(asked))) != 1 {
			t.Errorf("%d retries of 240", len(asked))
		}
	}
}

// The rows lag behind the log: a second request at once finds them unchanged and still asks for nothing twice.
func TestRetryFailuresTwiceAtOnce(t *testing.T) {
	t.Parallel()
	h := newProjected(t)
	key := h.parkedMenus(t, 1, 50)[0]
	total := make(chan int, 4)
	for range cap(total) {
		go func() {
			var got struct {
				Retried int `json:"retried"`
				Skipped int `json:"skipped"`
			}
			h.retryFailures(t, `{"all":true}`).into(t, &got)
			total <- got.Retried
		}()
	}
	for range cap(total) {
		<-total
	}
	h.upToDate(t, key)
	entries, err := h.log.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	var session menu.Session
	for _, e := range entries {
		session = menu.Evolve(session, e.Recorded)
	}
	for id, d := range session.Dishes {
		if d.Stages[menu.Allergen].Epoch != 1 || d.Stages[menu.Task6].Epoch != 1 {
			t.Errorf("%s is in the epochs %d and %d", id, d.Stages[menu.Allergen].Epoch, d.Stages[menu.Task6].Epoch)
		}
	}
}

// An erased session's failures go with it; those of others are not touched.
func TestRetryFailuresPassesOverWhatIsGone(t *testing.T) {
	t.Parallel()
	h := newProjected(t)
	keys := h.parkedMenus(t, 2, 5)
	if res := h.do(t, newRequest(http.MethodDelete, "/v1/sessions/"+string(keys[0].Session), nil)); res.status != http.StatusAccepted {
		t.Fatalf("%d %s", res.status, res.body)
	}
	res := h.retryFailures(t, `{"all":true}`) // the rows may not know of the erasure yet
	if res.status != http.StatusAccepted || !strings.HasPrefix(string(res.body), `{"retried":10`) {
		t.Errorf("%d %s", res.status, res.body)
	}
}

func TestRetryFailuresRefuses(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for body, field := range map[string]string{
		``: "", `[]`: "body", `{}`: "all", `{"all":false}`: "all", `{"all":"true"}`: "all", `{"stages":"allergen"}`: "stages", `{"stage":7}`: "stage",
		`{"stage":"taste"}`: "stage", `{"menu_id":"a b"}`: "menu_id", `{"session_id":"*"}`: "session_id", `{"after":"1-a"}`: "all",
		`{"all":true,"after":"x"}`: "after", `{"reason":"\u0000"}`: "reason", `{"all":true}{}`: "", "{\"reason\":\"\xff\"}": "",
	} {
		p := h.retryFailures(t, body).problem(t, http.StatusBadRequest)
		if field == "" && len(p.Errors) > 0 || field != "" && (len(p.Errors) != 1 || p.Errors[0].Field != field) {
			t.Errorf("%s: %+v", body, p)
		}
	}
	h.retryFailures(t, `{"all":true}`).problem(t, http.StatusServiceUnavailable)
	h.get(t, "/v1/failures").problem(t, http.StatusServiceUnavailable)
}

package httpapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
)

func (h *harness) erase(t *testing.T, path string) answer {
	t.Helper()
	return h.do(t, newRequest(http.MethodDelete, path, nil))
}

// An erased session is gone for every route, keeps its tombstone, and can be erased again.
func TestErase(t *testing.T) {
	t.Parallel()
	h := newProjected(t)
	const body = `{"items":[{"id":"a","name":"かけそば"}]}`
	posted := h.post(t, body, "Idempotency-Key: k").accepted(t)
	path := "/v1/sessions/" + string(posted.SessionID)
	res := h.erase(t, path+"?reason=a+guest+asked")
	var first, again struct {
		SessionID menu.SessionID `json:"session_id"`
		Seq       uint64         `json:"seq"`
	}
	if res.into(t, &first); res.status != http.StatusAccepted || first.SessionID != posted.SessionID || first.Seq <= posted.Seq {
		t.Fatalf("%d %s", res.status, res.body)
	}
	res = h.erase(t, path)
	if res.into(t, &again); res.status != http.StatusAccepted || again != first {
		t.Errorf("erased again: %d %s, want the first answer", res.status, res.body)
	}

	var session map[string]any
	h.get(t, fmt.Sprintf("%s?min_seq=%d", path, first.Seq)).into(t, &session)
	if session["status"] != "erased" || session["title"] != "" || session["created_at"] != nil {
		t.Errorf("the session is %v", session)
	}
	if rows := h.get(t, path+"/menus"); string(rows.body) != fmt.Sprintf(`{"menus":[],"seq":%d}`, first.Seq) {
		t.Errorf("its rows are %s", rows.body)
	}
	h.get(t, "/v1/menus/a").problem(t, http.StatusNotFound)
	h.post(t, body, "Idempotency-Key: k").problem(t, http.StatusGone)
	h.post(t, body).accepted(t) // the ids are free
}

func TestEraseRefuses(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.erase(t, "/v1/sessions/nobody").problem(t, http.StatusNotFound)
	h.erase(t, "/v1/sessions/a.b").problem(t, http.StatusBadRequest)
	posted := h.post(t, `{"items":[{"name":"冷奴"}]}`).accepted(t)
	path := "/v1/sessions/" + string(posted.SessionID)
	for name, reason := range map[string]string{"TooLong": strings.Repeat("x", 257), "LineBreak": "a%0Ab", "NoText": "%ff"} {
		if p := h.erase(t, path+"?reason="+reason).problem(t, http.StatusBadRequest); len(p.Errors) != 1 || p.Errors[0].Field != "reason" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	h.log.appendErr = errors.New("away")
	h.erase(t, path).problem(t, http.StatusServiceUnavailable)
	h.log.appendErr = eventstore.ErrFull
	h.erase(t, path).problem(t, http.StatusInsufficientStorage)
}

// Somebody else moves the session at every turn: the erasure is decided again, on what is there then.
func TestEraseAgainstACompletion(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	posted := h.post(t, `{"items":[{"name":"冷奴"}]}`).accepted(t)
	key := menu.Key{Tenant: menu.DefaultTenant, Session: posted.SessionID}
	round := 0
	h.log.first = func() {
		if round++; round <= 3 {
			_, err := h.log.Memory.AppendMenu(t.Context(), key, posted.Seq+uint64(round-1), eventstore.Proposed{
				Event: menu.Completed{Round: round}, Time: menutest.Start().Add(time.Duration(round)),
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
	if res := h.erase(t, "/v1/sessions/"+string(posted.SessionID)); res.status != http.StatusAccepted {
		t.Fatalf("%d %s", res.status, res.body)
	}
	entries, err := h.log.Load(t.Context(), key)
	if err != nil || len(entries) != 5 || entries[4].Type != (menu.Erased{}).Type() {
		t.Errorf("the log holds %d events: %v", len(entries), err)
	}
}

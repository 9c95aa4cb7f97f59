package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/httpapi"
)

const oneDish = `{"items":[{"name":"親子丼","price":"850円"}]}`

func TestSubmit(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	res := h.post(t, `{"title":"昼の部","items":[{"id":"mine_1","name":"親子丼 ","category":"丼","price":850},{"name":"冷奴"}]}`)
	got := res.accepted(t)
	path := "/v1/sessions/" + string(got.SessionID)
	if got.StreamURL != path+"/events" || res.header.Get("Location") != path || got.Seq != 1 {
		t.Errorf("answer %s, Location %q", res.body, res.header.Get("Location"))
	}
	if id, err := uuid.Parse(string(got.SessionID)); err != nil || id.Version() != 7 {
		t.Errorf("session id %q is no UUIDv7", got.SessionID)
	}
	if id, err := uuid.Parse(string(got.Items[1].ID)); err != nil || id.Version() != 7 {
		t.Errorf("menu id %q is no UUIDv7", got.Items[1].ID)
	}
	session, items := h.submitted(t, got.SessionID)
	if session.Title != "昼の部" || session.SourceLanguage != "ja" || session.TargetLanguage != "en" {
		t.Errorf("session %+v", session)
	}
	want := []menu.Item{{ID: "mine_1", Name: "親子丼 ", Category: "丼", Price: "850"}, {ID: got.Items[1].ID, Position: 1, Name: "冷奴"}}
	if len(items) != 2 || items[0] != want[0] || items[1] != want[1] {
		t.Errorf("recorded %+v\nwant     %+v", items, want)
	}
}

// A menu above the batch size is several events, and the answer waits for the last of them.
func TestSubmitLongMenu(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	body := `{"items":[` + strings.Repeat(`{"name":"生ビール"},`, 249) + `{"name":"枝豆"}]}`
	got := h.post(t, body, "Idempotency-Key: long").accepted(t)
	if got.Seq != 3 || len(got.Items) != 250 || got.Items[249].Position != 249 {
		t.Errorf("seq %d, %d items", got.Seq, len(got.Items))
	}
	again := h.post(t, body, "Idempotency-Key: long").accepted(t)
	if again.Seq != 3 || fmt.Sprint(again.Items) != fmt.Sprint(got.Items) {
		t.Errorf("the repeat answers seq %d, %d items", again.Seq, len(again.Items))
	}
}

// Lengths count characters, not bytes, and not the blanks around them.
func TestSubmitBoundaries(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, tt := range []struct {
		field, path string
		limit       int
	}{{"name", "items[0].name", menu.MaxName}, {"category", "items[0].category", menu.MaxCategory}, {"price", "items[0].price", menu.MaxPrice}, {"title", "title", menu.MaxTitle}} {
		for _, char := range []string{"a", "鯖", "🍜"} {
			request := func(n int) *http.Request {
				item, body := map[string]string{"name": "x"}, map[string]any{}
				text := "\u3000\u200b" + strings.Repeat(char, n) + " \t"
				if tt.field == "title" {
					body["title"] = text
				} else {
					item[tt.field] = text
				}
				body["items"] = []any{item}
				return post(body)
			}
			h.do(t, request(tt.limit)).accepted(t)
			p := h.do(t, request(tt.limit+1)).problem(t, http.StatusBadRequest)
			if len(p.Errors) != 1 || p.Errors[0].Field != tt.path || !strings.Contains(p.Errors[0].Problem, fmt.Sprint(tt.limit)) {
				t.Errorf("%s of %d %s: %+v", tt.field, tt.limit+1, char, p.Errors)
			}
		}
	}
	p := h.post(t, `{"items":[{"name":"x","price":`+strings.Repeat("9", menu.MaxPrice+1)+`}]}`).problem(t, http.StatusBadRequest)
	if p.Errors[0].Field != "items[0].price" {
		t.Errorf("a number that is too long: %+v", p)
	}
}

func TestSubmitBodyLimit(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	address := h.listen(t)
	body := func(size int) []byte { return []byte(oneDish + strings.Repeat(" ", size-len(oneDish))) }
	send(t, address, newRequest(http.MethodPost, "/v1/sessions", body(httpapi.MaxBodyBytes))).accepted(t)
	send(t, address, newRequest(http.MethodPost, "/v1/sessions", body(httpapi.MaxBodyBytes+1))).problem(t, http.StatusRequestEntityTooLarge)

	chunked := newRequest(http.MethodPost, "/v1/sessions", body(httpapi.MaxBodyBytes+1))
	chunked.ContentLength = -1
	send(t, address, chunked).problem(t, http.StatusRequestEntityTooLarge)
}

func TestDuplicateIDs(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	p := h.post(t, `{"items":[{"id":"a","name":"かけそば"},{"id":"a","name":"かけうどん"}]}`).problem(t, http.StatusBadRequest)
	if p.Errors[0].Field != "items[1].id" {
		t.Errorf("in one body: %+v", p)
	}
	h.post(t, `{"items":[{"id":"a","name":"かけそば"},{"id":"b","name":"かけうどん"}]}`).accepted(t)
	p = h.post(t, `{"items":[{"id":"c","name":"冷奴"},{"id":"b","name":"枝豆"}]}`).problem(t, http.StatusConflict)
	if len(p.Errors) != 1 || p.Errors[0].Field != "items[1].id" || !strings.Contains(p.Errors[0].Problem, "b is taken") {
		t.Errorf("across sessions: %+v", p)
	}
	if last, err := h.log.Last(t.Context()); err != nil || last != 1 {
		t.Errorf("the log ends at %d, %v: a refused menu was recorded", last, err)
	}
	h.post(t, `{"items":[{"id":"c","name":"冷奴"}]}`).accepted(t)
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const body = `{"title":"t","target_language":"de","items":[{"id":"own","name":"親子丼","price":850},{"name":"冷奴"}]}`
	first := h.post(t, body, "Idempotency-Key: order 66")
	got := first.accepted(t)
	name := uuid.NewSHA1(uuid.MustParse("6f0b7c1e-3f0a-5c52-9d0e-1a7c3b9e4d21"), []byte(`["public","order 66"]`))
	if string(got.SessionID) != name.String() {
		t.Errorf("session %s, want %s", got.SessionID, name)
	}
	for _, same := range []string{body, `{"items":[{"price":"850","name":"親子丼","id":"own"},{"name":"冷奴","price":null}],"target_language":"DE","title":"t","source_language":"ja"}`} {
		if again := h.post(t, same, "Idempotency-Key: order 66"); string(again.body) != string(first.body) || again.status != first.status {
			t.Errorf("the repeat answers %d %s\nthe first was   %s", again.status, again.body, first.body)
		}
	}
	for _, other := range []string{
		strings.Replace(body, `"t"`, `"u"`, 1), strings.Replace(body, "de", "fr", 1), strings.Replace(body, "850", "900", 1),
		strings.Replace(body, "冷奴", "枝豆", 1), strings.Replace(body, "own", "other", 1), oneDish,
		strings.Replace(body, `}]}`, `},{"name":"more"}]}`, 1),
	} {
		h.post(t, other, "Idempotency-Key: order 66").problem(t, http.StatusUnprocessableEntity)
	}
	// What was refused holds no id.
	h.post(t, `{"items":[{"id":"other","name":"x"}]}`).accepted(t)
	if other := h.post(t, body, "Idempotency-Key: order 67"); other.status != http.StatusConflict {
		t.Errorf("another key with ids of the first session: %d", other.status)
	}
}

func TestIdempotencyKeySyntax(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, key := range []string{strings.Repeat("k", 256), "日本", "a\tb", "\x7f"} {
		p := h.post(t, oneDish, "Idempotency-Key: "+key).problem(t, http.StatusBadRequest)
		if p.Errors[0].Field != "Idempotency-Key" {
			t.Errorf("%q: %+v", key, p)
		}
	}
	h.post(t, oneDish, "Idempotency-Key: "+strings.Repeat("k", 255)).accepted(t)
	twice := newRequest(http.MethodPost, "/v1/sessions", []byte(oneDish))
	twice.Header["Idempotency-Key"] = []string{"a", "b"}
	h.do(t, twice).problem(t, http.StatusBadRequest)
	empty := newRequest(http.MethodPost, "/v1/sessions", []byte(oneDish))
	empty.Header["Idempotency-Key"] = []string{""}
	h.do(t, empty).problem(t, http.StatusBadRequest)
}

// Twenty at once with one key are one session, whoever comes first.
func TestIdempotencyRace(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	answers := make([]answer, 20)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = h.post(t, oneDish, "Idempotency-Key: race") })
	}
	wg.Wait()
	for _, a := range answers {
		if a.accepted(t); string(a.body) != string(answers[0].body) {
			t.Errorf("answers differ:\n%s\n%s", a.body, answers[0].body)
		}
	}
	if last, err := h.log.Last(t.Context()); err != nil || last != 1 {
		t.Errorf("the log has %d events, %v", last, err)
	}
}

// An append whose ack was lost is found again under its key, though the repeat has ids of its own.
func TestIdempotencyAfterLostAck(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.log.appendErr = context.DeadlineExceeded
	p := h.post(t, oneDish, "Idempotency-Key: lost")
	p.problem(t, http.StatusServiceUnavailable)
	h.log.appendErr = nil
	first := h.post(t, oneDish, "Idempotency-Key: lost").accepted(t)
	second := h.post(t, oneDish, "Idempotency-Key: lost").accepted(t)
	if first.Items[0].ID != second.Items[0].ID || first.Seq != second.Seq {
		t.Errorf("%+v, then %+v", first, second)
	}
}

func TestErasedSessionStaysErased(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	got := h.post(t, oneDish, "Idempotency-Key: gone").accepted(t)
	key := menu.Key{Tenant: menu.DefaultTenant, Session: got.SessionID}
	if _, err := h.log.AppendMenu(t.Context(), key, got.Seq, eventstore.Proposed{Event: menu.Erased{By: "guest"}, Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	h.post(t, oneDish, "Idempotency-Key: gone").problem(t, http.StatusGone)
}

func TestTenantsAreApart(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(c *httpapi.Config) {
		c.Tenant = func(c *fiber.Ctx) menu.Tenant { return menu.Tenant(strings.Clone(c.Get("X-Tenant"))) }
	})
	mine := h.post(t, oneDish, "Idempotency-Key: k", "X-Tenant: mine").accepted(t)
	theirs := h.post(t, oneDish, "Idempotency-Key: k", "X-Tenant: theirs").accepted(t)
	if mine.SessionID == theirs.SessionID {
		t.Error("one key of two tenants is one session")
	}
	h.get(t, "/v1/sessions/"+string(mine.SessionID), "X-Tenant: mine")
	h.get(t, "/v1/sessions/"+string(mine.SessionID), "X-Tenant: theirs").problem(t, http.StatusNotFound)
	h.get(t, "/v1/menus/"+string(mine.Items[0].ID), "X-Tenant: theirs").problem(t, http.StatusNotFound)
}

// What the parts answer becomes the status that tells the client what to do.
func TestSubmitWhenPartsFail(t *testing.T) {
	t.Parallel()
	away := errors.New("dial tcp 10.0.0.7:5432: connection refused")
	for _, tt := range []struct {
		name   string
		spoil  func(*harness)
		header []string
		status int
		retry  string
	}{
		{"Full", func(h *harness) { h.log.appendErr = fmt.Errorf("append: %w", eventstore.ErrFull) }, nil, http.StatusInsufficientStorage, ""},
		{"TooLarge", func(h *harness) { h.log.appendErr = fmt.Errorf("append: %w", eventstore.ErrTooLarge) }, nil, http.StatusRequestEntityTooLarge, ""},
		{"BrokerAway", func(h *harness) { h.log.appendErr = away }, nil, http.StatusServiceUnavailable, "1"},
		{"BrokerSlow", func(h *harness) { h.log.appendErr = context.DeadlineExceeded }, nil, http.StatusServiceUnavailable, "1"},
		{"BrokerAwayAtLookUp", func(h *harness) { h.log.loadErr = away }, []string{"Idempotency-Key: k"}, http.StatusServiceUnavailable, "1"},
		{"PostgresAway", func(h *harness) { h.reserved.err = away }, nil, http.StatusServiceUnavailable, "1"},
		{"ConflictWithNothing", func(h *harness) { h.log.appendErr = &eventstore.ConflictError{} }, nil, http.StatusServiceUnavailable, "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			tt.spoil(h)
			res := h.post(t, oneDish, tt.header...)
			res.problem(t, tt.status)
			if got := res.header.Get("Retry-After"); got != tt.retry {
				t.Errorf("Retry-After %q, want %q", got, tt.retry)
			}
			if strings.Contains(string(res.body), "10.0.0.7") {
				t.Errorf("the client is told %s", res.body)
			}
			if tt.status >= 500 && !strings.Contains(h.logged.String(), "request failed") {
				t.Error("nothing was logged")
			}
		})
	}
}

// The work of a request ends with its deadline, not with the client's patience.
func TestRequestDeadline(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(c *httpapi.Config) {
		c.Reservations, c.RequestTimeout = stuck{}, 20*time.Millisecond
	})
	h.post(t, oneDish).problem(t, http.StatusServiceUnavailable)
}

type stuck struct{}

func (stuck) Reserve(ctx context.Context, _ menu.Key, _ []menu.DishID) error {
	<-ctx.Done()
	return ctx.Err()
}

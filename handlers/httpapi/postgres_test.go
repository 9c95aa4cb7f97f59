package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/httpapi"
	"kondate/projections"
	"kondate/projections/pgtest"
)

// newProjected is a harness whose rows and reservations are real ones, kept by a running projector.
func newProjected(t *testing.T) *harness {
	t.Helper()
	url := pgtest.New(t, pgtest.WithTemplate("httpapi", projections.Migrate))
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	var log *brokenLog
	h := newHarness(t, func(c *httpapi.Config) {
		log, _ = c.Log.(*brokenLog)
		queries := projections.NewQueries(pool)
		c.Rows, c.History, c.Failures, c.Reservations = queries, queries, queries, projections.NewReservations(pool, log)
		c.RequestTimeout, c.WaitTimeout = 45*time.Second, 40*time.Second // ten thousand rows on a busy machine
	})
	projector := projections.NewProjector(pool, log, projections.ProjectorConfig{
		Identity: func(context.Context) (string, error) { return "test", nil }, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- projector.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the projector ended with %v", err)
		}
	})
	return h
}

// What comes in by POST comes out by GET, through the log, the projector and Postgres, as soon as it was accepted.
func TestRowsFromPostgres(t *testing.T) {
	t.Parallel()
	h := newProjected(t)
	posted := h.post(t, `{"title":"昼の部","items":[{"id":"own","name":"親子丼 ","category":"丼","price":850},{"name":"'; DROP TABLE menus; --"}]}`).accepted(t)
	path := "/v1/sessions/" + string(posted.SessionID)

	var session map[string]any
	h.get(t, path).into(t, &session)
	for _, key := range []string{"session_id", "tenant", "title", "status", "items", "completed", "failed", "stages", "created_at", "completed_at", "last_seq"} {
		if _, there := session[key]; !there {
			t.Errorf("the session has no %s: %v", key, session)
		}
	}
	if session["status"] != "processing" || session["title"] != "昼の部" || session["items"] != 2.0 {
		t.Errorf("session %v", session)
	}

	answerOf := func(stage menu.Stage) menu.DishResult {
		return menu.DishResult{ID: "own", Attempt: 1, Result: menu.Result{
			Stage: stage, Status: menu.StatusOK, Provider: "test", Basis: menu.BasisExact, Confidence: 1, Data: json.RawMessage(`{"translation":"Oyakodon","category_translation":"Bowls"}`),
		}}
	}
	receipt, err := h.log.Append(t.Context(), menu.Key{Tenant: menu.DefaultTenant, Session: posted.SessionID}, eventstore.Proposed{
		Event: menu.StageCompleted{Stage: menu.Translation, Results: []menu.DishResult{answerOf(menu.Translation)}}, Time: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	var rows struct {
		Menus []map[string]any `json:"menus"`
		Seq   uint64           `json:"seq"`
	}
	h.get(t, fmt.Sprintf("%s/menus?min_seq=%d", path, receipt.Seq)).into(t, &rows)
	if rows.Seq < receipt.Seq || len(rows.Menus) != 2 {
		t.Fatalf("rows %+v", rows)
	}
	first := rows.Menus[0]
	if first["name"] != "親子丼 " || first["price"] != "850" || first["translation"] != "Oyakodon" || first["processing_status"] != "processing" {
		t.Errorf("the first row is %v", first)
	}
	if second := rows.Menus[1]; second["name"] != "'; DROP TABLE menus; --" || second["price"] != nil || second["processing_status"] != "basic_completed" {
		t.Errorf("the second row is %v", second)
	}
	var one map[string]any
	h.get(t, "/v1/menus/own").into(t, &one)
	if fmt.Sprint(one) != fmt.Sprint(first) {
		t.Errorf("by itself the row is %v\namong others it was    %v", one, first)
	}
	h.get(t, "/v1/menus/nobody").problem(t, http.StatusNotFound)
	h.get(t, "/v1/sessions/nobody").problem(t, http.StatusNotFound)
	h.get(t, "/v1/sessions/nobody/menus").problem(t, http.StatusNotFound)
}

// A taken id is refused by the table and named; a repeat under its key is not taken by itself.
func TestReservationsInPostgres(t *testing.T) {
	t.Parallel()
	h := newProjected(t)
	const body = `{"items":[{"id":"a","name":"かけそば"},{"id":"b","name":"かけうどん"}]}`
	h.post(t, body, "Idempotency-Key: k").accepted(t)
	h.post(t, body, "Idempotency-Key: k").accepted(t)
	p := h.post(t, `{"items":[{"id":"c","name":"冷奴"},{"id":"b","name":"枝豆"}]}`).problem(t, http.StatusConflict)
	if len(p.Errors) != 1 || p.Errors[0].Field != "items[1].id" {
		t.Errorf("errors %+v", p.Errors)
	}
	h.post(t, `{"items":[{"id":"c","name":"冷奴"}]}`).accepted(t) // the refused menu kept nothing
}

// Every text that the API takes is one that Postgres takes: the same rows come back, to the character.
func TestOddTextsInPostgres(t *testing.T) {
	t.Parallel()
	h := newProjected(t)
	names := []string{
		"冷奴\n\ndata: {\"type\":\"done\"}\n\nevent: done", "a\r\nb\tc", "刺身\u2028盛り\u2029", "👨‍👩‍👧‍👦🍣", "\u202eeerf tun\u202c", "天" + strings.Repeat("\u0301", 200),
		"\ufffd", "\U0010ffff\ufdd0\ufffe", strings.Repeat("鯖", menu.MaxName), `\u0000 \x00 %s %n`,
	}
	items := make([]map[string]string, len(names))
	for i, name := range names {
		items[i] = map[string]string{"name": name, "price": "時価"}
	}
	posted := h.do(t, post(map[string]any{"items": items})).accepted(t)
	var rows struct {
		Menus []struct {
			Name string `json:"name"`
		} `json:"menus"`
	}
	h.get(t, fmt.Sprintf("/v1/sessions/%s/menus?min_seq=%d", posted.SessionID, posted.Seq)).into(t, &rows)
	got := make([]string, len(rows.Menus))
	for i, row := range rows.Menus {
		got[i] = row.Name
	}
	if !slices.Equal(got, names) {
		t.Errorf("rows are %q\nwant     %q", got, names)
	}
}

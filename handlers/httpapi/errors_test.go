package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/httpapi"
	"kondate/projections"
)

// trouble is one way to get a problem out of a route.
type trouble struct {
	operation string
	status    int
	target    string // "POST /v1/sessions"
	body      string
	header    string
	field     string // the problem has to name it
	prepare   func(t *testing.T, h *harness)
}

// parkedOne is a database in which one stage of the dish "soba" is parked.
type parkedOne struct{ key *menu.Key }

func (p parkedOne) Failures(context.Context, projections.FailureFilter) ([]projections.Failure, error) {
	return []projections.Failure{{Tenant: p.key.Tenant, SessionID: p.key.Session, MenuID: "soba", Stage: menu.Allergen, Reason: "timeout"}}, nil
}

// Every route gives every problem that its description names, naming what is wrong; the table has a line for each.
func TestProblems(t *testing.T) {
	t.Parallel()
	const sessionPath, dishPath = "/v1/sessions/SESSION", "/v1/menus/soba"
	const retryPath, imagePath = "POST " + dishPath + "/stages/allergen/retry", "POST " + dishPath + "/image"
	full := func(_ *testing.T, h *harness) { h.log.appendErr = fmt.Errorf("append: %w", eventstore.ErrFull) }
	away := func(_ *testing.T, h *harness) {
		h.rows.err, h.log.loadErr, h.history.err = errors.New("x"), errors.New("x"), errors.New("x")
	}
	erased := func(t *testing.T, h *harness) {
		t.Helper()
		if res := h.do(t, newRequest(http.MethodDelete, "/v1/sessions/"+string(h.session.Session), nil)); res.status != http.StatusAccepted {
			t.Fatal(res.status)
		}
	}
	parked := func(t *testing.T, h *harness) {
		t.Helper()
		h.record(t, h.session, menu.StageFailed{Stage: menu.Allergen, IDs: []menu.DishID{"soba"}, Reason: "timeout"})
	}
	fullAndParked := func(t *testing.T, h *harness) {
		t.Helper()
		parked(t, h)
		full(t, h)
	}
	big := strings.Repeat(" ", httpapi.MaxBodyBytes+1)

	table := []trouble{
		{operation: "submitMenu", status: 400, target: "POST /v1/sessions", body: `{"items":[{"name":"a"},{"name":""}]}`, field: "items[1].name"},
		{operation: "submitMenu", status: 400, target: "POST /v1/sessions", body: `{"items":[]}`, field: "items"},
		{operation: "submitMenu", status: 400, target: "POST /v1/sessions", body: oneDish, header: "Idempotency-Key: é", field: "Idempotency-Key"},
		{operation: "submitMenu", status: 409, target: "POST /v1/sessions", body: `{"items":[{"id":"soba","name":"a"}]}`, field: "items[0].id"},
		{operation: "submitMenu", status: 410, target: "POST /v1/sessions", body: oneSoba, header: "Idempotency-Key: soba", prepare: erased},
		{operation: "submitMenu", status: 413, target: "POST /v1/sessions", body: big},
		{operation: "submitMenu", status: 413, target: "POST /v1/sessions", body: oneDish, prepare: func(_ *testing.T, h *harness) { h.log.appendErr = eventstore.ErrTooLarge }},
		{operation: "submitMenu", status: 415, target: "POST /v1/sessions", body: oneDish, header: "Content-Type: text/plain"},
		{operation: "submitMenu", status: 422, target: "POST /v1/sessions", body: oneDish, header: "Idempotency-Key: soba"},
		{operation: "submitMenu", status: 503, target: "POST /v1/sessions", body: oneDish, prepare: func(_ *testing.T, h *harness) { h.reserved.err = errors.New("x") }},
		{operation: "submitMenu", status: 503, target: "POST /v1/sessions", body: oneDish, prepare: func(_ *testing.T, h *harness) { h.log.appendErr = errors.New("x") }},
		{operation: "submitMenu", status: 507, target: "POST /v1/sessions", body: oneDish, prepare: full},

		{operation: "eraseSession", status: 400, target: "DELETE /v1/sessions/a.b", field: "id"},
		{operation: "eraseSession", status: 400, target: "DELETE " + sessionPath + "?reason=%00", field: "reason"},
		{operation: "eraseSession", status: 400, target: "DELETE " + sessionPath + "?reasn=x", field: "reasn"},
		{operation: "eraseSession", status: 404, target: "DELETE /v1/sessions/nobody"},
		{operation: "eraseSession", status: 503, target: "DELETE " + sessionPath, prepare: away},
		{operation: "eraseSession", status: 507, target: "DELETE " + sessionPath, prepare: full},

		{operation: "retryStage", status: 400, target: "POST /v1/menus/a.b/stages/allergen/retry", field: "id"},
		{operation: "retryStage", status: 400, target: "POST " + dishPath + "/stages/taste/retry", field: "stage"},
		{operation: "retryStage", status: 404, target: "POST /v1/menus/nobody/stages/allergen/retry"},
		{operation: "retryStage", status: 409, target: retryPath},
		{operation: "retryStage", status: 410, target: retryPath, prepare: erased},
		{operation: "retryStage", status: 413, target: retryPath, body: big},
		{operation: "retryStage", status: 503, target: retryPath, prepare: away},
		{operation: "retryStage", status: 507, target: retryPath, prepare: fullAndParked},

		{operation: "requestPicture", status: 400, target: "POST /v1/menus/a.b/image", field: "id"},
		{operation: "requestPicture", status: 404, target: "POST /v1/menus/nobody/image"},
		{operation: "requestPicture", status: 409, target: imagePath, prepare: func(t *testing.T, h *harness) { t.Helper(); h.ask(t, "soba") }},
		{operation: "requestPicture", status: 410, target: imagePath, prepare: erased},
		{operation: "requestPicture", status: 413, target: imagePath, body: big},
		{operation: "requestPicture", status: 503, target: imagePath, prepare: away},
		{operation: "requestPicture", status: 507, target: imagePath, prepare: full},

		{operation: "exportEvents", status: 400, target: "GET /v1/events?limit=-1", field: "limit"},
		{operation: "exportEvents", status: 400, target: "GET /v1/events?sesion=x&tokn=y", field: "tokn"},
		{operation: "exportEvents", status: 403, target: "GET /v1/events?tenant=other"},
		{operation: "exportEvents", status: 503, target: "GET /v1/events", prepare: away},

		{operation: "listFailures", status: 400, target: "GET /v1/failures?limit=0", field: "limit"},
		{operation: "listFailures", status: 400, target: "GET /v1/failures?stages=allergen", field: "stages"},
		{operation: "listFailures", status: 400, target: "GET /v1/failures?menu_id=a.b", field: "menu_id"},
		{operation: "listFailures", status: 503, target: "GET /v1/failures"},

		{operation: "retryFailures", status: 400, target: "POST /v1/failures/retry", body: `{}`, field: "all"},
		{operation: "retryFailures", status: 400, target: "POST /v1/failures/retry", body: `{"session_id":"a.b"}`, field: "session_id"},
		{operation: "retryFailures", status: 400, target: "POST /v1/failures/retry", body: `{"stages":"allergen"}`, field: "stages"},
		{operation: "retryFailures", status: 413, target: "POST /v1/failures/retry", body: big},
		{operation: "retryFailures", status: 415, target: "POST /v1/failures/retry", body: `{"all":true}`, header: "Content-Type: application/x-www-form-urlencoded"},
		{operation: "retryFailures", status: 503, target: "POST /v1/failures/retry", body: `{"all":true}`},
		{operation: "retryFailures", status: 507, target: "POST /v1/failures/retry", body: `{"all":true}`, prepare: fullAndParked},

		{operation: "getSchema", status: 400, target: "GET /schemas/menu.submitted/v1", field: "version"},
		{operation: "getSchema", status: 404, target: "GET /schemas/menu.submitted/v99.json"},

		{operation: "ready", status: 503, target: "GET /readyz", field: "log", prepare: away},
	}
	for operation, path := range map[string]string{"getSession": sessionPath, "listDishes": sessionPath + "/menus", "getDish": dishPath} {
		unknown := strings.NewReplacer("SESSION", "nobody", "soba", "nobody").Replace(path)
		table = append(
			table,
			trouble{operation: operation, status: 400, target: "GET " + path + "?min_seq=-1", field: "min_seq"},
			trouble{operation: operation, status: 400, target: "GET " + path + "?as_of_seq=%31e3", field: "as_of_seq"},
			trouble{operation: operation, status: 400, target: "GET " + path + "?asof_seq=1", field: "asof_seq"},
			trouble{operation: operation, status: 404, target: "GET " + unknown},
			trouble{operation: operation, status: 503, target: "GET " + path, prepare: away},
			trouble{operation: operation, status: 504, target: "GET " + path + "?min_seq=9999"},
		)
	}
	for _, extension := range []string{"svg", "png"} {
		path, operation := dishPath+"/image."+extension, "getPicture"+extension
		table = append(
			table,
			trouble{operation: operation, status: 400, target: "GET /v1/menus/a%2eb/image." + extension, field: "id"},
			trouble{operation: operation, status: 404, target: "GET " + path},
			trouble{operation: operation, status: 503, target: "GET " + path, prepare: away},
		)
	}
	covered := map[string]bool{}
	for _, line := range table {
		covered[line.operation+" "+strconv.Itoa(line.status)] = true
		t.Run(fmt.Sprintf("%s %d %s", line.operation, line.status, line.field), func(t *testing.T) {
			t.Parallel()
			line.try(t)
		})
	}
	for _, missing := range undocumented(t, covered) {
		t.Errorf("the table has no line for %s, which the description names", missing)
	}
}

func (line trouble) try(t *testing.T) {
	t.Helper()
	var key menu.Key
	h := newHarness(t, func(c *httpapi.Config) {
		c.WaitTimeout = 20 * time.Millisecond
		if line.operation == "retryFailures" && line.status == http.StatusInsufficientStorage {
			c.Failures = parkedOne{&key}
		}
		c.Readiness.Checks = []httpapi.Check{httpapi.Answers("log", func(ctx context.Context) error {
			_, err := c.Log.LoadLane(ctx, menu.Key{}, menu.LaneMenu, 0)
			return err
		})}
	})
	posted := h.post(t, oneSoba, "Idempotency-Key: soba").accepted(t)
	key = menu.Key{Tenant: menu.DefaultTenant, Session: posted.SessionID}
	h.session = key
	if line.prepare != nil {
		line.prepare(t, h)
	}
	method, target, _ := strings.Cut(line.target, " ")
	var body []byte
	if line.body != "" {
		body = []byte(line.body)
	}
	req := newRequest(method, strings.ReplaceAll(target, "SESSION", string(key.Session)), body)
	if name, value, given := strings.Cut(line.header, ": "); given {
		req.Header.Set(name, value)
	}
	var got answer
	if len(body) > httpapi.MaxBodyBytes {
		got = send(t, h.listen(t), req)
	} else {
		got = h.do(t, req)
	}
	p := got.problem(t, line.status)
	if line.field != "" && !slices.ContainsFunc(p.Errors, func(e menu.FieldError) bool { return e.Field == line.field }) {
		t.Errorf("%s is not named: %s", line.field, got.body)
	}
	if passes := slices.Contains([]int{429, 503, 504}, line.status); passes != (got.header.Get("Retry-After") != "") {
		t.Errorf("Retry-After is %q", got.header.Get("Retry-After"))
	}
	if got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control is %q", got.header.Get("Cache-Control"))
	}
}

const oneSoba = `{"items":[{"id":"soba","name":"かけそば"}]}`

// undocumented lists the problems of the description that are not covered. What every route has alike is tested elsewhere.
func undocumented(t *testing.T, covered map[string]bool) (missing []string) {
	t.Helper()
	var document struct {
		Paths map[string]map[string]struct {
			ID         string         `json:"operationId"`
			Parameters []any          `json:"parameters"`
			Body       any            `json:"requestBody"`
			Responses  map[string]any `json:"responses"`
		} `json:"paths"`
	}
	newHarness(t).get(t, "/openapi.json").into(t, &document)
	alike := []string{"401", "403", "429", "431", "500"}
	for _, methods := range document.Paths {
		for _, o := range methods {
			for status := range maps.Keys(o.Responses) {
				plain := status == "400" && o.Body == nil && !slices.ContainsFunc(o.Parameters, func(p any) bool { return fmt.Sprint(p.(map[string]any)["in"]) != "header" })
				if status >= "400" && !plain && !slices.Contains(alike, status) && !covered[o.ID+" "+status] {
					missing = append(missing, o.ID+" "+status)
				}
			}
		}
	}
	return missing
}

// The limit counts every route but the probes.
func TestProblemsOfTheLimit(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(c *httpapi.Config) { c.RateLimit, c.RateBurst = 0.001, 1 })
	h.get(t, "/openapi.json")
	for _, route := range h.app.GetRoutes(true) {
		if route.Path == "/healthz" || route.Path == "/readyz" {
			continue
		}
		res := h.do(t, newRequest(route.Method, strings.NewReplacer(":id", "x", ":stage", "allergen").Replace(route.Path), nil))
		if route.Method == http.MethodHead {
			if res.status != http.StatusTooManyRequests {
				t.Errorf("HEAD %s: %d", route.Path, res.status)
			}
			continue
		}
		res.problem(t, http.StatusTooManyRequests)
	}
	h.get(t, "/nowhere").problem(t, http.StatusTooManyRequests) // nor does guessing of paths come for nothing
}

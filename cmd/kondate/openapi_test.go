package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"kondate/handlers/access"
	"kondate/handlers/openapi/openapitest"
)

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// caller sends requests to a system and holds every answer against its description.
type caller struct {
	s       *system
	checker *openapitest.Checker
}

// describedSystem starts a system whose routes are those of its description.
func describedSystem(t *testing.T, args ...string) *caller {
	t.Helper()
	c := &caller{s: startSystem(t, nil, args...)}
	document := c.send(t, http.MethodGet, "/openapi.json", "")
	if document.status != http.StatusOK {
		t.Fatalf("%d: %s", document.status, document.body)
	}
	c.checker = openapitest.New(t, document.body)
	// The files of the page are no API.
	c.checker.Routes(t, c.s.web, "/console/")
	return c
}

// send sends a request; header is "name: value" lines.
func (c *caller) send(t *testing.T, method, path, body string, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.s.running.HTTPURL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	res, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if c.checker != nil {
		c.checker.Answer(t, req, res.StatusCode, res.Header, answer)
	}
	return reply{res.StatusCode, res.Header, answer}
}

// want is send for an answer of a known status, decoded into an object.
func (c *caller) want(t *testing.T, status int, method, path, body string, header ...string) (object map[string]any) {
	t.Helper()
	got := c.send(t, method, path, body, header...)
	if got.status != status {
		t.Fatalf("%s %s: %d, want %d: %.500s", method, path, got.status, status, got.body)
	}
	if media := got.header.Get("Content-Type"); strings.Contains(media, "json") && !strings.Contains(media, "ndjson") && len(got.body) > 0 {
		if err := json.Unmarshal(got.body, &object); err != nil {
			t.Fatalf("%s %s: %v: %.300s", method, path, err, got.body)
		}
	}
	return object
}

// TestDescribedAPI walks every route of the running program, with what really comes from NATS, Postgres and the stages.
func TestDescribedAPI(t *testing.T) {
	t.Parallel()
	c := describedSystem(t, "--http-cors-origins", "https://menu.example")
	const menu = `{"title":"昼の部","items":[{"id":"oyako","name":"親子丼","category":"丼","price":850},{"name":"冷奴"}]}`
	accepted := c.want(t, http.StatusAccepted, http.MethodPost, "/v1/sessions", menu, "Idempotency-Key: walk")
	again := c.want(t, http.StatusAccepted, http.MethodPost, "/v1/sessions", menu, "Idempotency-Key: walk")
	if fmt.Sprint(accepted) != fmt.Sprint(again) {
		t.Errorf("a repeat answers %v, the first time it was %v", again, accepted)
	}
	session := fmt.Sprintf("/v1/sessions/%s", accepted["session_id"])

	// EventSource of a page from elsewhere: no header but its own, and the token, if any, in the query.
	stream := c.send(t, http.MethodGet, session+"/events?token=unused", "", "Origin: https://menu.example", "Accept: text/event-stream")
	if stream.status != http.StatusOK || stream.header.Get("Access-Control-Allow-Origin") != "https://menu.example" || stream.header.Get("ETag") != "" {
		t.Fatalf("the stream: %d %v", stream.status, stream.header)
	}
	last := ""
	for b, err := range frames(bytes.NewReader(stream.body)) {
		if err != nil {
			t.Fatal(err)
		}
		if b.id != "" {
			last = b.id
		}
	}
	c.want(t, http.StatusNoContent, http.MethodGet, session+"/events", "", "Last-Event-ID: "+last)
	c.want(t, http.StatusBadRequest, http.MethodGet, session+"/events?from=end", "")
	c.want(t, http.StatusNotFound, http.MethodGet, "/v1/sessions/nobody/events", "")

	progress := c.want(t, http.StatusOK, http.MethodGet, session, "")
	if progress["status"] != "completed" || progress["completed"] != 2.0 {
		t.Errorf("the session is %v", progress)
	}
	for _, path := range []string{session, session + "/menus", "/v1/menus/oyako"} {
		now := c.send(t, http.MethodGet, path, "")
		if again := c.send(t, http.MethodGet, path, "", "If-None-Match: "+now.header.Get("ETag")); again.status != http.StatusNotModified {
			t.Errorf("%s again: %d", path, again.status)
		}
		c.want(t, http.StatusOK, http.MethodHead, path, "")
		if path == session+"/menus" {
			continue // seq is the one asked for
		}
		var object map[string]any
		if err := json.Unmarshal(now.body, &object); err != nil {
			t.Fatal(err)
		}
		if then := c.want(t, http.StatusOK, http.MethodGet, fmt.Sprintf("%s?as_of_seq=%.0f", path, progress["last_seq"]), ""); fmt.Sprint(object) != fmt.Sprint(then) {
			t.Errorf("%s as of its last event is\n%v\nand now\n%v", path, then, object)
		}
	}
	c.want(t, http.StatusOK, http.MethodGet, fmt.Sprintf("%s/menus?as_of_seq=%.0f", session, accepted["seq"]), "")
	c.want(t, http.StatusOK, http.MethodGet, "/v1/events", "")
	c.want(t, http.StatusOK, http.MethodGet, "/v1/events?type=*.completed&limit=3", "")

	c.want(t, http.StatusOK, http.MethodGet, "/v1/failures", "")
	c.want(t, http.StatusAccepted, http.MethodPost, "/v1/failures/retry", `{"all":true}`)
	c.want(t, http.StatusConflict, http.MethodPost, "/v1/menus/oyako/stages/allergen/retry", "")

	c.want(t, http.StatusNotFound, http.MethodGet, "/v1/menus/oyako/image.svg", "")
	c.want(t, http.StatusAccepted, http.MethodPost, "/v1/menus/oyako/image", "")
	waitFor(t, func() bool {
		return c.want(t, http.StatusOK, http.MethodGet, "/v1/menus/oyako", "")["gen_image"] != nil
	})
	c.want(t, http.StatusOK, http.MethodGet, "/v1/menus/oyako/image.svg", "")
	c.want(t, http.StatusOK, http.MethodGet, "/v1/menus/oyako/image.png", "")

	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/client.js", "/"} {
		c.want(t, http.StatusOK, http.MethodGet, path, "")
	}
	erased := c.want(t, http.StatusAccepted, http.MethodDelete, session+"?reason=a+test", "")
	rows := c.want(t, http.StatusOK, http.MethodGet, fmt.Sprintf("%s/menus?min_seq=%.0f", session, erased["seq"]), "")
	if fmt.Sprint(rows["menus"]) != "[]" {
		t.Errorf("an erased session has the dishes %v", rows["menus"])
	}
	c.want(t, http.StatusGone, http.MethodPost, "/v1/sessions", menu, "Idempotency-Key: walk")
}

// TestRateLimitOfTheProgram: a stream counts once, however long it runs, and is refused like any other request.
func TestRateLimitOfTheProgram(t *testing.T) {
	t.Parallel()
	c := describedSystem(t, "--http-rate-limit", "0.001", "--http-rate-burst", "3") // the description was the first
	accepted := c.want(t, http.StatusAccepted, http.MethodPost, "/v1/sessions", `{"items":[{"name":"冷奴"}]}`)
	c.want(t, http.StatusOK, http.MethodGet, accepted["stream_url"].(string), "")
	fourth := c.send(t, http.MethodGet, accepted["stream_url"].(string), "")
	if fourth.status != http.StatusTooManyRequests || fourth.header.Get("Retry-After") == "" {
		t.Errorf("the fourth request: %d %v", fourth.status, fourth.header)
	}
	c.want(t, http.StatusTooManyRequests, http.MethodGet, "/v1/failures", "")
	c.want(t, http.StatusOK, http.MethodGet, "/healthz", "")
}

// The description asks for the credentials that the server asks for.
func TestDescribedAccess(t *testing.T) {
	t.Parallel()
	c := describedSystem(t)
	var document struct {
		Paths map[string]map[string]struct {
			Security []map[string][]string `json:"security"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(c.send(t, http.MethodGet, "/openapi.json", "").body, &document); err != nil {
		t.Fatal(err)
	}
	needs := map[string]access.Need{}
	for _, r := range access.Rules() {
		needs[strings.ToLower(r.Method)+" "+r.Pattern] = r.Need
	}
	for path, methods := range document.Paths {
		for method, operation := range methods {
			if method == "parameters" || method == "head" {
				continue
			}
			route := method + " " + regexp.MustCompile(`\{(\w+)\}`).ReplaceAllString(path, ":$1")
			need, known := needs[route]
			credentials := len(operation.Security)
			wanted := map[access.Need]int{access.NeedNothing: 0, access.NeedReadOrToken: 2}
			if n, special := wanted[need]; !known || (special && n != credentials) || (!special && credentials != 1) {
				t.Errorf("%s needs %v (known: %v), its description names %d credentials", route, need, known, credentials)
			}
		}
	}
}

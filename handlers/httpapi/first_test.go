package httpapi_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"kondate/handlers/httpapi"
)

// A request has one name, in its answer, in its problem document and in the log.
func TestRequestID(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for id, kept := range map[string]bool{
		"7d3c-ab": true, "a/b:c+d=e_f.g": true, strings.Repeat("x", 128): true,
		strings.Repeat("x", 129): false, "a b": false, "é": false, `"`: false, "<script>": false,
	} {
		if got := h.get(t, "/healthz", "X-Request-Id: "+id).header.Get("X-Request-Id"); (got == id) != kept || got == "" {
			t.Errorf("%q came back as %q", id, got)
		}
	}
	first, second := h.get(t, "/healthz").header.Get("X-Request-Id"), h.get(t, "/healthz").header.Get("X-Request-Id")
	if len(first) != 36 || first == second {
		t.Errorf("made %q and %q", first, second)
	}
	h.rows.err = errors.New("connection refused")
	h.get(t, "/v1/sessions/x", "X-Request-Id: trace-me").problem(t, http.StatusServiceUnavailable)
	h.app.Get("/panic", func(*fiber.Ctx) error { panic("x") })
	h.get(t, "/panic", "X-Request-Id: trace-me-too").problem(t, http.StatusInternalServerError)
	for _, id := range []string{"request_id=trace-me ", "request_id=trace-me-too "} {
		if logged := h.logged.String(); !strings.Contains(logged, id) {
			t.Errorf("no %s in %s", id, logged)
		}
	}
}

// What the server refuses before any route sees it is a problem document too, with the headers that all answers have.
func TestRefusedByTheServer(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	address := h.listen(t)
	for name, test := range map[string]struct {
		request string
		status  int
	}{
		"NoHTTP":        {"\x16\x03\x01 nonsense\r\n\r\n", http.StatusNotImplemented},
		"NoLine":        {"nonsense\r\n\r\n", http.StatusBadRequest},
		"LongHeader":    {"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 5000) + "\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"LongPath":      {"GET /" + strings.Repeat("x", 5000) + " HTTP/1.1\r\nHost: x\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"LongBody":      {fmt.Sprintf("POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", httpapi.MaxBodyBytes+1), http.StatusRequestEntityTooLarge},
		"BadLength":     {"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: -7\r\n\r\n", http.StatusBadRequest},
		"BadChunk":      {"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", http.StatusBadRequest},
		"UnknownMethod": {"BREW /v1/sessions HTTP/1.1\r\nHost: x\r\n\r\n", http.StatusNotImplemented},
		"ShortMethod":   {"get /v1/sessions HTTP/1.1\r\nHost: x\r\n\r\n", http.StatusNotImplemented},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close() //nolint:errcheck // the answer was read
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte(test.request)); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close() //nolint:errcheck // it was only read
			got := read(t, res)
			got.problem(t, test.status)
			if got.header.Get("X-Content-Type-Options") != "nosniff" || got.header.Get("Content-Security-Policy") == "" || got.header.Get("X-Request-Id") == "" ||
				!strings.Contains(string(got.body), got.header.Get("X-Request-Id")) {
				t.Errorf("%v\n%s", got.header, got.body)
			}
		})
	}
}

// Pages of the named origins may use the API, others may not.
func TestOtherOrigins(t *testing.T) {
	t.Parallel()
	const friend, stranger = "https://menu.example", "https://menu.example.evil.example"
	h := newHarness(t, func(c *httpapi.Config) { c.CORSOrigins = []string{friend, "http://localhost:3000"} })
	preflight := h.do(t, newRequest(http.MethodOptions, "/v1/sessions", nil, "Origin: "+friend, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type,idempotency-key"))
	if preflight.status != http.StatusNoContent || preflight.header.Get("Access-Control-Allow-Origin") != friend || len(preflight.body) > 0 {
		t.Errorf("preflight: %d %v", preflight.status, preflight.header)
	}
	for name, parts := range map[string][]string{
		"Access-Control-Allow-Methods": {"GET", "POST", "DELETE"},
		"Access-Control-Allow-Headers": {"Content-Type", "Idempotency-Key", "Authorization", "Last-Event-ID", "If-None-Match"},
	} {
		for _, part := range parts {
			if value := preflight.header.Get(name); !strings.Contains(value, part) {
				t.Errorf("%s is %q, without %s", name, value, part)
			}
		}
	}
	res := h.get(t, "/healthz", "Origin: "+friend)
	exposed := res.header.Get("Access-Control-Expose-Headers")
	if res.header.Get("Access-Control-Allow-Origin") != friend || !strings.Contains(exposed, "ETag") || !strings.Contains(exposed, "Retry-After") || !strings.Contains(exposed, "Location") {
		t.Errorf("a request: %v", res.header)
	}
	if res.header.Get("Access-Control-Allow-Credentials") != "" || !strings.Contains(res.header.Get("Vary"), "Origin") {
		t.Errorf("a request: %v", res.header)
	}
	if p := h.get(t, "/v1/sessions/a.b", "Origin: "+friend); p.status != http.StatusBadRequest || p.header.Get("Access-Control-Allow-Origin") != friend {
		t.Errorf("a problem: %d %v", p.status, p.header)
	}
	for _, origin := range []string{stranger, "null", "http://menu.example", "https://menu.example:444"} {
		if res := h.get(t, "/healthz", "Origin: "+origin); res.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s may read: %v", origin, res.header)
		}
	}
	open := newHarness(t, func(c *httpapi.Config) { c.CORSOrigins = []string{"*"} })
	if res := open.get(t, "/healthz", "Origin: "+stranger); res.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("with *: %v", res.header)
	}
	none := newHarness(t)
	if res := none.get(t, "/healthz", "Origin: "+friend); res.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("without origins: %v", res.header)
	}
	none.do(t, newRequest(http.MethodOptions, "/v1/sessions", nil, "Origin: "+friend, "Access-Control-Request-Method: POST")).problem(t, http.StatusMethodNotAllowed)
}

func TestCheckOrigin(t *testing.T) {
	t.Parallel()
	for origin, good := range map[string]bool{
		"https://example.org": true, "http://localhost:3000": true, "http://[::1]:8080": true, "*": true,
		"": false, "example.org": false, "https://example.org/": false, "https://*.example.org": false, "https://example.org/x": false, "null": false,
		"ftp://example.org": false, "https://u@example.org": false, "https://Example.org": false, "https://a.example,https://b.example": false, "https://": false,
	} {
		if err := httpapi.CheckOrigin(origin); (err == nil) != good {
			t.Errorf("%q: %v", origin, err)
		}
	}
}

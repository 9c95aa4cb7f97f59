package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"kondate/handlers/httpapi"
)

func TestProbes(t *testing.T) {
	t.Parallel()
	ready := func(context.Context) error { return nil }
	away := func(context.Context) error { return errors.New("no route to 10.1.2.3") }
	h := newHarness(t, func(c *httpapi.Config) {
		c.Checks = []httpapi.Check{{Name: "log", Ready: ready}, {Name: "postgres", Ready: ready}}
	})
	if res := h.get(t, "/healthz"); res.status != http.StatusOK || string(res.body) != `{"status":"ok"}` {
		t.Errorf("healthz: %d %s", res.status, res.body)
	}
	if res := h.get(t, "/readyz"); res.status != http.StatusOK || !strings.Contains(string(res.body), "postgres") {
		t.Errorf("readyz: %d %s", res.status, res.body)
	}
	h = newHarness(t, func(c *httpapi.Config) {
		c.Checks = []httpapi.Check{{Name: "log", Ready: ready}, {Name: "postgres", Ready: away}}
	})
	p := h.get(t, "/readyz").problem(t, http.StatusServiceUnavailable)
	if len(p.Errors) != 1 || p.Errors[0].Field != "postgres" || !strings.Contains(p.Errors[0].Problem, "10.1.2.3") {
		t.Errorf("readyz: %+v", p)
	}
	h.get(t, "/healthz")
}

// A panic of a handler is one client's 500 and a line in the log, with the stack there and not in the answer.
func TestPanicIsContained(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.app.Get("/panic", func(*fiber.Ctx) error { panic("secret of the handler") })
	res := h.get(t, "/panic")
	res.problem(t, http.StatusInternalServerError)
	if strings.Contains(string(res.body), "secret") {
		t.Errorf("the client is told %s", res.body)
	}
	if logged := h.logged.String(); !strings.Contains(logged, "secret of the handler") || !strings.Contains(logged, "goroutine") {
		t.Errorf("logged %q", logged)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	err := httpapi.Config{Checks: []httpapi.Check{{Name: "x"}}, WaitTimeout: -1, RequestTimeout: time.Minute}.Validate()
	for _, name := range []string{"Log", "Rows", "Reservations", "Tenant", "Now", "Logger", "Checks[0]", "BatchSize", "WaitTimeout", "RequestTimeout"} {
		if err == nil || !strings.Contains(err.Error(), "Config."+name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
	if _, err := httpapi.New(httpapi.Config{}); err == nil {
		t.Error("an empty Config was taken")
	}
}

package httpapi_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofiber/fiber/v2"

	"kondate/handlers/httpapi"
)

func TestProbes(t *testing.T) {
	t.Parallel()
	ready := func(context.Context) error { return nil }
	away := func(context.Context) error { return errors.New("no route to 10.1.2.3") }
	standby := func(context.Context) (httpapi.PartState, error) {
		return httpapi.PartState{State: "standby", Notes: []string{"another one leads"}, Figures: map[string]float64{"lag_events": 3}}, nil
	}
	h := newHarness(t, func(c *httpapi.Config) {
		c.Readiness = httpapi.Readiness{
			Roles: []string{"api", "projector"}, Durability: "one copy",
			Checks: []httpapi.Check{httpapi.Answers("log", ready), {Name: "projector", Look: standby}},
		}
	})
	if res := h.get(t, "/healthz"); res.status != http.StatusOK || string(res.body) != `{"status":"ok"}` {
		t.Errorf("healthz: %d %s", res.status, res.body)
	}
	const want = `{"status":"ready","roles":["api","projector"],"durability":"one copy","parts":[{"name":"log","state":"ready"},` +
		`{"name":"projector","state":"standby","notes":["another one leads"],"figures":{"lag_events":3}}]}`
	if res := h.get(t, "/readyz"); res.status != http.StatusOK || string(res.body) != want {
		t.Errorf("readyz: %d %s", res.status, res.body)
	}
	h = newHarness(t, func(c *httpapi.Config) {
		c.Readiness.Checks = []httpapi.Check{httpapi.Answers("log", ready), httpapi.Answers("postgres", away)}
	})
	p := h.get(t, "/readyz").problem(t, http.StatusServiceUnavailable)
	if len(p.Errors) != 1 || p.Errors[0].Field != "postgres" || !strings.Contains(p.Errors[0].Problem, "10.1.2.3") {
		t.Errorf("readyz: %+v", p)
	}
	h.get(t, "/healthz")
}

// What hangs has not answered; it neither holds the answer up nor hides the others.
func TestProbeOfAPartThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		deaf := make(chan struct{})
		defer close(deaf)
		p := newProbes(t, httpapi.Answers("log", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }),
			httpapi.Answers("projector", func(context.Context) error { <-deaf; return nil }),
			httpapi.Answers("streams", func(ctx context.Context) error { <-ctx.Done(); return errors.New("the tail stands at 7") }),
			httpapi.Answers("postgres", func(context.Context) error { return nil }))
		begin := time.Now()
		errs := p.Look(t.Context())
		if took := time.Since(begin); took > 4*time.Second {
			t.Errorf("it took %s", took)
		}
		for i, want := range []string{"no answer within 3s", "no answer within 3s", "the tail stands at 7", ""} {
			if err := errs[i]; (err == nil) != (want == "") || err != nil && err.Error() != want {
				t.Errorf("check %d says %v, want %q", i, err, want)
			}
		}
	})
}

// A process without the API answers its probes, and says what it is to whoever takes it for one.
func TestProbesAlone(t *testing.T) {
	t.Parallel()
	app := fiber.New(fiber.Config{ErrorHandler: httpapi.ErrorHandler(slog.New(slog.DiscardHandler)), DisableStartupMessage: true})
	p := newProbes(t, httpapi.Answers("log", func(context.Context) error { return nil }))
	p.Use(app)
	p.Routes(app)
	h := &harness{app: app}
	for _, path := range []string{"/healthz", "/readyz"} {
		if res := h.get(t, path); res.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, res.status, res.body)
		}
	}
	if p := h.get(t, "/v1/sessions/s").problem(t, http.StatusNotFound); !strings.Contains(p.Detail, "role api") {
		t.Errorf("a path of the API: %+v", p)
	}
}

func newProbes(t *testing.T, checks ...httpapi.Check) *httpapi.Probes {
	t.Helper()
	p, err := httpapi.NewProbes(httpapi.Readiness{Roles: []string{"stages"}, Checks: checks}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

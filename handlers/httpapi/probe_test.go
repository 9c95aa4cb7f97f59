package httpapi_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
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
	if len(p.Errors) != 1 || p.Errors[0].Field != "postgres" || p.Errors[0].Problem != "it does not answer" {
		t.Errorf("readyz: %+v", p)
	}
	h.get(t, "/healthz")
}

// What a check says of addresses and users is for the log, and what it says in our words for everybody.
func TestProbeTellsNoAddress(t *testing.T) {
	t.Parallel()
	cause := errors.New("no route to 10.1.2.3 for user kondate")
	h := newHarness(t, func(c *httpapi.Config) {
		c.Readiness.Checks = []httpapi.Check{
			httpapi.Answers("postgres", func(context.Context) error { return cause }),
			httpapi.Answers("projector", func(context.Context) error { return httpapi.Unready(cause, "it tries again after page %d", 7) }),
		}
	})
	res := h.get(t, "/readyz")
	if p := res.problem(t, http.StatusServiceUnavailable); len(p.Errors) != 2 || p.Errors[1].Problem != "it tries again after page 7" {
		t.Errorf("readyz: %+v", p)
	}
	if strings.Contains(string(res.body), "10.1.2.3") {
		t.Errorf("readyz tells everybody: %s", res.body)
	}
	if n := strings.Count(h.logged.String(), cause.Error()); n != 2 {
		t.Errorf("the log has the cause %d times: %s", n, h.logged.String())
	}
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

// A check that does not come back is not made again, and one that panics has found something.
func TestProbeOfAPartThatHangsForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Int32
		deaf := make(chan struct{})
		p := newProbes(t, httpapi.Answers("projector", func(context.Context) error { made.Add(1); <-deaf; return nil }),
			httpapi.Answers("postgres", func(context.Context) error { panic("the pool is nil") }))
		for range 3 {
			errs := p.Look(t.Context())
			if errs[0] == nil || errs[0].Error() != "no answer within 3s" || errs[1] == nil || errs[1].Error() != "its check panicked" {
				t.Errorf("the checks say %v", errs)
			}
		}
		if n := made.Load(); n != 1 {
			t.Errorf("the check that hangs was made %d times", n)
		}
		close(deaf)
		synctest.Wait()
		if errs := p.Look(t.Context()); errs[0] != nil || made.Load() != 2 {
			t.Errorf("after it came back it was made %d times: %v", made.Load(), errs[0])
		}
	})
}

// Whoever asks again within a second gets the same answer.
func TestProbeKeepsItsAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		made := 0
		p := newProbes(t, httpapi.Answers("log", func(context.Context) error { made++; return nil }))
		for i, want := range []int{1, 1, 2, 2, 3} {
			if p.Lately(t.Context()); made != want {
				t.Errorf("after %d halves of a second the check was made %d times, want %d", i, made, want)
			}
			<-time.After(500 * time.Millisecond)
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

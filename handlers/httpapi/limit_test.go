package httpapi_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofiber/fiber/v2"

	"kondate/handlers/httpapi"
)

// A client that asks too often waits; others, and probes, do not.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(c *httpapi.Config) {
		c.RateLimit, c.RateBurst = 0.1, 3
		c.Client = func(c *fiber.Ctx) string { return c.Get("Key") }
	})
	ask := func(key string) answer { return h.get(t, "/v1/sessions/unknown", "Key: "+key) }
	for _, key := range []string{"one", "two", ""} { // the last has no credential: its address counts
		for range 3 {
			ask(key).problem(t, http.StatusNotFound)
		}
		refused := ask(key)
		p := refused.problem(t, http.StatusTooManyRequests)
		if after, err := strconv.Atoi(refused.header.Get("Retry-After")); err != nil || after < 1 || after > 10 || !strings.HasSuffix(p.Type, "too-many-requests") {
			t.Errorf("Retry-After %q, %+v", refused.header.Get("Retry-After"), p)
		}
	}
	for range 10 {
		if h.get(t, "/healthz").status != http.StatusOK || h.get(t, "/readyz").status != http.StatusOK {
			t.Error("a probe was refused")
		}
	}
	ask("0.0.0.0").problem(t, http.StatusNotFound) // a credential that looks like the address is another client
}

// A refused request costs its client nothing: who waits as long as it was told is served.
func TestRateLimitComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := httpapi.NewLimiter(2, 4)
		for range 4 {
			if wait := l.Take("a"); wait != 0 {
				t.Fatalf("within the burst: wait %s", wait)
			}
		}
		for range 100 {
			if wait := l.Take("a"); wait != 500*time.Millisecond {
				t.Fatalf("above it: wait %s", wait)
			}
		}
		<-time.After(500 * time.Millisecond)
		if wait := l.Take("a"); wait != 0 {
			t.Fatalf("after the wait: wait %s", wait)
		}
		if wait := l.Take("a"); wait == 0 {
			t.Fatal("one more was let in")
		}
	})
}

// However many clients there are, a bounded number is remembered, and the busy ones are not forgotten for the idle.
func TestRateLimitIsBounded(t *testing.T) {
	t.Parallel()
	l := httpapi.NewLimiter(0.001, 1)
	l.Take("busy")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 10_000 {
				l.Take(fmt.Sprint(i, "-", j))
				if l.Take("busy") == 0 {
					t.Error("the busy client was forgotten")
					return
				}
			}
		})
	}
	wg.Wait()
	if n := l.Clients(); n != httpapi.MaxClients {
		t.Errorf("%d clients are remembered", n)
	}
}

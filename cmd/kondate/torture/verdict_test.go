//go:build linux

package torture_test

import (
	"context"
	"testing"
	"time"
)

// settleTime is how long each step of the verdict may take: that nothing is on its way any more, that every client knows
// it, and to read and compare everything.
const settleTime = 3 * time.Minute

// holds waits until everything is complete and holds what was promised against what is there. It returns how many
// violations there are.
func (f *fleet) holds(t *testing.T, c *clients) int {
	t.Helper()
	step := func(do func(context.Context) error) {
		ctx, cancel := context.WithTimeout(t.Context(), settleTime)
		defer cancel()
		if err := do(ctx); err != nil {
			t.Error(err)
		}
	}
	src := sources{JetStream: f.js, Postgres: f.pool, HTTP: f.apis[0].url, RetryAttempts: retryAttempts}
	begin := time.Now()
	said := func(what string) {
		t.Logf("%s %s after the last fault was mended", what, time.Since(begin).Round(time.Millisecond))
	}
	c.calm()
	step(func(ctx context.Context) error { return awaitQuiet(ctx, src) })
	said("every session was at its end")
	step(c.wait)
	said("and every client knew it")
	var violations []violation
	step(func(ctx context.Context) (err error) {
		violations, err = check(ctx, c.ledger, src)
		return err
	})
	for _, v := range violations {
		t.Error(v)
	}
	return len(violations)
}

//go:build linux

package torture_test

import (
	"context"
	"testing"
	"time"
)

// By when the steps of the verdict have to be done: that nothing is on its way any more, that every client knows it, and to
// read and compare everything. A step that took all of its time leaves the next one a minute, and two verdicts with what
// comes before them stay below the time-out of go test, which would say nothing of what was found.
const (
	quietBy   = 2 * time.Minute
	knownBy   = 3 * time.Minute
	checkedBy = 4 * time.Minute
)

// holds waits until everything is complete and holds what was promised against what is there. It returns how many
// violations there are.
func (f *fleet) holds(t *testing.T, c *clients) int {
	t.Helper()
	begin := time.Now()
	step := func(by time.Duration, do func(context.Context) error) {
		ctx, cancel := context.WithDeadline(t.Context(), begin.Add(by))
		defer cancel()
		if err := do(ctx); err != nil {
			t.Error(err)
		}
	}
	src := sources{JetStream: f.js, Postgres: f.pool, HTTP: f.apis[0].url, Archives: f.archives(), RetryAttempts: retryAttempts}
	said := func(what string) {
		t.Logf("%s %s after the last fault was mended", what, time.Since(begin).Round(time.Millisecond))
	}
	c.calm()
	step(quietBy, func(ctx context.Context) error { return awaitQuiet(ctx, src) })
	said("every session was at its end")
	step(knownBy, c.wait)
	said("and every client knew it")
	var violations []violation
	step(checkedBy, func(ctx context.Context) (err error) {
		violations, err = check(ctx, c.ledger, src)
		return err
	})
	for _, v := range violations {
		t.Error(v)
	}
	return len(violations)
}

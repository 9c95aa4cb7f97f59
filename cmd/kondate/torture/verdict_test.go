//go:build linux

package torture_test

import (
	"context"
	"testing"
	"time"
)

// settleTime is how long the fleet may take, when it is whole again, until nothing is on its way any more.
const settleTime = 3 * time.Minute

// holds waits until everything is complete and holds what was promised against what is there. It returns how many
// violations there are.
func (f *fleet) holds(t *testing.T, c *clients) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settleTime)
	defer cancel()
	src := sources{JetStream: f.js, Postgres: f.pool, HTTP: f.apis[0].url, RetryAttempts: retryAttempts}
	begin := time.Now()
	said := func(what string) {
		t.Logf("%s %s after the last fault was mended", what, time.Since(begin).Round(time.Millisecond))
	}
	c.calm()
	if err := awaitQuiet(ctx, src); err != nil {
		t.Error(err)
	}
	said("every session was at its end")
	if err := c.wait(ctx); err != nil {
		t.Error(err)
	}
	said("and every client knew it")
	violations, err := check(ctx, c.ledger, src)
	if err != nil {
		t.Error(err)
	}
	for _, v := range violations {
		t.Error(v)
	}
	return len(violations)
}

package projections_test

import (
	"context"
	"testing"
	"time"

	"kondate/domain/menu/menutest"
	"kondate/projections"
)

// A projector says what it is; one whose connection was ended does not lead any more, says so, and comes back.
func TestProjectorStatus(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	pages := make(chan projections.Page, 10)
	cfg := config()
	cfg.Written = func(p projections.Page) { pages <- p }
	p := projections.NewProjector(f.pool, f.log, cfg)
	standby := projections.NewProjector(f.pool, f.log, config())
	if got := p.Status(); got.State != projections.ProjectorStarting || leads(t, p) {
		t.Errorf("before it runs: %+v", got)
	}
	run(t, p)
	until(t, func() bool { return leads(t, p) })
	run(t, standby)
	until(t, func() bool { return standby.Status().State == projections.ProjectorStandby })
	f.submit(menutest.Key("s1"), 3)
	if page := <-pages; page.Events != 1 || page.Took <= 0 {
		t.Errorf("the page is %+v", page)
	}
	until(t, func() bool { s := p.Status(); return s.PageSince.IsZero() && !s.WrittenAt.IsZero() })
	if got := p.Status(); got.State != projections.ProjectorActive || got.Errors != 0 || leads(t, standby) {
		t.Errorf("at work: %+v", got)
	}

	if _, err := f.pool.Exec(t.Context(), "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid() and database = (select oid from pg_database where datname = current_database())"); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return !leads(t, p) && leads(t, standby) })
	f.submit(menutest.Key("s2"), 3) // the first one notices now
	until(t, func() bool {
		s := p.Status()
		return s.Errors > 0 && s.Err != nil && s.State == projections.ProjectorStandby
	})
}

func run(t *testing.T, p *projections.Projector) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = p.Run(ctx) }() // it ends with ctx
	t.Cleanup(func() { cancel(); <-ended })
}

func leads(t *testing.T, p *projections.Projector) bool {
	t.Helper()
	leads, err := p.Leads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return leads
}

func until(t *testing.T, reached func() bool) {
	t.Helper()
	late := time.After(patience)
	for !reached() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-late:
			t.Fatal("it does not come to that")
		}
	}
}

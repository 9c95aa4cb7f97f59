package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/projections"
)

const (
	// projectionGoal is the share of the bare writing of rows that the projector has to reach.
	projectionGoal = 0.7
	// atOnce is how many menus are at the same stage in the log that is projected.
	atOnce = 50
	// eventsEach is how many events a menu has there.
	eventsEach = 1 + menu.StageCount
)

// projection measures how fast the projector takes in a log, beside the bare writing of the same rows: one upsert per
// table and page. Pages of whole menus are those of a projector that catches up, each row is written once. Pages of one
// stage of each menu are those of menus that are watched live: each dish is written nine times, by both. A rebuild and a
// verification of the same log stand beside the projector that took it in.
func projection(ctx context.Context, s Settings, report func(Row)) (err error) {
	db, err := startDatabase(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = closed(ctx, err, db) }()
	log, err := newPaged(s.Menus)
	if err != nil {
		return err
	}
	for _, page := range []struct {
		what  string
		size  int
		again bool // rebuild and verify, too
	}{
		{"catching up, whole menus in a page", atOnce * eventsEach, true},
		{fmt.Sprintf("live, one stage of %d menus in a page", atOnce), atOnce, false},
	} {
		var projected, raw, rebuilt, verified []float64
		for round := range s.Rounds {
			b := &base{settings: s, log: log.inPagesOf(page.size), name: fmt.Sprintf("bench%d_%d", page.size, round)}
			if err := b.measure(ctx, db.url, page.again); err != nil {
				return fmt.Errorf("project %s: %w", page.what, err)
			}
			projected, raw = append(projected, b.projected), append(raw, b.raw)
			rebuilt, verified = append(rebuilt, b.rebuilt), append(verified, b.verified)
		}
		report(NewRow("projection", page.what, EventsPerSecond, projected, raw, projectionGoal))
		if page.again {
			report(NewRow("projection", "rebuild, of projecting the same log", EventsPerSecond, rebuilt, projected, projectionGoal))
			report(NewRow("projection", "verification, of projecting the same log", EventsPerSecond, verified, projected, projectionGoal))
		}
	}
	return nil
}

// paged is a log that is handed over in pages of one size, whatever a broker would do.
type paged struct {
	entries []eventstore.Entry
	size    int
	all     chan struct{} // closed when all is handed over
}

func newPaged(menus int) (*paged, error) {
	p := &paged{}
	ready := (&made{prefix: "projection"}).take(menus)
	for group := range slices.Chunk(ready, atOnce) {
		for step := range eventsEach {
			for _, m := range group {
				var event menu.Event = m.submitted
				if step > 0 {
					event = m.answers[step-1]
				}
				msg, err := encode(m.key, event)
				if err != nil {
					return nil, err
				}
				p.entries = append(p.entries, eventstore.Decode(msg.Subject, uint64(len(p.entries))+1, time.Now(), msg.Header, msg.Data))
			}
		}
	}
	return p, nil
}

func (p *paged) inPagesOf(size int) *paged {
	return &paged{entries: p.entries, size: size, all: make(chan struct{})}
}

// Follow hands over everything once.
func (p *paged) Follow(ctx context.Context, _ uint64, fn func(context.Context, []eventstore.Entry) error) error {
	for page := range slices.Chunk(p.entries, p.size) {
		if err := fn(ctx, page); err != nil {
			return err
		}
	}
	close(p.all)
	<-ctx.Done()
	return context.Cause(ctx)
}

// Read returns entries after a sequence.
func (p *paged) Read(_ context.Context, after uint64, limit int) ([]eventstore.Entry, error) {
	rest := p.entries[min(after, uint64(len(p.entries))):]
	return rest[:min(limit, len(rest))], nil
}

// Last returns the newest sequence.
func (p *paged) Last(context.Context) (uint64, error) { return uint64(len(p.entries)), nil }

// AppendMenu appends nothing: the log is the same in every round.
func (*paged) AppendMenu(context.Context, menu.Key, uint64, ...eventstore.Proposed) (eventstore.Receipt, error) {
	return eventstore.Receipt{}, nil
}

// Erase has nothing to do: nothing is erased.
func (*paged) Erase(context.Context, menu.Key, uint64, uint64) error { return nil }

// base is a database of one round.
type base struct {
	settings Settings
	log      *paged
	name     string
	pool     *pgxpool.Pool

	projected, raw, rebuilt, verified float64 // events a second
}

func (b *base) config() projections.ProjectorConfig {
	return projections.ProjectorConfig{
		Identity: func(context.Context) (string, error) { return "bench", nil }, Logger: b.settings.Logger,
	}
}

// measure fills a new database in every way.
func (b *base) measure(ctx context.Context, server string, again bool) (err error) {
	if err := execOn(ctx, server, "create database "+b.name); err != nil {
		return err
	}
	defer func() {
		if e := execOn(context.WithoutCancel(ctx), server, "drop database "+b.name+" with (force)"); err == nil {
			err = e
		}
	}()
	u, err := url.Parse(server)
	if err != nil {
		return fmt.Errorf("read the URL of the database: %w", err)
	}
	u.Path = "/" + b.name
	if err := projections.Migrate(ctx, u.String()); err != nil {
		return err
	}
	if b.pool, err = pgxpool.New(ctx, u.String()); err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	defer b.pool.Close()
	if err := b.project(ctx); err != nil {
		return err
	}
	if again {
		if err := b.again(ctx); err != nil {
			return err
		}
	}
	return b.bare(ctx)
}

func execOn(ctx context.Context, server, sql string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

func (b *base) rate(began time.Time) float64 {
	return float64(len(b.log.entries)) / time.Since(began).Seconds()
}

// project lets the projector take in the log.
func (b *base) project(ctx context.Context) error {
	working, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- projections.NewProjector(b.pool, b.log, b.config()).Run(working) }()
	select {
	case <-b.log.all:
		b.projected = b.rate(began)
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			return err
		}
		return context.Cause(ctx)
	case err := <-ended:
		return err
	}
}

// again rebuilds and verifies what was projected.
func (b *base) again(ctx context.Context) error {
	operations := projections.NewOperations(b.pool, b.log, b.config())
	began := time.Now()
	if _, err := operations.Rebuild(ctx, projections.RebuildOptions{}); err != nil {
		return err
	}
	b.rebuilt = b.rate(began)
	began = time.Now()
	report, err := operations.Verify(ctx, nil)
	b.verified = b.rate(began)
	if err == nil && report.Different > 0 {
		err = fmt.Errorf("%d differences between log and rows, the first is %s", report.Different, report.Differences[0])
	}
	return err
}

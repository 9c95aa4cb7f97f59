package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"kondate/eventstore"
)

// maxAppends is how many menu.completed are on their way at once.
const maxAppends = 16

// term is the time in which a projector leads on one connection. Whatever goes wrong ends it, and the next one begins
// at the checkpoint: there is no other recovery.
type term struct {
	writer

	projector *Projector
	appends   errgroup.Group // of menu.completed, beside the pages that follow
	again     chan struct{}  // holds a token if one of them failed
	erased    chan struct{}  // holds a token if the log has something to lose
	checked   bool           // the stream that Follow reads is the checkpoint's
	progress  bool           // a page was written
}

func (t *term) lead(ctx context.Context) (err error) {
	p := t.projector
	conn, err := connect(ctx, p.pool)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disconnect(ctx, conn)) }()
	return withPulse(ctx, p, conn, func(ctx context.Context, b *pulse) error {
		if err := p.waitForLead(ctx, conn, b); err != nil {
			return err
		}
		return t.work(ctx, conn)
	})
}

// work projects with the lead that conn holds.
func (t *term) work(ctx context.Context, conn *pgx.Conn) (err error) {
	p := t.projector
	if t.writer, err = p.begin(ctx, conn); err != nil {
		return err
	}
	var backend uint32 // as Postgres knows it; between the two may stand a pool
	if err := conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&backend); err != nil {
		return fmt.Errorf("ask for the number of the connection: %w", err)
	}
	p.status.enter(ProjectorActive, backend)
	p.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "projector leads", slog.Int("version", t.at.version), slog.Uint64("after", t.at.seq), slog.String("stream", t.at.identity))
	t.appends.SetLimit(maxAppends)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.sweep(ctx) })
	g.Go(func() error { return t.purge(ctx) })
	g.Go(func() error { return t.sweepPictures(ctx) })
	g.Go(func() error { return t.expire(ctx) })
	g.Go(func() error { return t.tell(ctx) })
	g.Go(func() error {
		err := p.log.Follow(ctx, t.at.seq, t.project)
		if errors.Is(err, eventstore.ErrOtherLog) {
			err = fmt.Errorf("the rows stand at event %d of stream %s: %w: %w", t.at.seq, t.at.identity, err, ErrOtherStream)
		}
		return errors.Join(err, t.appends.Wait())
	})
	return g.Wait()
}

// project is handed the log page by page.
func (t *term) project(ctx context.Context, entries []eventstore.Entry) error {
	if !t.checked {
		// The stream may have been made anew between begin and the first page; from here on Follow itself notices.
		identity, err := t.projector.cfg.Identity(ctx)
		if err != nil {
			return err
		}
		if err := t.at.check(identity); err != nil {
			return err
		}
		t.checked = true
	}
	began := t.begins()
	defer t.idle()
	return t.store(ctx, entries, func(p *page) {
		t.progress = true
		t.written(p, began)
		t.completeBeside(ctx, p.due())
		t.purgeSoon(p)
		began = t.begins()
	})
}

package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"kondate/eventstore"
)

const (
	// pageTimeout bounds one page, so that a connection that hangs is noticed.
	pageTimeout = time.Minute
	// maxPageBytes is about the most that one transaction writes.
	maxPageBytes = 4 << 20
	// maxAppends is how many menu.completed are on their way at once.
	maxAppends = 16
)

// term is the time in which a projector leads on one connection. Whatever goes wrong ends it, and the next one begins
// at the checkpoint: there is no other recovery.
type term struct {
	projector *Projector
	conn      *pgx.Conn
	at        checkpoint
	appends   errgroup.Group // of menu.completed, beside the pages that follow
	again     chan struct{}  // holds a token if one of them failed
	checked   bool           // the stream that Follow reads is the checkpoint's
	progress  bool           // a page was written
}

func (t *term) lead(ctx context.Context) (err error) {
	p := t.projector
	if t.conn, err = p.connect(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disconnect(ctx, t.conn)) }()
	if err := p.waitForLead(ctx, t.conn); err != nil {
		return err
	}
	if t.at, err = p.begin(ctx, t.conn); err != nil {
		return err
	}
	p.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "projector leads", slog.Uint64("after", t.at.seq), slog.String("stream", t.at.identity))
	t.appends.SetLimit(maxAppends)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.sweep(ctx) })
	g.Go(func() error {
		err := p.log.Follow(ctx, t.at.seq, t.project)
		if errors.Is(err, eventstore.ErrOtherLog) {
			err = fmt.Errorf("the rows stand at event %d of stream %s: %w: %w", t.at.seq, t.at.identity, err, ErrOtherStream)
		}
		return errors.Join(err, t.appends.Wait())
	})
	return g.Wait()
}

// project is handed the log page by page. What the rows reflect already changes nothing.
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
	entries = slices.DeleteFunc(slices.Clone(entries), func(e eventstore.Entry) bool { return e.Seq <= t.at.seq })
	for len(entries) > 0 {
		n := prefix(entries, maxPageBytes)
		err := t.write(ctx, entries[:n])
		if isRefused(err) {
			err = t.writeEach(ctx, entries[:n])
		}
		if err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// prefix returns how many entries have at most limit bytes together, at least one.
func prefix(entries []eventstore.Entry, limit int) int {
	bytes := 0
	for i, e := range entries {
		if bytes += len(e.Data); bytes > limit && i > 0 {
			return i
		}
	}
	return len(entries)
}

// write folds entries and stores them in one transaction.
func (t *term) write(ctx context.Context, entries []eventstore.Entry) error {
	p := t.projector
	pageCtx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	folded, err := loadPage(pageCtx, t.conn, p.sql, entries, p.cfg.Logger)
	if err != nil {
		return fmt.Errorf("load the rows of events %d to %d: %w", entries[0].Seq, entries[len(entries)-1].Seq, err)
	}
	folded.fold(ctx)
	if err := folded.write(pageCtx, t.conn, p.sql, t.at); err != nil {
		if isFenced(err) {
			return fmt.Errorf("%w: %w", ErrFenced, err)
		}
		return err
	}
	t.at.seq, t.progress = entries[len(entries)-1].Seq, true
	t.completeBeside(ctx, folded.due())
	return nil
}

// writeEach stores a page of which Postgres refuses a value, one entry at a time. The entry that holds it is set aside:
// it stands in history with the reason and changes no row.
func (t *term) writeEach(ctx context.Context, entries []eventstore.Entry) error {
	for _, e := range entries {
		err := t.write(ctx, []eventstore.Entry{e})
		if isRefused(err) {
			e.Event, e.Err = nil, fmt.Errorf("event %d cannot be stored: %w", e.Seq, err)
			err = t.write(ctx, []eventstore.Entry{e})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace"

	"kondate/eventstore"
)

const (
	// pageTimeout bounds one page, so that a connection that hangs is noticed.
	pageTimeout = time.Minute
	// maxPageBytes is about the most that one transaction writes.
	maxPageBytes = 4 << 20
)

// writer folds the log into the tables of one version, page by page from its checkpoint on.
type writer struct {
	conn *pgx.Conn
	sql  statements
	at   checkpoint
	live bool // the version is the one that readers see: its writer also keeps history and the register of ids
	log  *slog.Logger

	tracer trace.Tracer // nil: none
}

func newWriter(conn *pgx.Conn, at checkpoint, live bool, log *slog.Logger) writer {
	return writer{conn: conn, sql: newStatements(at.version), at: at, live: live, log: log}
}

// store takes entries in and hands each page's folded sessions to written, once they are committed. What the rows
// reflect already changes nothing.
func (w *writer) store(ctx context.Context, entries []eventstore.Entry, written func(*page)) error {
	entries = slices.DeleteFunc(slices.Clone(entries), func(e eventstore.Entry) bool { return e.Seq <= w.at.seq })
	for len(entries) > 0 {
		n := prefix(entries, maxPageBytes)
		err := w.write(ctx, entries[:n], written)
		if isRefused(err) {
			err = w.writeEach(ctx, entries[:n], written)
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
func (w *writer) write(ctx context.Context, entries []eventstore.Entry, written func(*page)) error {
	pageCtx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	pageCtx, traced := w.beginTrace(pageCtx, entries)
	folded, err := w.commit(pageCtx, entries)
	traced.end(pageCtx, w.tracer, folded, err)
	if err != nil {
		return err
	}
	w.at.seq = entries[len(entries)-1].Seq
	written(folded)
	return nil
}

// commit is the transaction of a page.
func (w *writer) commit(ctx context.Context, entries []eventstore.Entry) (*page, error) {
	folded, err := loadPage(ctx, w.conn, w.sql, entries, w.log)
	if err != nil {
		return nil, fmt.Errorf("load the rows of events %d to %d: %w", entries[0].Seq, entries[len(entries)-1].Seq, err)
	}
	folded.fold(ctx)
	if err := folded.write(ctx, w); err != nil {
		switch {
		case hasCode(err, codeFenced):
			return nil, fmt.Errorf("%w: %w", ErrFenced, err)
		case hasCode(err, codeNotLive):
			return nil, fmt.Errorf("%w: %w", errNotLive, err)
		}
		return nil, err
	}
	return folded, nil
}

// writeEach stores a page of which Postgres refuses a value, one entry at a time. The entry that holds it is set aside:
// it stands in history with the reason and changes no row.
func (w *writer) writeEach(ctx context.Context, entries []eventstore.Entry, written func(*page)) error {
	for _, e := range entries {
		err := w.write(ctx, []eventstore.Entry{e}, written)
		if isRefused(err) {
			e.Event, e.Err = nil, fmt.Errorf("event %d cannot be stored: %w", e.Seq, err)
			err = w.write(ctx, []eventstore.Entry{e}, written)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// moveTo moves the checkpoint over sequences that hold nothing.
func (w *writer) moveTo(ctx context.Context, seq uint64) error {
	if _, err := w.conn.Exec(ctx, sqlAdvance, projection, w.at.version, toBigint(w.at.seq), toBigint(seq), w.at.identity); err != nil {
		if hasCode(err, codeFenced) {
			return fmt.Errorf("%w: %w", ErrFenced, err)
		}
		return fmt.Errorf("move the checkpoint to %d: %w", seq, err)
	}
	w.at.seq = seq
	return nil
}

// errNotLive says that a rebuild changed the views over to another version.
var errNotLive = errors.New("another version of the read models is live now")

package sse

import (
	"context"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/projections"
)

// Log is what the streams need of the event log.
type Log interface {
	// Follow hands over every entry after a sequence, in order and without a hole. It blocks.
	Follow(ctx context.Context, after uint64, fn func(context.Context, []eventstore.Entry) error) error
	// Last returns the sequence of the log's newest event.
	Last(ctx context.Context) (uint64, error)
	// LastOf returns the sequence of a session's newest event, 0 if there is none.
	LastOf(ctx context.Context, key menu.Key) (uint64, error)
	// LoadPage returns at most limit events of a session after a sequence; fewer means that there are no more.
	LoadPage(ctx context.Context, key menu.Key, after uint64, limit int) ([]eventstore.Entry, error)
}

// History is the quick copy of the log's older part.
type History interface {
	// Older returns at most limit events of a session after a sequence, in order. If it returns fewer, the session has no
	// other up to upTo.
	Older(ctx context.Context, key menu.Key, after uint64, limit int) (page []projections.HistoryRow, upTo uint64, err error)
}

// Sessions tells how far sessions are. A session without a row is [projections.ErrNotFound].
type Sessions interface {
	Session(ctx context.Context, key menu.Key) (projections.SessionRow, error)
	// WaitFor returns when the rows reflect seq, or with ctx's error.
	WaitFor(ctx context.Context, seq uint64) error
}

// Channel carries the live messages of sessions, which are not stored.
type Channel interface {
	// Subscribe hands every message of every session to fn, one at a time, until stop is called.
	Subscribe(fn func(key menu.Key, name string, body []byte)) (stop func() error, err error)
}

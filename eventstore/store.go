// Package eventstore appends, loads and follows the history of menus. The log is one JetStream stream; every other
// view of a menu (rows, live streams, exports) is derived from it.
//
// [JetStream] is the store in production, [Memory] the one for tests of other packages; both pass one suite
// (eventstore/storetest). An append answers committed, already committed or conflict, never "maybe".
package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
	"kondate/eventstore/trail"
)

// Proposed is an event that somebody wants recorded. Its id follows from its content, so that proposing the same
// event twice records it once.
type Proposed struct {
	Event       menu.Event
	Time        time.Time // the appender's clock; recorded in UTC with microseconds
	Causation   string    // id of the event that led to this one; empty for a submission
	Correlation string    // id of the session's first event; empty for a submission, which starts the chain
	TraceParent string    // W3C traceparent; may be empty. An append whose context is in a span records that span instead
}

// Entry is one message of the log. Other teams may write to the log by mistake and newer versions may write events
// this one does not know: such a message has a nil Event and says in Err why.
type Entry struct {
	menu.Recorded

	Type    menu.Type // from the subject
	Version int       // of the event's schema
	Header  nats.Header
	Data    []byte // the body as recorded
	Err     error  // why Event is nil: matches ErrUnknownEvent or ErrMalformed
}

// Context returns ctx about this message: log lines name its session, type and sequence, and work goes on in its trace.
func (e Entry) Context(ctx context.Context) context.Context {
	ctx = trail.About(trail.Continue(ctx, e.TraceParent()), e.Key)
	return trail.With(ctx, slog.String(trail.KeyEventType, string(e.Type)), slog.Uint64(trail.KeySeq, e.Seq))
}

// TraceParent returns the trace that the message is part of, empty if there stands anything but one valid header of it:
// what is passed on with retries and requests is never a stranger's text.
func (e Entry) TraceParent() string {
	if values := e.Header[HeaderTraceParent]; len(values) == 1 && traceParent.MatchString(values[0]) {
		return values[0]
	}
	return ""
}

// Receipt is the answer to an append that is in the log.
type Receipt struct {
	Seq     uint64   // sequence of the append's last event
	IDs     []string // the events' ids, in the order proposed
	Already bool     // the events were in the log before this append
}

// Reasons why an append or a read fails; matched with errors.Is.
var (
	ErrConflict     = errors.New("the session has moved on")
	ErrTooLarge     = errors.New("the event is larger than sse.max_event_size allows")
	ErrFull         = errors.New("the log is full: raise nats.max_bytes or archive old sessions")
	ErrUnknownEvent = errors.New("unknown event type or version")
	ErrMalformed    = errors.New("malformed event")
	ErrOtherLog     = errors.New("this is not the log that was followed")
)

// ConflictError says that the lane menu of a session is not where the append expected it.
// It is no failure: somebody else moved the session, so load it and decide again.
type ConflictError struct {
	Key      menu.Key
	Expected uint64 // sequence of the lane's last event that the append was based on
	Actual   uint64 // the lane's last event now
}

// Error names the session and both sequences.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("session %s: expected its last menu event at %d, it is at %d: %v", e.Key, e.Expected, e.Actual, ErrConflict)
}

// Unwrap returns ErrConflict.
func (e *ConflictError) Unwrap() error { return ErrConflict }

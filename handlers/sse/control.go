package sse

import (
	"encoding/json"
	"strconv"
	"time"
)

// Names of the stream's own events. None of them has an id: a client's cursor is always a stored event or the
// position at which its stream began.
const (
	eventReset    = "reset"     // the cursor could not be honoured
	eventCaughtUp = "caught-up" // what follows is live
	eventEnd      = "end"       // the session is closed
	eventClosing  = "closing"   // the server ends the stream; come back
)

// keepaliveComment is no event: it tells proxies and clients that the stream is alive, and nobody anything else.
const keepaliveComment = ": keepalive\n\n"

// resetReason says why a cursor could not be honoured.
type resetReason string

const (
	resetOtherLog resetReason = "other_incarnation" // the cursor belongs to a log that is no more
	resetFuture   resetReason = "future"            // the log does not reach that far
	resetExpired  resetReason = "expired"           // events after the cursor are not held any more
)

// head opens a stream: the pause before a new connection, the position that the stream starts from as an id without
// an event, and a sign of life.
func head(reconnect time.Duration, start cursor) []byte {
	b := appendRetry(nil, reconnect)
	b = append(b, "\n\nid: "...)
	b = append(b, start.String()...)
	return append(b, "\n\n: connected\n\n"...)
}

func appendRetry(b []byte, pause time.Duration) []byte {
	return strconv.AppendInt(append(b, "retry: "...), pause.Milliseconds(), 10)
}

// control returns one of the stream's own events.
func control(name string, data any) []byte {
	body, err := json.Marshal(data)
	if err != nil {
		body = []byte("{}") // unreachable: they are structs of strings and numbers
	}
	b := append([]byte("event: "), name...)
	b = append(b, "\ndata: "...)
	b = append(b, body...)
	return append(b, "\n\n"...)
}

type resetData struct {
	Reason  resetReason `json:"reason"`
	Oldest  string      `json:"oldest"` // id of the oldest event that is held, where the stream goes on; empty: none
	Newest  string      `json:"newest"` // id of the newest one; empty: none
	RowsURL string      `json:"rows_url"`
}

type endData struct {
	Reason  string `json:"reason"` // the session's status
	RowsURL string `json:"rows_url"`
}

type closingData struct {
	Reason      string `json:"reason"`
	ReconnectMS int64  `json:"reconnect_ms"`
}

// closing returns the last event of a stream that the server ends, with the pause that this client shall make.
func closing(reason string, pause time.Duration) []byte {
	b := append(appendRetry(nil, pause), '\n')
	return append(b, control(eventClosing, closingData{Reason: reason, ReconnectMS: pause.Milliseconds()})...)
}

// caughtUpEvent says that the history was sent, and that what follows happens now.
const caughtUpEvent = "event: " + eventCaughtUp + "\ndata: {}\n\n"

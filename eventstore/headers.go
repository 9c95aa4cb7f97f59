package eventstore

import (
	"regexp"

	"github.com/nats-io/nats.go/jetstream"
)

// Header describes one header of the messages of the log, for those who read them elsewhere.
type Header struct {
	Name     string
	Meaning  string // in Markdown
	Pattern  string // of its value, a regular expression; empty: any text
	Optional bool   // it may be missing
}

// traceParent is a W3C traceparent of version 00, the only one there is.
var traceParent = regexp.MustCompile("^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")

// TraceHeader describes the header that makes a message part of a trace.
func TraceHeader() Header {
	return Header{Name: HeaderTraceParent, Meaning: "W3C trace context: the span that caused the message", Pattern: traceParent.String(), Optional: true}
}

// Headers lists the headers of a message of the log. A reader takes no offence at others.
func Headers() []Header {
	const (
		id   = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
		time = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	)
	return []Header{
		{Name: jetstream.MsgIDHeader, Meaning: "the event's id, by which the broker drops what comes again within two minutes", Pattern: id},
		{Name: HeaderID, Meaning: "the same; it follows from the content, so the same fact has the same id", Pattern: id},
		{Name: HeaderSpecVersion, Meaning: "of CloudEvents: `1.0`", Pattern: `^1\.0$`},
		{Name: HeaderType, Meaning: "the type", Pattern: `^[a-z0-9_]+\.[a-z_]+$`},
		{Name: HeaderSource, Meaning: "`/menus/<tenant>/<session>`", Pattern: "^/menus/[A-Za-z0-9_-]{1,64}/[A-Za-z0-9_-]{1,64}$"},
		{Name: HeaderTime, Meaning: "the appender's clock: RFC 3339, UTC, microseconds", Pattern: time},
		{Name: HeaderDataSchema, Meaning: "the schema of the body: `/schemas/<type>/v<N>.json`, which is also a path of the HTTP API", Pattern: `^/schemas/[a-z0-9_.]+/v[0-9]+\.json$`},
		{Name: HeaderContentType, Meaning: "`application/json`", Pattern: "^application/json$"},
		{Name: HeaderSchema, Meaning: "the version N of the schema", Pattern: "^[1-9][0-9]*$"},
		{Name: HeaderCorrelation, Meaning: "id of the session's first event"},
		{Name: HeaderCausation, Meaning: "id of the event that led to this one; none on a submission", Optional: true},
		TraceHeader(),
		{Name: HeaderRestored, Meaning: "only of an event that a restore brought back: its sequence in the lost log", Pattern: "^[0-9]+$", Optional: true},
	}
}

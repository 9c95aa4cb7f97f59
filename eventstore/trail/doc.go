// Package trail carries through contexts what a piece of work is about: the trace that it is part of, and the session,
// dish or event. Spans, log lines and the header traceparent of events all take it from there, so that one id leads from
// a request to the rows.
//
// A trace crosses processes, restarts and waits in the log itself: each event records the span that caused it, and
// whoever works on the event continues from there.
//
// Only the API of OpenTelemetry is used here and in the layers above; the program decides whether anything records. A
// nil tracer is none: then a trace that a caller has begun is passed on, and nothing else is done.
package trail

package trail

import (
	"context"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"

	"kondate/domain/menu"
)

// The keys that log lines have in common. A line about a dish, a stage or an event names it under one of them.
const (
	keyTenant  = "tenant"
	keySession = "session_id"
	keyTrace   = "trace_id"

	KeyDish      = "menu_id"
	KeyEventType = "event_type"
	KeySeq       = "seq"
)

// contextKey is that of the attributes in a context.
type contextKey struct{}

// With returns a context whose log lines have these attributes. One whose key is there already takes its place.
func With(ctx context.Context, attributes ...slog.Attr) context.Context {
	held, _ := ctx.Value(contextKey{}).([]slog.Attr)
	all := make([]slog.Attr, 0, len(held)+len(attributes))
	for _, a := range held {
		if !slices.ContainsFunc(attributes, func(b slog.Attr) bool { return b.Key == a.Key }) {
			all = append(all, a)
		}
	}
	return context.WithValue(ctx, contextKey{}, append(all, attributes...))
}

// About returns a context whose log lines name a session, and lets the span that it is in name it too. The zero key
// changes nothing.
func About(ctx context.Context, key menu.Key) context.Context {
	if key == (menu.Key{}) {
		return ctx
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(SessionAttributes(key)...)
	}
	return With(ctx, slog.String(keyTenant, string(key.Tenant)), slog.String(keySession, string(key.Session)))
}

// Handler adds to every record what its context is about, unless the record says it itself, and the trace.
type Handler struct{ next slog.Handler }

// NewHandler returns a handler that writes to next.
func NewHandler(next slog.Handler) Handler { return Handler{next} }

// Enabled asks the next handler.
func (h Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle adds the attributes and hands the record on.
func (h Handler) Handle(ctx context.Context, record slog.Record) error {
	held, _ := ctx.Value(contextKey{}).([]slog.Attr)
	span := trace.SpanContextFromContext(ctx)
	if len(held) == 0 && !span.IsValid() {
		return h.next.Handle(ctx, record)
	}
	said := make([]string, 0, record.NumAttrs())
	record.Attrs(func(a slog.Attr) bool {
		said = append(said, a.Key)
		return true
	})
	record = record.Clone()
	for _, a := range held {
		if !slices.Contains(said, a.Key) {
			record.AddAttrs(a)
		}
	}
	if span.IsValid() {
		record.AddAttrs(slog.String(keyTrace, span.TraceID().String()))
	}
	return h.next.Handle(ctx, record)
}

// WithAttrs returns a handler whose records have the attributes too.
func (h Handler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return Handler{h.next.WithAttrs(attributes)}
}

// WithGroup returns a handler whose records have their attributes in a group.
func (h Handler) WithGroup(name string) slog.Handler { return Handler{h.next.WithGroup(name)} }

var _ slog.Handler = Handler{}

package trail

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"kondate/domain/menu"
)

// Keys of the attributes of spans, besides those that OpenTelemetry has names for. None of them holds what a menu says.
const (
	attributeTenant  = "kondate.tenant"
	attributeSession = "kondate.session_id"

	AttributeDish      = "kondate.menu_id"
	AttributeStage     = "kondate.stage"
	AttributeEventType = "kondate.event_type"
	AttributeSeq       = "kondate.seq"
	AttributeEvents    = "kondate.events"
)

const traceparent = "traceparent"

// Parse reads a W3C traceparent. What is none gives a context that is not valid.
func Parse(parent string) trace.SpanContext {
	if parent == "" {
		return trace.SpanContext{}
	}
	return trace.SpanContextFromContext(Continue(context.Background(), parent)) //nolint:forbidigo // it holds nothing but the result, for a moment
}

// Continue returns ctx as part of the trace that a W3C traceparent names; ctx itself if it names none.
func Continue(ctx context.Context, parent string) context.Context {
	if parent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceparent: parent})
}

// TraceParent returns the W3C traceparent of the span that ctx is in, empty if it is in none.
func TraceParent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[traceparent]
}

// Start begins a span about a session, named by what is done and to what. The zero key is about none. Without a tracer
// ctx stays as it is, and the span is one that does nothing.
func Start(ctx context.Context, tracer trace.Tracer, kind trace.SpanKind, does, what string, key menu.Key) (context.Context, trace.Span) {
	if tracer == nil {
		return ctx, noop.Span{}
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(kind)}
	if key != (menu.Key{}) {
		options = append(options, trace.WithAttributes(SessionAttributes(key)...))
	}
	return tracer.Start(ctx, does+" "+what, options...)
}

// Fail marks a span as failed, in words of ours: an error's own text may quote a menu.
func Fail(span trace.Span, why string) { span.SetStatus(codes.Error, why) }

// SessionAttributes are those of a span about a session.
func SessionAttributes(key menu.Key) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String(attributeTenant, string(key.Tenant)),
		attribute.String(attributeSession, string(key.Session)),
	}
}

// scope is the name of our tracers.
const scope = "kondate"

// Tracer returns the tracer that made a span, for spans below it.
func Tracer(span trace.Span) trace.Tracer { return span.TracerProvider().Tracer(scope) }

// NewTracer returns the tracer of a provider.
func NewTracer(provider trace.TracerProvider) trace.Tracer { return provider.Tracer(scope) }

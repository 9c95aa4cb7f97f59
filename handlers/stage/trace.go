package stage

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"kondate/eventstore"
	"kondate/eventstore/trail"
)

const (
	// maxCallSpans bounds the spans of calls in one delivery: a menu of a thousand dishes makes eight thousand calls.
	maxCallSpans = 16
	// slowCall is how long a call takes at least that has a span though it did not fail. Offline answers take microseconds.
	slowCall = 10 * time.Millisecond

	attributeDishes   = "kondate.dishes"
	attributeAttempt  = "kondate.attempt"
	attributeProvider = "kondate.provider"
	attributeDelivery = "kondate.delivery"
)

// trace begins the span of a delivery. It goes on where the event left off, which may be long ago in another process.
func (s *stage) trace(ctx context.Context, trigger eventstore.Entry, delivery uint64) (context.Context, trace.Span) {
	ctx, span := trail.Start(ctx, s.cfg.Tracer, trace.SpanKindConsumer, "stage", s.stage.String(), trigger.Key)
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String(trail.AttributeStage, s.stage.String()),
			attribute.String(attributeProvider, s.provider.Name()),
			attribute.String(trail.AttributeEventType, string(trigger.Type)),
			attribute.Int64(trail.AttributeSeq, int64(trigger.Seq)), //nolint:gosec // a sequence is far below the limit
			attribute.Int64(attributeDelivery, int64(delivery)),     //nolint:gosec // and so is a count of deliveries
		)
	}
	return ctx, span
}

// deliverySpan is what the calls of one delivery share of its trace. Nil: it is part of none.
type deliverySpan struct {
	trace.Span

	left atomic.Int32 // spans of calls that it may still have
}

// tracedCalls returns what the calls of the delivery in ctx share.
func tracedCalls(ctx context.Context, dishes int) *deliverySpan {
	span := trace.SpanFromContext(ctx)
	if !span.SpanContext().IsValid() {
		return nil
	}
	if span.IsRecording() {
		span.SetAttributes(attribute.Int(attributeDishes, dishes))
	}
	d := &deliverySpan{Span: span}
	d.left.Store(maxCallSpans)
	return d
}

// join takes a call's context into the delivery's trace.
func (d *deliverySpan) join(ctx context.Context) context.Context {
	if d == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, d.Span)
}

// called makes a span of a call that failed or took its time, while there are not too many of them.
func (d *deliverySpan) called(ctx context.Context, provider string, r Request, began time.Time, err error) {
	if d == nil || !d.IsRecording() || (err == nil && time.Since(began) < slowCall) || d.left.Add(-1) < 0 {
		return
	}
	_, span := trail.Tracer(d.Span).Start(ctx, "ask "+provider,
		trace.WithTimestamp(began), trace.WithAttributes(
			attribute.String(trail.AttributeDish, string(r.Item.ID)),
			attribute.Int(attributeAttempt, r.Attempt),
		))
	if err != nil && !errors.Is(err, errStopped) {
		trail.Fail(span, ReasonClass(describe(r, err).reason))
	}
	span.End()
}

// TraceRequests returns a transport that makes a span of each request to a server outside, as part of the trace of its
// context. It tells the server nothing of the trace: the server is somebody else's. The address stays out of the span
// but for its host, because the rest may quote a menu.
func TraceRequests(next http.RoundTripper) http.RoundTripper { return tracedRequests{next} }

type tracedRequests struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (t tracedRequests) RoundTrip(r *http.Request) (*http.Response, error) {
	parent := trace.SpanFromContext(r.Context())
	if !parent.IsRecording() {
		return t.next.RoundTrip(r)
	}
	_, span := trail.Tracer(parent).Start(r.Context(), r.Method+" "+r.URL.Host, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("server.address", r.URL.Hostname()),
	))
	defer span.End()
	response, err := t.next.RoundTrip(r)
	if err != nil {
		trail.Fail(span, "no answer")
		return response, err
	}
	span.SetAttributes(attribute.Int("http.response.status_code", response.StatusCode))
	if response.StatusCode >= http.StatusBadRequest {
		trail.Fail(span, strconv.Itoa(response.StatusCode))
	}
	return response, nil
}

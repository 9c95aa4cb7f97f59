package projections

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/eventstore/trail"
)

// maxLinks bounds the spans that one span points to.
const maxLinks = 32

// pageTrace is what the spans of one page are made of. A page carries events of many sessions and so of many traces: it has
// a span in a trace of its own, about the transaction, and in each trace it has events of one span, about the rows that they
// led to. The spans point to each other. So one trace shows how far its events came, and one page what it held up.
type pageTrace struct {
	span    trace.Span
	began   time.Time
	threads []*thread
}

// thread is what one page has of one session in one trace.
type thread struct {
	key    menu.Key
	causes []trace.SpanContext // of its events, in their order
	last   uint64              // sequence of the last one
}

// beginTrace begins the span of a page. It returns nil, which records nothing, if no event is part of a trace that
// somebody records.
func (w *writer) beginTrace(ctx context.Context, entries []eventstore.Entry) (context.Context, *pageTrace) {
	if w.tracer == nil || !w.live {
		return ctx, nil
	}
	type id struct {
		key   menu.Key
		trace trace.TraceID
	}
	t, byID := &pageTrace{began: time.Now()}, map[id]*thread{}
	for _, e := range entries {
		cause := trail.Parse(e.TraceParent())
		if !cause.IsSampled() {
			continue
		}
		at := id{e.Key, cause.TraceID()}
		of := byID[at]
		if of == nil {
			of = &thread{key: e.Key}
			byID[at], t.threads = of, append(t.threads, of)
		}
		of.causes, of.last = append(of.causes, cause), e.Seq
	}
	if len(t.threads) == 0 {
		return ctx, nil
	}
	var links []trace.Link
	for _, of := range t.threads[:min(len(t.threads), maxLinks)] {
		links = append(links, trace.Link{SpanContext: of.causes[len(of.causes)-1]})
	}
	ctx, t.span = w.tracer.Start(ctx, "write page", trace.WithNewRoot(), trace.WithLinks(links...), trace.WithAttributes(
		attribute.Int(trail.AttributeEvents, len(entries)), attribute.Int("kondate.traces", len(t.threads)),
		attribute.Int64("kondate.first_seq", toBigint(entries[0].Seq)), attribute.Int64(trail.AttributeSeq, toBigint(entries[len(entries)-1].Seq)),
	))
	return ctx, t
}

// end ends the span of a page and, if the page was written, makes those of its rows. What the page leads to goes on from
// these.
func (t *pageTrace) end(ctx context.Context, tracer trace.Tracer, p *page, err error) {
	if t == nil {
		return
	}
	if err != nil {
		trail.Fail(t.span, "not written")
		t.span.End()
		return
	}
	t.span.End()
	for _, of := range t.threads {
		cause := of.causes[len(of.causes)-1]
		links := []trace.Link{{SpanContext: t.span.SpanContext()}}
		for _, other := range of.causes[:min(len(of.causes)-1, maxLinks)] {
			links = append(links, trace.Link{SpanContext: other})
		}
		rows, span := tracer.Start(trace.ContextWithRemoteSpanContext(ctx, cause), "write rows", trace.WithTimestamp(t.began),
			trace.WithLinks(links...), trace.WithAttributes(trail.SessionAttributes(of.key)...), trace.WithAttributes(
				attribute.Int(trail.AttributeEvents, len(of.causes)), attribute.Int64(trail.AttributeSeq, toBigint(of.last)),
			))
		span.End()
		if s := p.sessions[of.key]; s != nil {
			s.trace = trail.TraceParent(rows)
		}
	}
}

// traces returns the traces of the last events of sessions that were found in the rows, by the event's sequence. A trace
// that cannot be found is nothing to fail for.
func (t *term) traces(ctx context.Context, records []sessionRecord) map[uint64]string {
	if len(records) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	last := make([]int64, 0, len(records))
	for _, r := range records {
		last = append(last, toBigint(r.LastSeq))
	}
	parents := make(map[uint64]string, len(records))
	rows, err := t.projector.pool.Query(ctx, "select seq, headers -> 'traceparent' ->> 0 from public.history where seq = any($1)", last)
	if err != nil {
		return parents
	}
	var seq int64
	var parent *string
	_, _ = pgx.ForEachRow(rows, []any{&seq, &parent}, func() error { // as above
		if parent != nil {
			parents[fromBigint(seq)] = *parent
		}
		return nil
	})
	return parents
}

// inTrace returns ctx about a session, in one of these traces.
func inTrace(ctx context.Context, r sessionRecord, traces map[uint64]string) context.Context {
	return trail.About(trail.Continue(ctx, traces[r.LastSeq]), r.Key)
}

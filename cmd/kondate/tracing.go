package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"kondate/eventstore/trail"
)

// TracingConfig is the group tracing.
type TracingConfig struct {
	Endpoint    string  `help:"URL of a receiver of OpenTelemetry traces (OTLP over HTTP), such as http://127.0.0.1:4318; empty: no traces."`
	SampleRatio float64 `default:"1" help:"Part of the requests without a trace of their own that begin one, from 0 to 1; a caller's decision stands."`
}

const (
	// tracesPath is where a receiver takes traces, unless the endpoint has a path of its own.
	tracesPath = "/v1/traces"
	// spansQueued is how many spans may wait for the receiver; what comes above that is lost, for nothing waits for it.
	spansQueued = 8192
	// spansAtOnce is how many spans are sent together, and spanDelay for how long they wait to be so many.
	spansAtOnce = 512
	spanDelay   = time.Second
	// sendTimeout bounds one attempt to send, sendPatience all attempts for the same spans.
	sendTimeout  = 5 * time.Second
	sendPatience = 10 * time.Second
	// flushTimeout bounds the last sending when the program stops.
	flushTimeout = 2 * time.Second
)

func (c TracingConfig) validate() error {
	var errs []error
	if !(c.SampleRatio >= 0 && c.SampleRatio <= 1) { // NaN is neither
		errs = append(errs, fmt.Errorf("tracing.sample_ratio is %v, it must be from 0 to 1", c.SampleRatio))
	}
	if c.Endpoint != "" {
		if _, err := c.url(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (c TracingConfig) url() (*url.URL, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("tracing.endpoint is no URL such as http://127.0.0.1:4318 or https://traces.example.org/v1/traces")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = tracesPath
	}
	return u, nil
}

// openTracing gives the parts a tracer, if somebody wants traces. Every setting is given here: none of the OTEL_*
// variables has a say, for the program has settings of its own.
func (a *app) openTracing(ctx context.Context) error {
	if a.cfg.Tracing.Endpoint == "" {
		return nil
	}
	at, err := a.cfg.Tracing.url()
	if err != nil {
		return err
	}
	sender, err := otlptracehttp.New(ctx,
		otlptracehttp.WithEndpointURL(at.String()),
		otlptracehttp.WithHTTPClient(&http.Client{Timeout: sendTimeout, Transport: &http.Transport{MaxIdleConns: 1, IdleConnTimeout: time.Minute}}),
		otlptracehttp.WithEncoding(otlptracehttp.EncodingProtobuf),
		otlptracehttp.WithHeaders(map[string]string{}),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
		otlptracehttp.WithTimeout(sendTimeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: 5 * time.Second, MaxElapsedTime: sendPatience}),
	)
	if err != nil {
		return fmt.Errorf("send traces to tracing.endpoint: %w", err)
	}
	about := resource.NewSchemaless(attribute.String("service.name", "kondate"), attribute.String("service.instance.id", uuid.NewString()))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&spanSender{SpanExporter: sender, about: about, log: a.log},
			sdktrace.WithMaxQueueSize(spansQueued), sdktrace.WithMaxExportBatchSize(spansAtOnce),
			sdktrace.WithBatchTimeout(spanDelay), sdktrace.WithExportTimeout(sendPatience)),
		sdktrace.WithSampler(sampler{sdktrace.ParentBased(sdktrace.TraceIDRatioBased(a.cfg.Tracing.SampleRatio))}),
		sdktrace.WithRawSpanLimits(spanLimits()),
		sdktrace.WithResource(about),
	)
	a.tracer = trail.NewTracer(provider)
	a.onClose(func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, flushTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			a.log.LogAttrs(ctx, slog.LevelWarn, "the last traces were not delivered", slog.Any("error", err))
		}
		return nil // traces are no part of the work
	})
	return nil
}

func spanLimits() sdktrace.SpanLimits {
	return sdktrace.SpanLimits{
		AttributeValueLengthLimit: 256, AttributeCountLimit: 32, EventCountLimit: 8, LinkCountLimit: 128,
		AttributePerEventCountLimit: 8, AttributePerLinkCountLimit: 8,
	}
}

// sampler records a trace as its caller does, and what belongs to no trace but points to a recorded one.
type sampler struct{ sdktrace.Sampler }

// ShouldSample implements [sdktrace.Sampler].
func (s sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if !trace.SpanContextFromContext(p.ParentContext).IsValid() {
		for _, l := range p.Links {
			if l.SpanContext.IsSampled() {
				return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
			}
		}
	}
	return s.Sampler.ShouldSample(p)
}

// spanSender sends spans and says once when they cannot be delivered, and when they are again.
type spanSender struct {
	sdktrace.SpanExporter

	about  *resource.Resource
	log    *slog.Logger
	silent atomic.Bool // since the receiver has gone
}

// ExportSpans implements [sdktrace.SpanExporter]. It has no errors: they would go to a handler that is global.
func (e *spanSender) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ours := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		ours[i] = ownSpan{s, e.about}
	}
	err := e.SpanExporter.ExportSpans(ctx, ours)
	switch {
	case err != nil && !e.silent.Swap(true):
		e.log.LogAttrs(ctx, slog.LevelWarn, "traces cannot be delivered, they are lost until the receiver is back", slog.Any("error", err))
	case err == nil && e.silent.Swap(false):
		e.log.LogAttrs(ctx, slog.LevelInfo, "traces are delivered again")
	}
	return nil
}

// ownSpan is a span whose origin is described by us alone: the SDK adds what it finds in OTEL_RESOURCE_ATTRIBUTES.
type ownSpan struct {
	sdktrace.ReadOnlySpan

	about *resource.Resource
}

// Resource describes the program.
func (s ownSpan) Resource() *resource.Resource { return s.about }

package stage_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"kondate/handlers/stage"
)

// A server outside is told nothing of the trace, and the receiver of traces nothing of what was asked.
func TestTraceRequests(t *testing.T) {
	t.Parallel()
	var asked http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Clone()
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(server.Close)
	spans := tracetest.NewSpanRecorder()
	ctx, parent := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("").Start(t.Context(), "stage")
	client := http.Client{Transport: stage.TraceRequests(http.DefaultTransport)}
	for _, url := range []string{server.URL + "/search?q=oyakodon", "http://127.0.0.1:1/search?q=oyakodon"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := client.Do(req); err == nil {
			_ = res.Body.Close() // it was not read
		}
	}
	if asked.Get("traceparent") != "" {
		t.Errorf("the server was told %q", asked.Get("traceparent"))
	}
	ended := spans.Ended()
	if len(ended) != 2 || ended[0].Parent().SpanID() != parent.SpanContext().SpanID() || ended[0].Status().Description != "429" || ended[1].Status().Description != "no answer" {
		t.Errorf("spans %v", ended)
	}
	for _, s := range ended {
		if told := fmt.Sprint(s.Name(), s.Attributes(), s.Status()); strings.Contains(told, "oyakodon") {
			t.Errorf("the span tells %s", told)
		}
	}
	parent.End()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := client.Do(req); err == nil {
		_ = res.Body.Close() // it was not read
	}
	if len(spans.Ended()) != 3 { // the parent alone came
		t.Errorf("%d spans, a request outside of one has none", len(spans.Ended()))
	}
}

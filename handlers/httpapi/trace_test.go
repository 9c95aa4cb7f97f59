package httpapi_test

import (
	"net/http"
	"slices"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/httpapi"
)

// The trace of a request goes into the log with its submission; what is no trace does not, and a later version of the header is read as this one.
func TestTraceParent(t *testing.T) {
	t.Parallel()
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	h := newHarness(t)
	for header, want := range map[string]string{trace: trace, trace + "x": "", "none": "", "ff" + trace[2:]: "", "01" + trace[2:]: trace} {
		posted := h.post(t, oneDish, "traceparent: "+header).accepted(t)
		entries, err := h.log.Load(t.Context(), menu.Key{Tenant: menu.DefaultTenant, Session: posted.SessionID})
		if err != nil {
			t.Fatal(err)
		}
		if got := entries[0].Header.Get(eventstore.HeaderTraceParent); got != want {
			t.Errorf("%q is recorded as %q, want %q", header, got, want)
		}
	}
}

// A request that was refused before it reached a route has a span of its method alone: the middleware's route is no name.
func TestSpanNamesItsRoute(t *testing.T) {
	t.Parallel()
	recorded := tracetest.NewSpanRecorder()
	h := newHarness(t, func(c *httpapi.Config) {
		c.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorded)).Tracer("")
	})
	h.get(t, "/v1/nothing").problem(t, http.StatusNotFound)
	h.get(t, "/v1/sessions/s1").problem(t, http.StatusNotFound)
	var names []string
	for _, span := range recorded.Ended() {
		names = append(names, span.Name())
	}
	if want := []string{"GET", "GET /v1/sessions/:id"}; !slices.Equal(names, want) {
		t.Errorf("the spans are %q, want %q", names, want)
	}
}

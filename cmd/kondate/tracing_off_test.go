package main

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// Who is not sampled leaves no spans, but still its ids: in the log of events, and in that of the program.
func TestTraceNotSampled(t *testing.T) {
	t.Parallel()
	const unsampled = "00-" + callersTrace + "-" + callersSpan + "-00"
	received := startReceiver(t)
	for name, test := range map[string]struct {
		args   []string
		parent string
		want   string // begins the header of every event
	}{
		"ByRatio":     {[]string{"--tracing-endpoint", received.url, "--tracing-sample-ratio", "0"}, "", "00-"},
		"ByTheCaller": {[]string{"--tracing-endpoint", received.url}, unsampled, "00-" + callersTrace},
		"Off":         {nil, callersParent, callersParent},
		"OffAndNone":  {nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSystem(t, nil, test.args...)
			answer := submitTraced(t, s.running.HTTPURL, body(t, 1), test.parent)
			finish(t, s.client(), answer)
			for _, e := range logOf(t, s.log(), answer.SessionID) {
				got := e.TraceParent()
				if !strings.HasPrefix(got, test.want) || (test.want == "") != (got == "") || len(test.args) > 0 && !strings.HasSuffix(got, "-00") {
					t.Errorf("%s has %q, want %q", e.Type, got, test.want)
				}
			}
			if err := s.stop(); err != nil {
				t.Fatal(err)
			}
			spans := slices.DeleteFunc(received.spans(""), func(s receivedSpan) bool { return s.attributes["kondate.session_id"] != answer.SessionID })
			// The stream and the rows are requests of their own, which begin a trace.
			if spans = slices.DeleteFunc(spans, func(s receivedSpan) bool { return strings.HasPrefix(s.name, "GET ") }); len(spans) > 0 {
				t.Errorf("spans %v", spans)
			}
		})
	}
}

// A receiver that is away costs nothing but its spans, and is named once.
func TestTraceReceiverAway(t *testing.T) {
	t.Parallel()
	logged := &syncBuffer{}
	s := startLogged(t, newLogger(logged, slog.LevelInfo), allRoles(), nil, "--tracing-endpoint", "http://"+nobodyListens)
	finish(t, s.client(), submitTraced(t, s.running.HTTPURL, body(t, 1), ""))
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(logged.String(), "delivered"); n < 1 || n > 2 {
		t.Errorf("it was said %d times:\n%s", n, logged)
	}
}

// Nothing of OpenTelemetry's own variables reaches the spans or the way they go.
func TestTracingReadsNoOtherVariables(t *testing.T) { //nolint:paralleltest // it sets variables
	received := startReceiver(t)
	for name, value := range map[string]string{
		"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_SAMPLER": "always_off", "OTEL_SERVICE_NAME": "theirs", "OTEL_RESOURCE_ATTRIBUTES": "theirs=1",
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/x", "OTEL_EXPORTER_OTLP_HEADERS": "theirs=1",
		"OTEL_EXPORTER_OTLP_COMPRESSION": "none", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0",
		"OTEL_BSP_MAX_QUEUE_SIZE": "0", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
	} {
		t.Setenv(name, value)
	}
	a := &app{cfg: Config{Tracing: TracingConfig{Endpoint: received.url, SampleRatio: 1}}, log: slog.New(slog.DiscardHandler)}
	if err := a.openTracing(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, span := a.tracer.Start(t.Context(), "work")
	span.AddEvent("x")
	span.End()
	if err := a.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := the(t, received.spans(""), "work")
	if len(got.process) != 2 || got.process["service.name"] != "kondate" {
		t.Errorf("the process is described as %v", got.process)
	}
	if h := received.headers[0]; h.Get("theirs") != "" || h.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("sent with %v", h)
	}
}

func TestTracingSettings(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"tracing.endpoint":     {"--tracing-endpoint", "127.0.0.1:4318"},
		"tracing.sample_ratio": {"--tracing-sample-ratio", "1.5"},
		"--log-level":          {"--log-level", "loud"},
	} {
		var out bytes.Buffer
		code := run(t.Context(), environment{args: append([]string{"serve"}, args...), getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: &out, stderr: &out})
		if code != exitUsage || !strings.Contains(out.String(), want) {
			t.Errorf("%v: exit %d, %s", args, code, out.String())
		}
	}
}

package trail_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"kondate/domain/menu"
	"kondate/eventstore/trail"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestContinue(t *testing.T) {
	t.Parallel()
	ctx := trail.Continue(t.Context(), parent)
	if got := trail.TraceParent(ctx); got != parent {
		t.Errorf("continued as %q", got)
	}
	if sc := trail.Parse(parent); !sc.IsSampled() || !sc.IsRemote() {
		t.Errorf("parsed as %+v", sc)
	}
	for _, bad := range []string{"", "none", parent + "-x", strings.ToUpper(parent), "00-" + strings.Repeat("0", 32) + parent[35:]} {
		if got := trail.TraceParent(trail.Continue(t.Context(), bad)); got != "" {
			t.Errorf("%q is continued as %q", bad, got)
		}
		if got := trail.TraceParent(trail.Continue(ctx, bad)); got != parent {
			t.Errorf("%q ended the trace: %q", bad, got)
		}
	}
}

// Without a tracer a trace is passed on untouched, and its end ends nobody else's span.
func TestStartWithoutTracer(t *testing.T) {
	t.Parallel()
	ctx := trail.Continue(t.Context(), parent)
	same, span := trail.Start(ctx, nil, trace.SpanKindInternal, "do", "it", menu.Key{})
	if same != ctx || span.IsRecording() {
		t.Errorf("a span without a tracer: %v", span)
	}
	span.End()
}

func TestHandler(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(trail.NewHandler(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey {
			return slog.Attr{}
		}
		return a
	}})))
	key := menu.Key{Tenant: "acme", Session: "s1"}
	ctx := trail.About(trail.Continue(t.Context(), parent), key)
	for want, say := range map[string]func(ctx context.Context){
		"tenant=acme session_id=s1 trace_id=4bf92f3577b34da6a3ce929d0e0e4736": func(ctx context.Context) { log.InfoContext(ctx, "x") },
		"stage=allergen n=1 tenant=acme session_id=s1 seq=7 trace_id=4bf92f3577b34da6a3ce929d0e0e4736": func(ctx context.Context) {
			ctx = trail.With(trail.With(ctx, slog.Uint64(trail.KeySeq, 6)), slog.Uint64(trail.KeySeq, 7))
			log.With(slog.String("stage", "allergen")).InfoContext(ctx, "x", slog.Int("n", 1))
		},
		"session_id=other tenant=acme trace_id=4bf92f3577b34da6a3ce929d0e0e4736": func(ctx context.Context) {
			log.InfoContext(ctx, "x", slog.String("session_id", "other"))
		},
		"g.n=1": func(context.Context) { log.WithGroup("g").Info("x", slog.Int("n", 1)) },
	} {
		out.Reset()
		say(ctx)
		if got := strings.TrimSpace(out.String()); got != want {
			t.Errorf("the line is %q, want %q", got, want)
		}
	}
	if same := trail.About(ctx, menu.Key{}); same != ctx {
		t.Error("the zero key is about something")
	}
}

// Without a tracer and a caller's trace, what every append and delivery does costs nothing.
func TestOffCostsNothing(t *testing.T) { //nolint:paralleltest // allocations of others would be counted
	key := menu.Key{Tenant: "acme", Session: "s1"}
	n := testing.AllocsPerRun(100, func() {
		ctx, span := trail.Start(trail.Continue(t.Context(), ""), nil, trace.SpanKindProducer, "append", "menu.submitted", key)
		if trail.TraceParent(ctx) != "" || trail.Parse("").IsValid() || span.IsRecording() {
			t.Error("there is a trace")
		}
		span.End()
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

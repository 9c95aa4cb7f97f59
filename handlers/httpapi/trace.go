package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/eventstore/trail"
)

// tracedPaths begin the paths whose requests have spans. Probes, metrics and the page would be most of all spans and say
// nothing.
const tracedPaths = "/v1/"

// observed continues the trace that the caller names, or begins one, and writes one line for each request: at debug, and
// at warn or error if the answer is a 5xx. An address may carry a token, so of it only the path is
// told.
func (a *API) observed(c *fiber.Ctx) error {
	began, method := time.Now(), utils.CopyString(c.Method())
	ctx := trail.With(trail.Continue(c.UserContext(), utils.CopyString(c.Get(eventstore.HeaderTraceParent))),
		slog.String("request_id", requestID(c)), slog.String("method", method), slog.String("path", utils.CopyString(c.Path())))
	tracer := a.cfg.Tracer
	if !strings.HasPrefix(c.Path(), tracedPaths) {
		tracer = nil
	}
	ctx, span := trail.Start(ctx, tracer, trace.SpanKindServer, method, "", menu.Key{})
	defer span.End()
	c.SetUserContext(ctx)
	route, failed := Answered(c) // which logs a 5xx of an error
	status := c.Response().StatusCode()
	if span.IsRecording() {
		name := method
		if route != NoRoute {
			name += " " + route
			span.SetAttributes(attribute.String("http.route", route))
		}
		span.SetName(name)
		span.SetAttributes(attribute.String("http.request.method", method),
			attribute.Int("http.response.status_code", status), attribute.String("kondate.request_id", requestID(c)))
		if status >= http.StatusInternalServerError {
			trail.Fail(span, strconv.Itoa(status))
		}
	}
	level, what := slog.LevelDebug, "request"
	if status >= http.StatusInternalServerError {
		if failed {
			return nil
		}
		level, what = slog.LevelWarn, "request failed"
	}
	a.cfg.Logger.LogAttrs(c.UserContext(), level, what, slog.Int("status", status), slog.Duration("duration", time.Since(began))) //nolint:sloglint // one of two
	return nil
}

// NoRoute stands for the route of a request that reached none: no route has its path, or it was refused before.
const NoRoute = "none"

// Answered passes a request on and sees to the error of who is behind, so that the status of the answer is known when it
// returns. It says which route answered, by its pattern or as [NoRoute], and whether that was with an error.
func Answered(c *fiber.Ctx) (route string, failed bool) {
	if err := c.Next(); err != nil {
		failed = true
		if err := c.App().ErrorHandler(c, err); err != nil {
			_ = c.SendStatus(http.StatusInternalServerError) // it sets the status and has nothing that could fail
		}
	}
	route = utils.CopyString(c.Route().Path)
	if route == "/" && c.Path() != "/" { // that of a middleware
		route = NoRoute
	}
	return route, failed
}

// about lets the span and the log lines of a request name its session.
func about(c *fiber.Ctx, key menu.Key) { c.SetUserContext(trail.About(c.UserContext(), key)) }

// from returns the context in which a request adds to a session. The request is the cause of what follows; where that is
// part of no trace, the submission's goes on.
func from(ctx context.Context, origin eventstore.Entry) context.Context {
	span := trace.SpanFromContext(ctx)
	if !span.SpanContext().IsValid() {
		return trail.Continue(ctx, origin.TraceParent())
	}
	if span.IsRecording() {
		span.AddLink(trace.Link{SpanContext: trail.Parse(origin.TraceParent())})
	}
	return ctx
}

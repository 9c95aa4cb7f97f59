package sse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"kondate/domain/menu"
	"kondate/eventstore/trail"
	"kondate/projections"
)

// admitTimeout bounds each question about a session before its stream begins.
const admitTimeout = 2 * time.Second

// Handler answers requests for the streams of a hub.
type Handler struct {
	hub      *Hub
	sessions Sessions
	closed   *closedness
	pool     sync.Pool
}

// NewHandler returns the handler of a hub's streams.
func NewHandler(hub *Hub, sessions Sessions) *Handler {
	return &Handler{hub: hub, sessions: sessions, closed: &closedness{hub: hub, sessions: sessions}}
}

// Register adds the routes: GET /v1/sessions/:id/events and GET /client.js.
func (h *Handler) Register(router fiber.Router) {
	router.Get("/v1/sessions/:id/events", h.events)
	router.Get("/client.js", h.client)
}

// events is the order of answers: 400, (401 and 403 are a middleware's), 404, 410, 204, 503, 429, the stream.
func (h *Handler) events(c *fiber.Ctx) error {
	req, err := parseRequest(c, h.hub.cfg.Tenant(c))
	if err != nil {
		return h.refuse(c, err)
	}
	c.SetUserContext(trail.About(c.UserContext(), req.key))
	req.trace = trail.TraceParent(c.UserContext())
	s := &stream{hub: h.hub, closed: h.closed, req: req, rowsURL: "/v1/sessions/" + string(req.key.Session) + "/menus", news: true}
	over, err := h.admit(c.UserContext(), s)
	switch {
	case err != nil:
		return h.refuse(c, err)
	case over:
		return c.SendStatus(http.StatusNoContent)
	}
	c.Set(fiber.HeaderContentType, "text/event-stream")
	c.Set(fiber.HeaderCacheControl, "no-cache, no-transform")
	c.Set("X-Accel-Buffering", "no")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	if c.Method() == http.MethodHead {
		return nil
	}
	place, err := h.hub.gate.enter(req.key, req.address)
	if err != nil {
		return h.refuse(c, h.full(err))
	}
	// The response ends with the connection: no length, no chunks.
	c.Response().Header.SetConnectionClose()
	server, raw := c.Context(), c.Context().Conn()
	server.HijackSetNoResponse(true)
	server.Hijack(func(hijacked net.Conn) {
		limitBuffer(raw)
		// The server keeps its request context, and the headers that middleware added to it, until this returns.
		h.serve(s, place, &splitConn{Conn: raw, reader: hijacked}, server.Response.Header.Header())
	})
	return nil
}

// splitConn reads what the server has read ahead, and writes to the connection itself.
type splitConn struct {
	net.Conn
	reader net.Conn
}

// Read reads from where the server stopped.
func (c *splitConn) Read(b []byte) (int, error) { return c.reader.Read(b) }

// admit decides whether there is anything to stream; over says that the client has seen everything. It also tells the
// stream what is known of its session.
func (h *Handler) admit(ctx context.Context, s *stream) (over bool, err error) {
	row, err := h.session(ctx, s.req.key)
	switch {
	case errors.Is(err, projections.ErrNotFound):
		return false, h.unprojected(ctx, s, nil)
	case err != nil:
		return false, h.unprojected(ctx, s, err)
	}
	s.target = row.LastSeq
	s.settled = row.Status != menu.SessionProcessing || s.req.startsAfter(row.LastSeq)
	if !row.Closed {
		return false, nil
	}
	if ttl := h.hub.cfg.EventHistoryTTL; ttl > 0 && h.hub.cfg.Now().Sub(row.LastTime) > ttl {
		p := newProblem(http.StatusGone, "stream-expired", "The stream has expired",
			fmt.Sprintf("the session ended at %s, its stream could be read for %s; its rows stand at %s", row.LastTime.Format(time.RFC3339), ttl, s.rowsURL))
		p.RowsURL = s.rowsURL
		return false, p
	}
	return h.seenAll(ctx, s.req, row)
}

// seenAll says whether the client of a closed session has seen its last event. The rows may be behind the log (a retry
// was asked for a moment ago), so the log has the last word: 204 stops an EventSource for good.
func (h *Handler) seenAll(ctx context.Context, req request, row projections.SessionRow) (bool, error) {
	at := req.cursor
	if at == nil || at.incarnation != h.hub.cfg.Incarnation || at.seq < row.LastSeq {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, admitTimeout)
	defer cancel()
	last, err := h.hub.log.Last(ctx)
	if err != nil {
		return false, h.unavailable(err)
	}
	if at.seq > last {
		return false, nil // a cursor of the future gets its reset
	}
	if row.Status == menu.SessionErased {
		return true, nil
	}
	last, err = h.hub.log.LastOf(ctx, req.key)
	if err != nil {
		return false, h.unavailable(err)
	}
	return last <= at.seq, nil
}

func (h *Handler) session(ctx context.Context, key menu.Key) (projections.SessionRow, error) {
	ctx, cancel := context.WithTimeout(ctx, admitTimeout)
	defer cancel()
	return h.sessions.Session(ctx, key)
}

// unprojected lets a session in that the log knows and the rows do not: it was submitted a moment ago, or the rows
// cannot be read (cause).
func (h *Handler) unprojected(ctx context.Context, s *stream, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, admitTimeout)
	defer cancel()
	last, err := h.hub.log.LastOf(ctx, s.req.key)
	switch {
	case err != nil:
		return h.unavailable(errors.Join(cause, err))
	case last > 0:
		s.target = last
		s.settled = s.req.startsAfter(0)
		return nil
	case cause != nil:
		return h.unavailable(cause)
	}
	return newProblem(http.StatusNotFound, "not-found", "There is no such thing", "there is no session "+string(s.req.key.Session))
}

// serve is the life of a stream. It runs in a goroutine of its own, where nobody else recovers.
func (h *Handler) serve(s *stream, p *place, nc net.Conn, header []byte) {
	if err := p.begin(); err != nil {
		return
	}
	began := h.hub.cfg.Now()
	ended, err := endedFailed, error(nil)
	s.conn = &conn{Conn: nc, timeout: h.hub.cfg.WriteTimeout, pool: &h.pool}
	life := trail.About(trail.Continue(h.hub.lifetime(), s.req.trace), s.req.key)
	h.hub.stats.opened.Add(1)
	if s.req.cursor != nil {
		h.hub.stats.resumed.Add(1)
	}
	defer p.leave()
	defer func() {
		if r := recover(); r != nil {
			ended, err = endedFailed, fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
		h.hub.stats.bytes.Add(s.conn.written)
		level := slog.LevelDebug
		if err != nil && ended == endedFailed {
			h.hub.stats.failed.Add(1)
			level = slog.LevelError
		}
		h.hub.cfg.Logger.LogAttrs(life, level, "stream ended", slog.String("request_id", s.req.id), slog.String("ended", ended),
			slog.Duration("duration", h.hub.cfg.Now().Sub(began)), slog.Int64("events", s.events), slog.Int64("bytes", s.conn.written),
			slog.Any("error", err))
	}()
	ctx, stop := s.conn.watch(life)
	defer stop()
	ended, err = s.run(ctx, header)
}

func (h *Handler) unavailable(cause error) *problem {
	p := newProblem(http.StatusServiceUnavailable, "unavailable", "A part of the service is away", "the session cannot be looked up at present: try again")
	p.retry, p.cause = h.hub.cfg.ReconnectInterval, cause
	return p
}

// full is the answer to a stream that finds no place.
func (h *Handler) full(err error) *problem {
	p, count := newProblem(http.StatusServiceUnavailable, "too-many-streams", "No more streams at the moment", err.Error()), &h.hub.stats.refused
	if errors.Is(err, errSessionFull) || errors.Is(err, errAddressFull) {
		p.Status, count = http.StatusTooManyRequests, &h.hub.stats.limited
	}
	count.Add(1)
	p.retry = h.hub.cfg.ReconnectInterval
	return p
}

func (h *Handler) refuse(c *fiber.Ctx, err error) error {
	p, ok := errors.AsType[*problem](err)
	if !ok {
		return err
	}
	p.RequestID = requestID(c)
	if p.cause != nil { // for the line that the request gets in the log
		c.SetUserContext(trail.With(c.UserContext(), slog.String("detail", p.Detail), slog.Any("error", p.cause)))
	}
	if p.retry > 0 {
		seconds := int((p.retry + time.Second - 1) / time.Second)
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(seconds))
	}
	if p.RowsURL != "" {
		c.Set(fiber.HeaderLink, "<"+p.RowsURL+`>; rel="alternate"`)
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	return c.Status(p.Status).JSON(p, "application/problem+json")
}

package httpapi

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/projections"
)

// mediaNDJSON is the type of a body with one JSON object a line.
const mediaNDJSON = "application/x-ndjson"

// events answers GET /v1/events: the history that the filter wants, an event a line, streamed.
func (a *API) events(c *fiber.Ctx) error {
	filter, err := a.eventFilter(c)
	if err != nil {
		return err
	}
	// Nothing of c outlives this function: the body is read after it has returned.
	body := a.newExport(c.UserContext(), filter, c.Context().Conn())
	body.request = requestID(c)
	if err := body.begin(); err != nil {
		body.end()
		return unavailable("the history", err)
	}
	c.Set(fiber.HeaderContentType, mediaNDJSON)
	c.Set(fiber.HeaderCacheControl, "no-store")
	if c.Method() == fiber.MethodHead { // fasthttp would end the body that it leaves out, and so spoil the connection
		body.end()
		return nil
	}
	c.Context().SetBodyStream(body, -1)
	return nil
}

// eventFilter reads the query's parameters. One that is given twice counts as it is given first.
func (a *API) eventFilter(c *fiber.Ctx) (f projections.EventFilter, err error) {
	query := func(name string) string { return utils.CopyString(c.Query(name)) }
	f.Tenant = a.cfg.Tenant(c)
	if raw := query("tenant"); raw != "" && raw != string(f.Tenant) {
		return f, newProblem(http.StatusForbidden, "forbidden", "Not yours to read", "these are another tenant's events")
	}
	if raw := query("session"); raw != "" {
		if f.Session, err = menu.ParseSessionID(raw); err != nil {
			return f, badParameter("session", err.Error())
		}
	}
	if raw := query("type"); raw != "" {
		if f.Type, err = projections.ParseTypePattern(raw); err != nil {
			return f, badParameter("type", err.Error())
		}
	}
	for name, into := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if raw := query(name); raw != "" {
			if *into, err = time.Parse(time.RFC3339, raw); err != nil {
				return f, badParameter(name, "is no time such as 2026-11-26T08:00:00Z (RFC 3339; write + as %2B)")
			}
		}
	}
	if f.From, err = sequence(c, "from_seq"); err != nil {
		return f, err
	}
	if raw := query("limit"); raw != "" {
		if f.Limit, err = strconv.Atoi(raw); err != nil || f.Limit < 1 {
			return f, badParameter("limit", "is not a number of events above 0; leave it out for all")
		}
	}
	return f, nil
}

const (
	// exportChunk is about how many bytes of an export are handed to the connection at once.
	exportChunk = 32 << 10
	// exportStall is how long a client may take nothing before its export is cut.
	exportStall = 30 * time.Second
)

// export is the body of an answer that is read event by event. It is read by one goroutine, the server's. When it cannot
// go on it fails, and the server cuts the connection: a client can tell a broken export from one that has ended.
type export struct {
	api    *API
	ctx    context.Context //nolint:containedctx // the life of the body, which the handler does not see
	cancel context.CancelFunc
	conn   net.Conn

	request string // its id, for the log

	next func() (eventstore.Envelope, error, bool)
	stop func()

	pending []byte // lines that are not handed over yet
	done    bool   // there are no more events
}

func (a *API) newExport(ctx context.Context, filter projections.EventFilter, conn net.Conn) *export {
	ctx, cancel := context.WithCancel(ctx)
	e := &export{api: a, ctx: ctx, cancel: cancel, conn: conn}
	e.next, e.stop = iter.Pull2(a.cfg.History.Events(ctx, filter))
	return e
}

// begin reads the first event, so that a history that is away is still an answer of its own.
func (e *export) begin() error { return e.fill(1) }

// fill reads events until limit bytes are pending.
func (e *export) fill(limit int) error {
	for len(e.pending) < limit && !e.done {
		event, err, more := e.next()
		switch {
		case !more:
			e.done = true
		case err != nil:
			return err
		default:
			e.pending = append(event.Append(e.pending), '\n')
		}
	}
	return nil
}

// Read hands over the next lines.
func (e *export) Read(into []byte) (int, error) {
	select {
	case <-e.api.closing:
		return 0, errStopping
	default:
	}
	if len(e.pending) == 0 {
		if err := e.fill(exportChunk); err != nil {
			e.api.cfg.Logger.LogAttrs(e.ctx, slog.LevelError, "export of events cut", slog.String("request_id", e.request), slog.Any("error", err))
			return 0, fmt.Errorf("read the history: %w", err)
		}
	}
	n := copy(into, e.pending)
	if e.pending = e.pending[n:]; n == 0 {
		return 0, io.EOF
	}
	if len(e.pending) == 0 {
		e.pending = nil // the next chunk begins in memory of its own size
	}
	return n, e.conn.SetWriteDeadline(time.Now().Add(exportStall))
}

// Close ends the export; the server calls it, however the export went.
func (e *export) Close() error {
	e.end()
	return e.conn.SetWriteDeadline(time.Time{}) // the connection may carry another answer
}

func (e *export) end() {
	e.cancel()
	e.stop()
}

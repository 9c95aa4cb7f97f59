package sse

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"kondate/domain/menu"
)

// Parameters of a stream's request.
const (
	headerLastEventID = "Last-Event-ID"
	queryLastEventID  = "last_event_id"
	queryFrom         = "from"
	querySince        = "since"
)

// request is what a client asks for. Nothing in it refers to the HTTP server's memory.
type request struct {
	key     menu.Key
	cursor  *cursor // where the client stopped; nil: it is new
	live    bool    // begin with what happens from now on
	since   time.Time
	address string
	id      string // of the request, for the log; empty: nobody gave it one
	trace   string // W3C traceparent of the request, for the log; may be empty
}

// startsAfter says whether the stream may start behind events of the session that the rows, which stand at seq, do not know
// yet. One of these may have closed it: the client would never see that, and stay for ever.
func (r request) startsAfter(seq uint64) bool {
	return r.live || !r.since.IsZero() || r.cursor != nil && r.cursor.seq > seq
}

// requestID returns the id that an earlier step has given to the request.
func requestID(c *fiber.Ctx) string { return utils.CopyString(c.GetRespHeader(fiber.HeaderXRequestID)) }

// parseRequest reads a request; the error is a *problem with status 400.
func parseRequest(c *fiber.Ctx, tenant menu.Tenant) (request, error) {
	r := request{address: utils.CopyString(c.IP()), id: requestID(c)}
	session, err := menu.ParseSessionID(utils.CopyString(c.Params("id")))
	if err != nil {
		return r, badParameter("id", err.Error())
	}
	r.key = menu.Key{Tenant: tenant, Session: session}

	// The header wins: an EventSource sends its newest id there, and the query that it began with again and again.
	raw, field := utils.CopyString(c.Get(headerLastEventID)), headerLastEventID
	if raw == "" {
		raw, field = utils.CopyString(c.Query(queryLastEventID)), queryLastEventID
	}
	if raw != "" {
		at, err := parseCursor(raw)
		if err != nil {
			return r, badParameter(field, err.Error())
		}
		r.cursor = &at
	}

	switch from := utils.CopyString(c.Query(queryFrom)); from {
	case "", "start":
	case "live":
		r.live = true
	default:
		return r, badParameter(queryFrom, fmt.Sprintf("%q is neither start nor live", from))
	}
	if since := utils.CopyString(c.Query(querySince)); since != "" {
		if r.since, err = time.Parse(time.RFC3339, since); err != nil {
			return r, badParameter(querySince, fmt.Sprintf("%q is no RFC 3339 time", since))
		}
		if c.Query(queryFrom) != "" {
			return r, badParameter(querySince, "cannot stand together with from")
		}
	}
	return r, nil
}

// problem is the body of an answer that is an error (RFC 9457). It is an error itself.
type problem struct {
	Type    string            `json:"type"`
	Title   string            `json:"title"`
	Status  int               `json:"status"`
	Detail  string            `json:"detail,omitempty"`
	RowsURL string            `json:"rows_url,omitempty"` // where the result of the session stands
	Errors  []menu.FieldError `json:"errors,omitempty"`

	RequestID string `json:"request_id,omitempty"` // under which the server's log has it

	retry time.Duration // says Retry-After
	cause error         // for the server's log
}

// Error returns the title and the detail.
func (p *problem) Error() string { return fmt.Sprintf("%d %s: %s", p.Status, p.Title, p.Detail) }

// Unwrap returns the cause.
func (p *problem) Unwrap() error { return p.cause }

func newProblem(status int, slug, title, detail string) *problem {
	return &problem{Type: "urn:kondate:problem:" + slug, Title: title, Status: status, Detail: detail}
}

func badParameter(field, why string) *problem {
	p := newProblem(http.StatusBadRequest, "invalid-request", "The request is not valid", field+": "+why)
	p.Errors = []menu.FieldError{{Field: field, Problem: why}}
	return p
}

package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"kondate/domain/menu"
	"kondate/eventstore"
)

const mediaProblem = "application/problem+json"

// retryAfter is when a client may ask again if a part is away or behind.
const retryAfter = time.Second

// problem is the body of every answer that is an error (RFC 9457). It is an error itself, so that a handler returns it.
type problem struct {
	Type   string            `json:"type"` // "about:blank", or a name under urn:kondate:problem:
	Title  string            `json:"title"`
	Status int               `json:"status"`
	Detail string            `json:"detail,omitempty"`
	Errors []menu.FieldError `json:"errors,omitempty"`

	RequestID string `json:"request_id,omitempty"` // under which the server's log has it

	cause error         // for the server's log, never for the client
	after time.Duration // says Retry-After
}

// Error returns the title, the detail and the cause.
func (p *problem) Error() string {
	if p.cause != nil {
		return fmt.Sprintf("%d %s: %s: %v", p.Status, p.Title, p.Detail, p.cause)
	}
	return fmt.Sprintf("%d %s: %s", p.Status, p.Title, p.Detail)
}

// Unwrap returns the cause.
func (p *problem) Unwrap() error { return p.cause }

// newProblem returns a problem of a type of ours; title and slug stay the same for every occurrence.
func newProblem(status int, slug, title, detail string) *problem {
	return &problem{Type: "urn:kondate:problem:" + slug, Title: title, Status: status, Detail: detail}
}

func invalid(detail string, fields []menu.FieldError) *problem {
	p := newProblem(http.StatusBadRequest, "invalid-request", "The request is not valid", detail)
	p.Errors = fields
	return p
}

func badParameter(field, why string) *problem {
	return invalid(field+": "+why, []menu.FieldError{{Field: field, Problem: why}})
}

func notFound(what string) *problem {
	return newProblem(http.StatusNotFound, "not-found", "There is no such thing", "there is no "+what)
}

// unavailable says that a part of the system did not answer. The client may try again; the reason is for the log.
func unavailable(part string, cause error) *problem {
	p := newProblem(http.StatusServiceUnavailable, "unavailable", "A part of the service is away", part+" does not answer at present: try again")
	p.cause, p.after = cause, retryAfter
	return p
}

// problemOf finds the answer to an error.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if e, ok := errors.AsType[*menu.InvalidError](err); ok {
		return invalid(e.Error(), e.Fields)
	}
	if e, ok := errors.AsType[*menu.RejectedError](err); ok {
		return rejected(e)
	}
	if e, ok := errors.AsType[*fiber.Error](err); ok {
		return ofFiber(e)
	}
	p := &problem{Type: "about:blank", Title: http.StatusText(http.StatusInternalServerError), Status: http.StatusInternalServerError, cause: err}
	p.Detail = "this is a defect of the server; its log says more"
	return p
}

func rejected(e *menu.RejectedError) *problem {
	switch {
	case errors.Is(e, menu.ErrNoSession), errors.Is(e, menu.ErrNoDish):
		return newProblem(http.StatusNotFound, "not-found", "There is no such thing", e.Error())
	case errors.Is(e, menu.ErrErased):
		return erased()
	}
	return newProblem(http.StatusConflict, "rejected", "The state does not allow it", e.Error())
}

func erased() *problem {
	return newProblem(http.StatusGone, "erased", "The session was erased", "the session and its dishes were erased")
}

// archived refuses work on a session whose events are not in the log any more: the stages could not do it.
func archived(key menu.Key) error {
	return newProblem(http.StatusConflict, "archived", "The session was archived", "session "+string(key.Session)+" is closed and archived, its rows can be read: submit the menu again to have it worked on")
}

// ofFiber answers what Fiber or the HTTP server refused before a handler saw it. Their texts quote the request; ours do not.
func ofFiber(e *fiber.Error) *problem {
	p := &problem{Type: "about:blank", Title: http.StatusText(e.Code), Status: e.Code, Detail: e.Message}
	switch e.Code {
	case http.StatusBadRequest:
		p.Detail = "this is no HTTP request that the server can read"
	case http.StatusNotFound:
		p.Detail = "no route has this path"
	case http.StatusMethodNotAllowed:
		p.Detail = "the path exists, with another method: see the header Allow"
	case http.StatusRequestEntityTooLarge:
		return tooLarge()
	case http.StatusRequestHeaderFieldsTooLarge:
		p.Detail = "the request line and the header are too long together: leave out cookies and shorten the query"
	case http.StatusRequestTimeout:
		p.Detail = "the request did not arrive in time"
	case http.StatusNotImplemented:
		p.Detail = "this is no method of HTTP that the server knows"
	}
	if p.Title == "" {
		p.Title = "HTTP " + strconv.Itoa(e.Code)
	}
	return p
}

func tooLarge() *problem {
	return newProblem(http.StatusRequestEntityTooLarge, "too-large", "The body is too large",
		fmt.Sprintf("a body may have %d MiB at most: split the menu", MaxBodyBytes>>20))
}

// ofAppend finds the answer to a failed append. What is no refusal of the log is a log that is away.
func ofAppend(err error) error {
	switch {
	case errors.Is(err, eventstore.ErrTooLarge):
		p := newProblem(http.StatusRequestEntityTooLarge, "too-large", "The event is too large", "a part of this menu is larger than sse.max_event_size allows")
		p.cause = err
		return p
	case errors.Is(err, eventstore.ErrFull):
		p := newProblem(http.StatusInsufficientStorage, "log-full", "The log is full", "no more menus can be recorded until the operator makes room")
		p.cause = err
		return p
	}
	return unavailable("the event log", err)
}

// ErrorHandler returns the app's error handler: every error becomes a problem document, and every 5xx is logged, with
// what a client is not told of the server's own troubles.
func ErrorHandler(logger *slog.Logger) fiber.ErrorHandler {
	return func(c *fiber.Ctx, err error) error {
		p := problemOf(err)
		if requestID(c) == "" {
			always(c) // the server refused the request before the first step saw it
		}
		p.RequestID = requestID(c)
		if p.Status >= http.StatusInternalServerError {
			level := slog.LevelWarn
			if p.cause != nil {
				level = slog.LevelError
			}
			logger.LogAttrs(c.UserContext(), level, "request failed", slog.String("request_id", p.RequestID),
				slog.String("method", c.Method()), slog.String("path", c.Path()), slog.Int("status", p.Status), slog.Any("error", err))
		}
		if p.Status == http.StatusRequestEntityTooLarge {
			linger(c)
		}
		if p.after > 0 {
			c.Set(fiber.HeaderRetryAfter, strconv.Itoa(int((p.after+time.Second-1)/time.Second)))
		}
		c.Set(fiber.HeaderCacheControl, "no-store")
		c.Response().Header.Del(fiber.HeaderETag)
		return c.Status(p.Status).JSON(p, mediaProblem)
	}
}

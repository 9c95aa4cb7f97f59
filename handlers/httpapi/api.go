package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"kondate/domain/menu"
)

// API answers the HTTP requests that are neither a live stream nor the web page. It is safe for concurrent use.
type API struct {
	cfg         Config
	probes      *Probes
	limit       *limiter // nil: there is none
	document    []byte   // of /openapi.json
	documentTag string
	eventsTag   string // of /asyncapi.json

	closing     chan struct{} // closed when exports have to end
	closingOnce sync.Once
}

// New returns the API over its parts, or what is wrong with the settings.
func New(cfg Config) (*API, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	a := &API{cfg: cfg.withDefaults(), closing: make(chan struct{})}
	var err error
	if a.probes, err = NewProbes(cfg.Readiness, cfg.Logger); err != nil {
		return nil, err
	}
	if cfg.RateLimit > 0 {
		a.limit = newLimiter(cfg.RateLimit, cfg.RateBurst, time.Now)
	}
	if a.document, err = a.description(); err != nil {
		return nil, err
	}
	a.documentTag, a.eventsTag = strconv.Quote(tagOf(0, a.document)), strconv.Quote(tagOf(0, cfg.AsyncAPI))
	return a, nil
}

// Close ends the exports that are under way: each is cut, so that its client knows it has not seen everything.
func (a *API) Close() { a.closingOnce.Do(func() { close(a.closing) }) }

// errStopping ends an export when the server stops.
var errStopping = errors.New("the server stops")

// Routes adds the API's routes, and before them the rate limit, which counts whatever is registered later too. Call it
// after [API.Use]. The app's ErrorHandler has to be [ErrorHandler] and its BodyLimit [MaxBodyBytes].
func (a *API) Routes(app *fiber.App) {
	if a.limit != nil {
		app.Use(a.limited)
	}
	for _, r := range a.routes() {
		answer := r.answer
		if r.strict {
			answer = strict(r.Operation, answer)
		}
		if r.Method == http.MethodGet { // and HEAD
			app.Get(r.Route(), answer)
		} else {
			app.Add(r.Method, r.Route(), answer)
		}
	}
}

// deadline returns the context of a request's work. Fiber's own context ends with the server and not with the request,
// and nothing tells a handler that its client has left: the deadline is what bounds the work.
func (a *API) deadline(c *fiber.Ctx) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.UserContext(), a.cfg.RequestTimeout)
}

// sessionKey reads the session's id from the path. The copy is needed: Fiber uses the request's memory again.
func (a *API) sessionKey(c *fiber.Ctx) (menu.Key, error) {
	id, err := menu.ParseSessionID(utils.CopyString(c.Params("id")))
	if err != nil {
		return menu.Key{}, badParameter("id", err.Error())
	}
	key := menu.Key{Tenant: a.cfg.Tenant(c), Session: id}
	if !a.sees(c, key) {
		return menu.Key{}, notFound("session " + string(id))
	}
	about(c, key)
	return key, nil
}

// sees says whether a request may see a session of its tenant.
func (a *API) sees(c *fiber.Ctx, key menu.Key) bool {
	only := a.cfg.OnlySession(c)
	return only == "" || only == key.Session
}

func dishID(c *fiber.Ctx) (menu.DishID, error) {
	id, err := menu.ParseDishID(utils.CopyString(c.Params("id")))
	if err != nil {
		return "", badParameter("id", err.Error())
	}
	return id, nil
}

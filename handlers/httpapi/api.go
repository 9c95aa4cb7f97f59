package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/gofiber/fiber/v2/utils"

	"kondate/domain/menu"
)

// API answers the HTTP requests that are neither a live stream nor the web page. It is safe for concurrent use.
type API struct {
	cfg Config

	closing     chan struct{} // closed when exports have to end
	closingOnce sync.Once
}

// New returns the API over its parts, or what is wrong with the settings.
func New(cfg Config) (*API, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &API{cfg: cfg.withDefaults(), closing: make(chan struct{})}, nil
}

// Close ends the exports that are under way: each is cut, so that its client knows it has not seen everything.
func (a *API) Close() { a.closingOnce.Do(func() { close(a.closing) }) }

// errStopping ends an export when the server stops.
var errStopping = errors.New("the server stops")

// Routes adds the API's routes. Register it before other routes: its first step turns a panic of any later handler
// into a 500, its second is middleware, which stands before all routes of the router. The app's ErrorHandler has to be
// [ErrorHandler] and its BodyLimit [MaxBodyBytes].
func (a *API) Routes(router fiber.Router, middleware ...fiber.Handler) {
	router.Use(recover.New(recover.Config{EnableStackTrace: true, StackTraceHandler: a.panicked}))
	for _, step := range middleware {
		router.Use(step)
	}

	router.Get("/healthz", a.healthz)
	router.Get("/readyz", a.readyz)

	router.Post("/v1/sessions", a.submit)
	router.Get("/v1/sessions/:id", a.session)
	router.Delete("/v1/sessions/:id", a.erase)
	router.Get("/v1/sessions/:id/menus", a.menus)
	router.Get("/v1/menus/:id", a.menu)
	router.Post("/v1/menus/:id/image", a.requestImage)
	router.Get("/v1/menus/:id/image.svg", a.imageSVG)
	router.Get("/v1/menus/:id/image.png", a.imagePNG)
	router.Get("/v1/events", a.events)
	router.Get("/v1/failures", a.failures)
	router.Post("/v1/failures/retry", a.retryFailures)
	router.Post("/v1/menus/:id/stages/:stage/retry", a.retry)
}

func (a *API) panicked(c *fiber.Ctx, value any) {
	a.cfg.Logger.LogAttrs(c.UserContext(), slog.LevelError, "request handler panicked",
		slog.String("method", c.Method()), slog.String("path", c.Path()), slog.Any("panic", value), slog.String("stack", string(debug.Stack())))
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

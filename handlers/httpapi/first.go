package httpapi

import (
	"log/slog"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/cors"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/google/uuid"
	"github.com/valyala/fasthttp"
)

// HeaderRequestID names a request, in the answer, in problem documents and in the log. A client may choose the name.
const HeaderRequestID = "X-Request-Id"

// requestIDs are the names that a client may give to its request.
var requestIDs = regexp.MustCompile(`^[A-Za-z0-9._:+/=-]{1,128}$`)

// apiPolicy lets a browser make nothing of an answer that is data: not load, not run, not frame it. The page and the
// pictures have policies of their own.
const apiPolicy = "default-src 'none'; frame-ancestors 'none'"

// preflightAge is for how long a browser remembers what another origin may do, in seconds.
const preflightAge = 600

// Use adds what every request passes first: a name, the security headers, the end of a panic, and the answers to other
// origins. Call it before anything else is registered. Authentication belongs between Use and [API.Routes].
func (a *API) Use(app *fiber.App) {
	a.probes.use(app, a.observed)
	if origins := a.cfg.CORSOrigins; len(origins) > 0 {
		app.Use(cors.New(cors.Config{
			AllowOrigins: strings.Join(origins, ","), AllowMethods: "GET,HEAD,POST,DELETE",
			AllowHeaders:  "Authorization,X-API-Key,Content-Type,Idempotency-Key,If-None-Match,Last-Event-ID,traceparent," + HeaderRequestID,
			ExposeHeaders: "ETag,Location,Link,Retry-After," + HeaderRequestID + "," + headerGenerated,
			MaxAge:        preflightAge,
		}))
	}
}

// Use adds what every request passes first in every process; see [API.Use].
func (p *Probes) Use(app *fiber.App) { p.use(app) }

// use is Use with steps that see a request when it has its name, and its answer when a panic has become one.
func (p *Probes) use(app *fiber.App, steps ...fiber.Handler) {
	knownMethods(app)
	app.Use(named)
	for _, step := range steps {
		app.Use(step)
	}
	app.Use(recover.New(recover.Config{EnableStackTrace: true, StackTraceHandler: p.panicked}))
}

// knownMethods answers methods that the router does not know: it would do so in plain text.
func knownMethods(app *fiber.App) {
	server, known := app.Server(), app.Config().RequestMethods
	next := server.Handler
	server.Handler = func(request *fasthttp.RequestCtx) {
		if slices.Contains(known, string(request.Method())) {
			next(request)
			return
		}
		c := app.AcquireCtx(request)
		defer app.ReleaseCtx(c)
		if err := app.ErrorHandler(c, fiber.ErrNotImplemented); err != nil {
			c.Status(fiber.StatusInternalServerError)
		}
	}
}

// named gives a request its name and its answer the headers that every answer has.
func named(c *fiber.Ctx) error {
	always(c)
	return c.Next()
}

// always sets the headers of every answer, whoever gives it.
func always(c *fiber.Ctx) {
	id := c.Get(HeaderRequestID)
	if !requestIDs.MatchString(id) {
		id = uuid.NewString()
	}
	c.Set(HeaderRequestID, id)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer") // an address may carry a token
	c.Set(fiber.HeaderContentSecurityPolicy, apiPolicy)
}

// requestID returns the name of a request, once [named] has seen it.
func requestID(c *fiber.Ctx) string { return utils.CopyString(c.GetRespHeader(HeaderRequestID)) }

func (p *Probes) panicked(c *fiber.Ctx, value any) {
	p.logger.LogAttrs(c.UserContext(), slog.LevelError, "request handler panicked", slog.String("request_id", requestID(c)),
		slog.String("method", c.Method()), slog.String("path", c.Path()), slog.Any("panic", value), slog.String("stack", string(debug.Stack())))
}

package httpapi

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/trace"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/openapi"
	"kondate/projections"
)

// MaxBodyBytes is the size of the largest request body. It has to be the BodyLimit of the Fiber app too, which refuses
// a longer body before it is read.
const MaxBodyBytes = 8 << 20

const (
	defaultRequestTimeout = 10 * time.Second
	defaultWaitTimeout    = 5 * time.Second

	// MaxRequestTimeout is the longest RequestTimeout. It stays below the minute after which a reservation of ids may be taken by others: a submission
	// must not be appended after that.
	MaxRequestTimeout = 45 * time.Second
)

// Log is what the API needs of the event log.
type Log interface {
	// AppendMenu records a session's menu events if the lane is still at expected.
	AppendMenu(ctx context.Context, key menu.Key, expected uint64, events ...eventstore.Proposed) (eventstore.Receipt, error)
	// Append records events of a stage's lane.
	Append(ctx context.Context, key menu.Key, events ...eventstore.Proposed) (eventstore.Receipt, error)
	// Load returns a session's history.
	Load(ctx context.Context, key menu.Key) ([]eventstore.Entry, error)
	// LoadLane returns what one lane holds after a sequence.
	LoadLane(ctx context.Context, key menu.Key, lane menu.Lane, after uint64) ([]eventstore.Entry, error)
	// LastOf returns the sequence of a session's newest event, 0 if there is none.
	LastOf(ctx context.Context, key menu.Key) (uint64, error)
}

// Rows is what the API needs of the read models. A session or dish that has no row is [projections.ErrNotFound].
type Rows interface {
	Session(ctx context.Context, key menu.Key) (projections.SessionRow, error)
	// Menus returns a session's rows by position, and the sequence that they reflect.
	Menus(ctx context.Context, key menu.Key) ([]projections.MenuRow, uint64, error)
	Menu(ctx context.Context, tenant menu.Tenant, id menu.DishID) (projections.MenuRow, error)
	// WaitFor returns when the rows reflect seq, or with ctx's error.
	WaitFor(ctx context.Context, seq uint64) error
}

// History is what the API needs of the past. A session or dish that did not exist then is [projections.ErrNotFound].
type History interface {
	// Events returns the events that a filter wants, in the order of the log.
	Events(ctx context.Context, filter projections.EventFilter) iter.Seq2[eventstore.Envelope, error]
	// Past returns a session with its dishes, also of one that was archived out of the log.
	Past(ctx context.Context, key menu.Key) (menu.Session, error)
	// SessionAt, MenusAt and MenuAt show rows as the log had them at a sequence.
	SessionAt(ctx context.Context, key menu.Key, seq uint64) (projections.SessionRow, error)
	MenusAt(ctx context.Context, key menu.Key, seq uint64) ([]projections.MenuRow, error)
	MenuAt(ctx context.Context, tenant menu.Tenant, id menu.DishID, seq uint64) (projections.MenuRow, error)
}

// Reservations keeps dish ids unique within a tenant. Ids that another session holds are a [*projections.TakenError].
type Reservations interface {
	Reserve(ctx context.Context, key menu.Key, ids []menu.DishID) error
}

// Config holds what the API works with. All fields without a default are required.
type Config struct {
	Log            Log
	Rows           Rows
	History        History
	Failures       Failures
	Reservations   Reservations
	Images         Images
	Tenant         func(*fiber.Ctx) menu.Tenant    // who asks; the result must not refer to the request's memory
	OnlySession    func(*fiber.Ctx) menu.SessionID // the only session that a request may see; empty: all of its tenant, which is the default
	StreamToken    func(menu.Key) string           // what stream_url gets as ?token=; nil: nothing
	Readiness      Readiness                       // what /readyz tells
	BatchSize      int                             // dishes in one menu.submitted event at most
	RequestTimeout time.Duration                   // a request's deadline; default 10 s, at most 45 s
	WaitTimeout    time.Duration                   // how long a read waits for the projection; default 5 s
	Now            func() time.Time                // the clock of recorded events
	Logger         *slog.Logger
	Tracer         trace.Tracer // of the requests below /v1/; nil: none

	RateLimit   float64                 // requests per second and client; 0: no limit
	RateBurst   int                     // requests that one client may send at once, if there is a limit
	Client      func(*fiber.Ctx) string // the credential that a request came with, for the limit; nil or "": its address counts
	CORSOrigins []string                // other origins whose pages may use the API, such as https://example.org; "*" is any
	AsyncAPI    []byte                  // the description of the messages that others find on NATS, for /asyncapi.json
	Elsewhere   []openapi.Operation     // what other packages serve on the same app, for /openapi.json
}

// Validate names every setting that is missing or wrong.
func (c Config) Validate() error {
	var errs []error
	require := func(ok bool, name string) {
		if !ok {
			errs = append(errs, fmt.Errorf("httpapi: Config.%s is missing", name))
		}
	}
	require(c.Log != nil, "Log")
	require(c.Rows != nil, "Rows")
	require(c.History != nil, "History")
	require(c.Failures != nil, "Failures")
	require(c.Reservations != nil, "Reservations")
	require(c.Images != nil, "Images")
	require(c.Tenant != nil, "Tenant")
	require(len(c.AsyncAPI) > 0, "AsyncAPI")
	require(c.Now != nil, "Now")
	require(c.Logger != nil, "Logger")
	errs = append(errs, c.Readiness.Validate())
	if c.BatchSize < 1 {
		errs = append(errs, fmt.Errorf("httpapi: Config.BatchSize is %d, want at least 1", c.BatchSize))
	}
	if c.RequestTimeout < 0 || c.RequestTimeout > MaxRequestTimeout {
		errs = append(errs, fmt.Errorf("httpapi: Config.RequestTimeout is %s, want at most %s", c.RequestTimeout, MaxRequestTimeout))
	}
	if c.WaitTimeout < 0 {
		errs = append(errs, fmt.Errorf("httpapi: Config.WaitTimeout is %s, want none below 0", c.WaitTimeout))
	}
	if c.RateLimit < 0 || math.IsNaN(c.RateLimit) || math.IsInf(c.RateLimit, 0) {
		errs = append(errs, fmt.Errorf("httpapi: Config.RateLimit is %v, want a number of requests, or 0", c.RateLimit))
	}
	if c.RateLimit > 0 && c.RateBurst < 1 {
		errs = append(errs, fmt.Errorf("httpapi: Config.RateBurst is %d, want at least 1 where there is a RateLimit", c.RateBurst))
	}
	for _, origin := range c.CORSOrigins {
		if err := CheckOrigin(origin); err != nil {
			errs = append(errs, fmt.Errorf("httpapi: Config.CORSOrigins: %w", err))
		}
	}
	return errors.Join(errs...)
}

// CheckOrigin says what is wrong with an origin of [Config.CORSOrigins].
func CheckOrigin(origin string) error {
	u, err := url.Parse(origin)
	switch {
	case origin == "*":
		return nil
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", strings.ContainsAny(u.Host, "*, "), origin != u.Scheme+"://"+u.Host,
		strings.ToLower(origin) != origin:
		return fmt.Errorf("%q is no origin: write it as browsers do, such as https://example.org or http://localhost:3000, or * for any", origin)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.RequestTimeout == 0 {
		c.RequestTimeout = defaultRequestTimeout
	}
	if c.WaitTimeout == 0 {
		c.WaitTimeout = defaultWaitTimeout
	}
	if c.OnlySession == nil {
		c.OnlySession = func(*fiber.Ctx) menu.SessionID { return "" }
	}
	return c
}

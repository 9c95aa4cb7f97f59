package sse_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/compress"
	"github.com/gofiber/fiber/v2/middleware/cors"
	"github.com/gofiber/fiber/v2/middleware/etag"
	"github.com/gofiber/fiber/v2/middleware/helmet"
	fiberrecover "github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/gofiber/fiber/v2/middleware/requestid"
	"go.uber.org/goleak"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/eventstore/storetest"
	"kondate/handlers/sse"
	"kondate/projections/pgtest"
)

func TestMain(m *testing.M) {
	pgtest.Main(
		m,
		// fasthttp lets these two sleep on after Shutdown.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
	)
}

const incarnation = "inc1"

// store is a log as tests need it.
type store interface {
	storetest.Store
	sse.Log
}

// server is a hub with everything around it.
type server struct {
	tb       testing.TB
	log      store
	rows     sse.Sessions
	history  *logHistory
	sessions *foldedSessions
	channel  *loopback
	hub      *sse.Hub
	app      *fiber.App
	address  string
	stop     context.CancelFunc // of the hub's Run
	ran      chan error         // what it returned
}

type option func(*setup)

type setup struct {
	log     store
	channel sse.Channel
	history sse.History
	rows    sse.Sessions
	cfg     sse.Config
	fiber   fiber.Config
	bare    bool // without middleware
	listen  func(net.Listener) net.Listener
}

func onLog(log store) option { return func(s *setup) { s.log = log } }

func configured(fn func(*sse.Config)) option { return func(s *setup) { fn(&s.cfg) } }

// defaults are the settings of users.
func defaults() sse.Config {
	return sse.Config{
		MaxConnections: 1000, KeepaliveInterval: 30 * time.Second, MaxEventSize: 1 << 20,
		ReconnectInterval: 5 * time.Second, MaxReconnectAttempts: 3, Incarnation: incarnation,
		Tenant: func(*fiber.Ctx) menu.Tenant { return menu.DefaultTenant },
		Now:    time.Now, Logger: slog.New(slog.DiscardHandler),
	}
}

// start runs a server until the test ends.
func start(tb testing.TB, options ...option) *server {
	tb.Helper()
	set := setup{cfg: defaults(), fiber: fiber.Config{DisableStartupMessage: true, WriteTimeout: 3 * time.Second, ReadTimeout: 3 * time.Second, IdleTimeout: 3 * time.Second}}
	for _, o := range options {
		o(&set)
	}
	if set.log == nil {
		set.log = eventstore.NewMemory(0)
	}
	s := &server{tb: tb, log: set.log, channel: &loopback{}, ran: make(chan error, 1)}
	s.history, s.sessions = &logHistory{log: set.log}, &foldedSessions{log: set.log}
	if set.channel == nil {
		set.channel = s.channel
	}
	if set.history == nil {
		set.history, set.rows = s.history, s.sessions
	}
	s.rows = set.rows
	var err error
	if s.hub, err = sse.NewHub(s.log, set.history, set.channel, set.cfg); err != nil {
		tb.Fatal(err)
	}
	s.app = fiber.New(set.fiber)
	if !set.bare {
		s.app.Use(fiberrecover.New(), requestid.New(), cors.New(), helmet.New(), etag.New(), compress.New())
	}
	sse.NewHandler(s.hub, set.rows).Register(s.app)
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s.address = listener.Addr().String()
	if set.listen != nil {
		listener = set.listen(listener)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	served := make(chan error, 1)
	go func() { s.ran <- s.hub.Run(ctx) }()
	go func() { served <- s.app.Listener(listener) }()
	tb.Cleanup(func() {
		cancel()
		if err := s.hub.Close(context.WithoutCancel(tb.Context())); err != nil {
			tb.Error(err)
		}
		if err := s.app.Shutdown(); err != nil {
			tb.Error(err)
		}
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
	s.wait("the hub follows", func() bool { return get(tb, s.address, eventsPath("nobody")).status == 404 && s.open() })
	return s
}

// open says whether the hub takes streams, which it does once it knows the end of the log.
func (s *server) open() bool {
	key := menutest.Key("probe")
	if last, _ := s.log.LastOf(context.Background(), key); last == 0 {
		s.tb.Helper()
		s.submit("probe", 1)
	}
	c := get(s.tb, s.address, eventsPath("probe"))
	_ = c.conn.Close()
	return c.status == 200
}

func (s *server) wait(what string, condition func() bool) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), patience)
	defer cancel()
	if err := eventually(ctx, condition); err != nil {
		s.tb.Fatalf("%s: %v", what, err)
	}
}

// eventually polls where nothing signals.
func eventually(ctx context.Context, condition func() bool) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("it did not become true in time")
		}
	}
	return nil
}

func (s *server) get(path string, headers ...string) *client {
	s.tb.Helper()
	return get(s.tb, s.address, path, headers...)
}

// getNarrow asks over a connection that takes little before its client reads.
func (s *server) getNarrow(path string) *client {
	s.tb.Helper()
	conn := dial(s.tb, s.address)
	s.tb.Cleanup(func() { _ = conn.Close() })
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(64 << 10)
	}
	return ask(s.tb, conn, path)
}

// submit records a submission with n dishes "<session>-0" and so on.
func (s *server) submit(session string, n int) uint64 {
	s.tb.Helper()
	return s.menuEvent(session, menutest.Submitted(menutest.Items(session, n)))
}

// menuEvent records an event of the lane menu after whatever is there.
func (s *server) menuEvent(session string, e menu.Event) uint64 {
	s.tb.Helper()
	key := menutest.Key(session)
	entries, err := s.log.LoadLane(s.tb.Context(), key, menu.LaneMenu, 0)
	if err != nil {
		s.tb.Fatal(err)
	}
	var last uint64
	if len(entries) > 0 {
		last = entries[len(entries)-1].Seq
	}
	r, err := s.log.AppendMenu(s.tb.Context(), key, last, eventstore.Proposed{Event: e, Time: time.Now()})
	if err != nil {
		s.tb.Fatal(err)
	}
	return r.Seq
}

// tell records one more small event; n tells it from others.
func (s *server) tell(session string, n int) uint64 {
	s.tb.Helper()
	e := menu.StageAttemptFailed{Stage: menu.Task6, IDs: []menu.DishID{menu.DishID(session + "-0")}, Attempt: n, Reason: "test"}
	return s.stageEvent(session, e)
}

func (s *server) stageEvent(session string, e menu.Event) uint64 {
	s.tb.Helper()
	r, err := s.log.Append(s.tb.Context(), menutest.Key(session), eventstore.Proposed{Event: e, Time: time.Now()})
	if err != nil {
		s.tb.Fatal(err)
	}
	return r.Seq
}

// finish answers all stages of a session with one dish and completes it.
func (s *server) finish(session string) uint64 {
	s.tb.Helper()
	for _, stage := range menu.Stages() {
		s.stageEvent(session, menutest.Completed(stage, menu.DishID(session+"-0")))
	}
	return s.menuEvent(session, menu.Completed{Round: 1, Items: 1, Completed: 1, FailedMenuIDs: []menu.DishID{}})
}

// logged are the cursors of a session's log.
func (s *server) logged(session string) []string {
	s.tb.Helper()
	entries, err := s.log.Load(s.tb.Context(), menutest.Key(session))
	if err != nil {
		s.tb.Fatal(err)
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = at(e.Seq)
	}
	return ids
}

// at is the cursor of a sequence.
func at(seq uint64) string { return fmt.Sprintf("%s.%d", incarnation, seq) }

func key(session string) menu.Key { return menutest.Key(session) }

// bigEvent records an event of 100 KB.
func (s *server) bigEvent(session string, n int) {
	s.tb.Helper()
	s.stageEvent(session, menu.StageAttemptFailed{
		Stage: menu.Task6, IDs: []menu.DishID{menu.DishID(session + "-0")}, Attempt: n, Reason: strings.Repeat("x", 100_000),
	})
}

func containsField(text, field string) bool { return strings.Contains(text, "Config."+field+" ") }

// waitProjected waits until the rows reflect a sequence.
func (s *server) waitProjected(seq uint64) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), 2*time.Minute)
	defer cancel()
	if err := s.rows.WaitFor(ctx, seq); err != nil {
		s.tb.Fatal(err)
	}
}

package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/goleak"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/httpapi"
	"kondate/handlers/openapi/openapitest"
	"kondate/projections"
	"kondate/projections/pgtest"
	"kondate/streams/natstest"
)

func TestMain(m *testing.M) {
	pgtest.Main(
		m,
		// Two goroutines of fasthttp sleep on for seconds after a server's end.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// harness is an API over a log in memory.
type harness struct {
	log      *brokenLog
	rows     *foldedRows
	history  *brokenHistory
	reserved *reservations
	images   *pictures
	logged   *natstest.LogBuffer
	session  menu.Key // that the test has submitted
	api      *httpapi.API
	app      *fiber.App
}

func newHarness(tb testing.TB, change ...func(*httpapi.Config)) *harness {
	tb.Helper()
	memory := eventstore.NewMemory(1 << 20)
	h := &harness{
		log: &brokenLog{Memory: memory}, rows: &foldedRows{log: memory}, history: &brokenHistory{},
		reserved: &reservations{holder: map[menu.DishID]menu.Key{}}, logged: &natstest.LogBuffer{}, images: &pictures{},
	}
	logger := slog.New(slog.NewTextHandler(h.logged, nil))
	cfg := httpapi.Config{
		Log: h.log, Rows: h.rows, History: h.history, Failures: noFailures{}, Reservations: h.reserved, Images: h.images,
		Tenant:    func(*fiber.Ctx) menu.Tenant { return menu.DefaultTenant },
		BatchSize: 100, Now: time.Now, Logger: logger, Readiness: httpapi.Readiness{Roles: []string{"api"}}, AsyncAPI: []byte(`{"asyncapi":"3.0.0"}`),
	}
	for _, fn := range change {
		fn(&cfg)
	}
	api, err := httpapi.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	h.api = api
	h.app = fiber.New(fiber.Config{
		ErrorHandler: httpapi.ErrorHandler(logger), BodyLimit: httpapi.MaxBodyBytes,
		DisableStartupMessage: true, CaseSensitive: true,
	})
	api.Use(h.app)
	api.Routes(h.app)
	return h
}

// answer is a response, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

type problem struct {
	Type   string            `json:"type"`
	Title  string            `json:"title"`
	Status int               `json:"status"`
	Detail string            `json:"detail"`
	Errors []menu.FieldError `json:"errors"`
}

type accepted struct {
	SessionID menu.SessionID `json:"session_id"`
	StreamURL string         `json:"stream_url"`
	Seq       uint64         `json:"seq"`
	Items     []struct {
		ID       menu.DishID `json:"menu_id"`
		Position int         `json:"position"`
	} `json:"items"`
}

func (a answer) into(tb testing.TB, v any) {
	tb.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		tb.Fatalf("body %q: %v", a.body, err)
	}
}

func (a answer) accepted(tb testing.TB) (got accepted) {
	tb.Helper()
	if a.status != http.StatusAccepted {
		tb.Fatalf("status %d: %.500s", a.status, a.body)
	}
	a.into(tb, &got)
	return got
}

// problem checks that the answer is a problem document with this status.
func (a answer) problem(tb testing.TB, status int) (got problem) {
	tb.Helper()
	if a.status != status {
		tb.Fatalf("status %d, want %d: %.500s", a.status, status, a.body)
	}
	if media := a.header.Get("Content-Type"); media != "application/problem+json" {
		tb.Fatalf("status %d has Content-Type %q: %.500s", a.status, media, a.body)
	}
	a.into(tb, &got)
	if got.Status != status || got.Type == "" || got.Title == "" || (got.Detail == "" && len(got.Errors) == 0) {
		tb.Fatalf("problem document is incomplete: %s", a.body)
	}
	return got
}

// request is one call of the API; header is "name: value" pairs.
func newRequest(method, target string, body []byte, header ...string) *http.Request {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req := httptest.NewRequestWithContext(context.Background(), method, target, reader)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if value == "" {
			req.Header.Del(name)
			continue
		}
		req.Header.Set(name, value)
	}
	return req
}

func (h *harness) do(tb testing.TB, req *http.Request) answer {
	tb.Helper()
	res, err := h.app.Test(req, int(patience/time.Millisecond))
	if err != nil {
		tb.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	got := read(tb, res)
	h.described(tb, req, got)
	return got
}

// patience is how long a request may take before the test fails.
const patience = 2 * time.Minute

// description is the API's own document; it is the same for every harness.
var (
	description     *openapitest.Checker
	descriptionOnce sync.Once
)

// described checks that an answer is one that the API's description promises, and has what every answer has.
func (h *harness) described(tb testing.TB, req *http.Request, got answer) {
	tb.Helper()
	descriptionOnce.Do(func() {
		res, err := newHarness(tb).app.Test(newRequest(http.MethodGet, "/openapi.json", nil), -1)
		if err != nil {
			tb.Fatal(err)
		}
		defer res.Body.Close() //nolint:errcheck // it was only read
		description = openapitest.New(tb, read(tb, res).body)
	})
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
		if have := got.header.Get(name); have != want {
			tb.Errorf("%s %s: %s is %q, want %q", req.Method, req.URL, name, have, want)
		}
	}
	policy := got.header.Get("Content-Security-Policy")
	if strings.Contains(got.header.Get("Content-Type"), "json") && policy != "default-src 'none'; frame-ancestors 'none'" || policy == "" {
		tb.Errorf("%s %s: Content-Security-Policy is %q", req.Method, req.URL, policy)
	}
	switch {
	case got.status >= 400 && req.Method != http.MethodHead && !strings.Contains(string(got.body), `"request_id":"`+got.header.Get("X-Request-Id")+`"`):
		tb.Errorf("%s %s: the problem does not name the request %q: %.300s", req.Method, req.URL, got.header.Get("X-Request-Id"), got.body)
	case got.status == http.StatusNotFound && strings.Contains(string(got.body), "about:blank"),
		got.status == http.StatusMethodNotAllowed, got.status == http.StatusNotImplemented, got.status == http.StatusNoContent, req.URL.Path == "/panic", req.URL.Path == "/nowhere":
		return // no route of the description
	case len(got.body) > maxDescribed:
		return
	}
	description.Answer(tb, req, got.status, got.header, got.body)
}

// maxDescribed is the size of the largest body that is held against the description: ten thousand rows are one row
// ten thousand times.
const maxDescribed = 1 << 20

func read(tb testing.TB, res *http.Response) answer {
	tb.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, body}
}

func (h *harness) post(tb testing.TB, body string, header ...string) answer {
	tb.Helper()
	return h.do(tb, newRequest(http.MethodPost, "/v1/sessions", []byte(body), header...))
}

func (h *harness) get(tb testing.TB, target string, header ...string) answer {
	tb.Helper()
	return h.do(tb, newRequest(http.MethodGet, target, nil, header...))
}

// listen serves the API on a real socket.
func (h *harness) listen(tb testing.TB) (address string) {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- h.app.Listener(httpapi.Linger(listener)) }()
	tb.Cleanup(func() {
		if err := h.app.ShutdownWithTimeout(5 * time.Second); err != nil {
			tb.Error(err)
		}
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return listener.Addr().String()
}

// send sends a request over a connection of its own.
func send(tb testing.TB, address string, req *http.Request) answer {
	tb.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	req.RequestURI, req.URL.Scheme, req.URL.Host = "", "http", address
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		tb.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	return read(tb, res)
}

// submitted returns the dishes that the log holds of a session, in order.
func (h *harness) submitted(tb testing.TB, id menu.SessionID) (session menu.Session, items []menu.Item) {
	tb.Helper()
	entries, err := h.log.Memory.LoadLane(tb.Context(), menu.Key{Tenant: menu.DefaultTenant, Session: id}, menu.LaneMenu, 0)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		if e.Err != nil {
			tb.Fatal(e.Err)
		}
		session = menu.Evolve(session, e.Recorded)
		if s, ok := e.Event.(menu.Submitted); ok {
			items = append(items, s.Items...)
		}
	}
	return session, items
}

// brokenLog is a log that fails when told to.
type brokenLog struct {
	*eventstore.Memory

	appendErr error
	loadErr   error
	first     func() // called before an append to the lane menu
}

func (l *brokenLog) AppendMenu(ctx context.Context, key menu.Key, expected uint64, events ...eventstore.Proposed) (eventstore.Receipt, error) {
	if l.appendErr != nil {
		return eventstore.Receipt{}, l.appendErr
	}
	if l.first != nil {
		l.first()
	}
	return l.Memory.AppendMenu(ctx, key, expected, events...)
}

func (l *brokenLog) Append(ctx context.Context, key menu.Key, events ...eventstore.Proposed) (eventstore.Receipt, error) {
	if l.appendErr != nil {
		return eventstore.Receipt{}, l.appendErr
	}
	return l.Memory.Append(ctx, key, events...)
}

func (l *brokenLog) LoadLane(ctx context.Context, key menu.Key, lane menu.Lane, after uint64) ([]eventstore.Entry, error) {
	if l.loadErr != nil {
		return nil, l.loadErr
	}
	return l.Memory.LoadLane(ctx, key, lane, after)
}

// noFailures is a database of rows that is away.
type noFailures struct{}

func (noFailures) Failures(context.Context, projections.FailureFilter) ([]projections.Failure, error) {
	return nil, errors.New("connection refused")
}

// reservations keeps ids as the table menu_ids does.
type reservations struct {
	err error

	mu     sync.Mutex // guards holder
	holder map[menu.DishID]menu.Key
}

func (r *reservations) Reserve(_ context.Context, key menu.Key, ids []menu.DishID) error {
	if r.err != nil {
		return r.err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var taken []menu.DishID
	for _, id := range ids {
		if holder, held := r.holder[id]; held && holder != key {
			taken = append(taken, id)
		}
	}
	if len(taken) > 0 {
		return &projections.TakenError{IDs: taken}
	}
	for _, id := range ids {
		r.holder[id] = key
	}
	return nil
}

// Package pgtest gives each test a PostgreSQL database of its own, on one private
// cluster per test process. A package that uses it has
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
// The cluster starts with the first database asked for. It does not wait for the
// disk, so nothing measured on it says anything about durable writes.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"kondate/projections/postgres"
)

// Option changes what New gives.
type Option func(*settings)

type settings struct {
	template string
	prepare  func(ctx context.Context, url string) error
}

// WithTemplate makes the database a copy of the template of that name, which
// prepare fills once per process: migrations run once, however many tests there
// are. Prepare closes every connection that it opens.
func WithTemplate(name string, prepare func(ctx context.Context, url string) error) Option {
	return func(s *settings) { s.template, s.prepare = "template_"+name, prepare }
}

// Main runs the tests, stops the cluster, fails on a leaked goroutine, and exits.
func Main(m *testing.M, options ...goleak.Option) {
	goleak.VerifyTestMain(runner{m}, options...)
}

// runner stops the cluster before goleak looks.
type runner struct{ m *testing.M }

func (r runner) Run() int {
	code := r.m.Run()
	if err := shared.stop(context.Background()); err != nil { // the tests and their contexts are over
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	return code
}

// New makes a database for this test alone and returns its URL, for pgx and
// everything on libpq. It is dropped when the test ends, with whatever is still
// connected to it.
func New(tb testing.TB, options ...Option) string {
	tb.Helper()
	var s settings
	for _, o := range options {
		o(&s)
	}
	name, url, err := shared.create(tb.Context(), s)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 30*time.Second)
		defer cancel()
		if err := shared.drop(ctx, name); err != nil {
			tb.Errorf("pgtest: %v", err)
		}
	})
	return url
}

// Dir makes a folder for this test that every user may enter, for a private
// server of the test's own: t.TempDir is closed to the unprivileged user that
// the server of a root caller runs as.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir, err := makeDir()
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	tb.Cleanup(func() {
		// A server whose owner was killed shuts down by itself, and writes for a moment more.
		err := os.RemoveAll(dir)
		for tries := 0; err != nil && tries < 100; tries++ {
			<-time.After(50 * time.Millisecond)
			err = os.RemoveAll(dir)
		}
		if err != nil {
			tb.Errorf("pgtest: %v", err)
		}
	})
	return dir
}

func makeDir() (string, error) {
	dir, err := os.MkdirTemp("", "kondate-test-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755) // the server's user must pass
}

// shared is the cluster of the process: starting one per test would take longer than most tests.
var shared cluster //nolint:gochecknoglobals // see above; Main ends it

// cluster is a private server, started when first needed.
type cluster struct {
	mu        sync.Mutex // guards the rest, and lets one test at a time start the server or fill a template
	server    *postgres.Server
	dir       string
	templates map[string]bool
	databases int
}

// create makes a database and returns its name and URL.
func (c *cluster) create(ctx context.Context, s settings) (name, url string, err error) {
	if name, err = c.reserve(ctx, s); err != nil {
		return "", "", err
	}
	sql := "create database " + quote(name)
	if s.template != "" {
		sql += " template " + quote(s.template)
	}
	if err := c.admin(ctx, sql); err != nil {
		return "", "", fmt.Errorf("make database %s (a copy waits for connections to its template to close): %w", name, err)
	}
	return name, c.url(name), nil
}

// reserve sees to the server and the template, and picks a name.
func (c *cluster) reserve(ctx context.Context, s settings) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.start(ctx); err != nil {
		return "", err
	}
	if s.template != "" && !c.templates[s.template] {
		if err := c.fill(ctx, s); err != nil {
			return "", err
		}
		c.templates[s.template] = true
	}
	c.databases++
	return fmt.Sprintf("test_%d", c.databases), nil
}

func (c *cluster) start(ctx context.Context) (err error) {
	if c.server != nil {
		return nil
	}
	dir, err := makeDir()
	if err != nil {
		return err
	}
	server, err := postgres.Start(ctx, postgres.Config{Dir: filepath.Join(dir, "postgres"), NoSync: true})
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	c.server, c.dir, c.templates = server, dir, map[string]bool{}
	return nil
}

func (c *cluster) fill(ctx context.Context, s settings) error {
	if err := c.admin(ctx, "create database "+quote(s.template)); err != nil {
		return fmt.Errorf("make %s: %w", s.template, err)
	}
	if err := s.prepare(ctx, c.url(s.template)); err != nil {
		return errors.Join(fmt.Errorf("fill %s: %w", s.template, err), c.drop(ctx, s.template))
	}
	return nil
}

func (c *cluster) drop(ctx context.Context, name string) error {
	if err := c.admin(ctx, "drop database "+quote(name)+" with (force)"); err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

// admin runs one statement on a connection of its own: a pool would be one more thing to leak.
func (c *cluster) admin(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, c.server.URL())
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

func (c *cluster) stop(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return nil
	}
	err := errors.Join(c.server.Stop(ctx), c.server.Err(), os.RemoveAll(c.dir))
	c.server = nil
	return err
}

// url returns the connection string of another database than the server's own.
func (c *cluster) url(database string) string {
	u, err := url.Parse(c.server.URL())
	if err != nil {
		panic(err) // a URL that url.URL wrote
	}
	u.Path = "/" + database
	return u.String()
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
	"kondate/projections/pgtest"
)

// asProgram makes the test binary the program itself, so that a test can kill it. It is no setting: bench keeps those from
// the processes that it starts.
const asProgram = "TEST_AS_KONDATE"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	if os.Getenv(asNATS) != "" {
		natsServer()
		return
	}
	if ledger := os.Getenv(asWorker); ledger != "" {
		work(ledger)
		return
	}
	os.Exit(m.Run())
}

// nobodyListens is an address that refuses connections: no program listens on port 1, and the system gives it to none.
const nobodyListens = "127.0.0.1:1"

// patience is how long a test waits for what must happen before it fails.
const patience = 2 * time.Minute

// process is kondate serve in a process of its own.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	dir   string
	conn  connection // once it is ready
	log   *syncBuffer
	ready chan struct{}
	done  chan struct{}
}

// startProcess runs serve on a data dir and waits until it is ready.
func startProcess(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := launch(t, dir, nil, append([]string{
		"serve", "--data-dir", dir, "--http-addr", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--nats-max-bytes", "1GiB",
	}, args...)...)
	p.await()
	return p
}

// launch runs a command line that serves on a data dir, with more variables in its environment.
func launch(t *testing.T, dir string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, dir: dir, log: &syncBuffer{}, ready: make(chan struct{}), done: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], args...) //nolint:noctx // the test binary itself; the test ends it
	p.cmd.Env = append(append(os.Environ(), env...), asProgram+"=1")
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.end)
	go func() {
		defer close(p.done)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "kondate is ready") {
				close(p.ready)
			}
		}
		_ = p.cmd.Wait() // the exit code is read from the process state
	}()
	return p
}

// await waits until the process is ready.
func (p *process) await() {
	p.t.Helper()
	select {
	case <-p.ready:
	case <-p.done:
		p.t.Fatalf("serve ended before it was ready:\n%s", p.log)
	case <-time.After(patience):
		p.t.Fatalf("serve is not ready:\n%s", p.log)
	}
	var err error
	if p.conn, err = readConnection(p.dir); err != nil {
		p.t.Fatal(err)
	}
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// end stops the process in order, and with it its Postgres, which would go on writing into the data dir for a moment.
func (p *process) end() {
	_ = p.cmd.Process.Signal(os.Interrupt) // it may have ended by itself
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it says where everybody waits
		<-p.done
		p.t.Errorf("serve does not stop:\n%s", p.log)
	}
}

func (p *process) client() *client {
	return &client{base: p.conn.HTTPURL, key: p.conn.Key, http: &http.Client{}}
}

// storage is how a command beside the process finds its log and rows.
func (p *process) storage() Storage {
	return Storage{
		DataDir: p.dir, NATS: NATSConfig{Sync: "always", Replicas: 1, MaxBytes: 1 << 30},
		Database: DatabaseConfig{PoolSize: 4, PoolTimeout: patience, PoolRecycle: patience},
	}
}

// store reads the log over the network, past everything the program serves.
func (p *process) store() *eventstore.JetStream {
	p.t.Helper()
	return eventstore.NewJetStream(p.js(), eventstore.Config{Logger: slog.New(slog.DiscardHandler)})
}

// js is a connection to the process's broker.
func (p *process) js() jetstream.JetStream {
	p.t.Helper()
	nc, err := nats.Connect(p.conn.NATSURL)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		p.t.Fatal(err)
	}
	return js
}

// system is everything in this process.
type system struct {
	*app

	running running
	stop    func() error
}

// startSystem serves in this process until the test ends or stop is called.
func startSystem(tb testing.TB, providers map[menu.Stage]stage.Provider, args ...string) *system {
	tb.Helper()
	return startSystemWith(tb, allRoles(), providers, args...)
}

// startSystemWith is startSystem for some of the roles.
func startSystemWith(tb testing.TB, roles []string, providers map[menu.Stage]stage.Provider, args ...string) *system {
	tb.Helper()
	return startLogged(tb, slog.New(slog.DiscardHandler), roles, providers, args...)
}

// startLogged is startSystemWith for a test that reads the log of the program.
func startLogged(tb testing.TB, log *slog.Logger, roles []string, providers map[menu.Stage]stage.Provider, args ...string) *system {
	tb.Helper()
	cfg, err := parseServe(args...)
	if err != nil {
		tb.Fatal(err)
	}
	cfg.DataDir = pgtest.Dir(tb)
	s := &system{app: &app{cfg: cfg, log: log, providers: providers}}
	ctx, cancel := context.WithCancel(context.Background())
	ready, served := make(chan running, 1), make(chan error, 1)
	go func() { served <- s.serve(ctx, roles, func(r running) { ready <- r }) }()
	select {
	case s.running = <-ready:
	case err := <-served:
		cancel()
		tb.Fatal(err)
	}
	s.stop = sync.OnceValue(func() error { cancel(); return <-served })
	tb.Cleanup(func() {
		if err := s.stop(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// log reads the log past everything the program serves.
func (s *system) log() *eventstore.JetStream {
	return eventstore.NewJetStream(s.js, eventstore.Config{Logger: slog.New(slog.DiscardHandler)})
}

func (s *system) client() *client {
	return &client{base: s.running.HTTPURL, key: s.running.Key, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
}

func parseServe(args ...string) (Config, error) {
	return parseConfig(map[string]string{}, append([]string{"--http-addr", "127.0.0.1:0", "--nats-max-bytes", "4GiB"}, args...)...)
}

// body is a submission of n dishes.
func body(tb testing.TB, n int) []byte {
	tb.Helper()
	raw, err := sampleBody(n)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// follow reads a session's stream to its end and returns the sequences of its events.
func follow(ctx context.Context, cl *client, url string) ([]uint64, error) {
	var seqs []uint64
	f := &follower{client: cl, url: url, pause: 50 * time.Millisecond, attempts: 100, out: func(string, ...any) {}}
	err := f.run(ctx, func(fr frame) error {
		e, ok, err := fr.stored()
		if ok {
			seqs = append(seqs, e.Seq)
		}
		return err
	})
	return seqs, err
}

// logOf returns what the log holds of a session.
func logOf(t *testing.T, store *eventstore.JetStream, session string) []eventstore.Entry {
	t.Helper()
	entries, err := store.Load(t.Context(), menu.Key{Tenant: menu.DefaultTenant, Session: menu.SessionID(session)})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Err != nil {
			t.Fatal(e.Err)
		}
	}
	return entries
}

// checkRows holds a session's rows against a fresh fold of its log.
func checkRows(t *testing.T, cl *client, session string, entries []eventstore.Entry) {
	t.Helper()
	var want menu.Session
	for _, e := range entries {
		want = menu.Evolve(want, e.Recorded)
	}
	rows, err := cl.rows(t.Context(), session, want.LastSeq)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != want.ItemCount || len(rows) != len(want.Dishes) {
		t.Fatalf("session %s has %d rows, %d dishes in the log of %d submitted", session, len(rows), len(want.Dishes), want.ItemCount)
	}
	for _, r := range rows {
		d := want.Dishes[r.ID]
		if r.Name != d.Name || r.Position != d.Position || r.ProcessingStatus != d.Status() {
			t.Fatalf("row %+v differs from the fold %+v", r, d)
		}
		for _, st := range menu.Stages() {
			got, folded := r.Stages[st], d.Stages[st]
			folded.Data = nil
			if fmt.Sprint(got) != fmt.Sprint(folded) {
				t.Fatalf("dish %s, %s: row says %+v, the fold %+v", r.ID, st, got, folded)
			}
			if column := r.Columns[st]; column != nil && !sameJSON(t, *column, d.Stages[st].Data) {
				t.Fatalf("dish %s, %s: row has %s, the fold %s", r.ID, st, *column, d.Stages[st].Data)
			}
		}
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	p, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	q, err := json.Marshal(y)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(p, q)
}

// syncBuffer collects what several goroutines write.
type syncBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

var _ io.Writer = (*syncBuffer)(nil)

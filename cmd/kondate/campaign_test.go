package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
	"kondate/projections"
	"kondate/projections/pgtest"
	"kondate/streams"
	"kondate/streams/natstest"
)

// asWorker makes the test binary a process of stages with a provider that fails; its value is the provider's ledger.
const asWorker = "KONDATE_TEST_AS_WORKER"

// faulty is a provider that fails often, and in the same way for the same attempt: a test can tell what must come of it.
// It writes each call down before it answers, as whoever sends the bill would.
type faulty struct{ ledger *os.File }

func (faulty) Name() string    { return "faulty" }
func (faulty) Version() string { return "1" }

// How a call of a faulty provider ends.
const (
	faultNone = iota
	faultError
	faultHang
	faultPanic
)

// fault decides how an attempt ends: of a thousand 300 fail, 3 hang and 5 panic.
func fault(s menu.Stage, id menu.DishID, epoch, attempt int) int {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %d", s, id, epoch, attempt))
	switch n := binary.BigEndian.Uint64(sum[:]) % 1000; {
	case n < 300:
		return faultError
	case n < 303:
		return faultHang
	case n < 308:
		return faultPanic
	}
	return faultNone
}

func (f faulty) Answer(ctx context.Context, r stage.Request) (menu.Result, error) {
	if _, err := fmt.Fprintf(f.ledger, "%s %s %d %d\n", r.Stage, r.Item.ID, r.Epoch, r.Attempt); err != nil {
		return menu.Result{}, err
	}
	select {
	case <-time.After(2 * time.Millisecond):
	case <-ctx.Done():
	}
	switch fault(r.Stage, r.Item.ID, r.Epoch, r.Attempt) {
	case faultError:
		return menu.Result{}, errors.New("overloaded")
	case faultHang:
		<-ctx.Done()
		return menu.Result{}, ctx.Err()
	case faultPanic:
		panic("out of order")
	}
	result := scriptedResult(r)
	result.Provider = "faulty"
	return result, nil
}

// work runs stages with a faulty provider until it is killed.
func work(ledger string) {
	out, err := os.OpenFile(ledger, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		panic(err)
	}
	cfg, err := parseConfig(nil, os.Args[1:]...)
	if err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	a := &app{cfg: cfg, log: newLogger(os.Stderr, slog.LevelWarn), providers: everywhere(faulty{out})}
	if err := a.serve(ctx, []string{roleStages}, func(running) { fmt.Println("ready") }); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFailed)
	}
}

// campaign is a system whose stages run in three processes that are killed again and again.
type campaign struct {
	t      *testing.T
	args   []string // of every process
	ledger string

	mu       sync.Mutex // guards the fields below
	workers  [3]*exec.Cmd
	starting [3]bool
	kills    int
}

// start runs worker i until it is ready, or says why it is not.
func (c *campaign) start(ctx context.Context, i int) error {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.starting[i] = false
	}()
	cmd := exec.Command(os.Args[0], append(c.args, "--data-dir", filepath.Join(filepath.Dir(c.ledger), fmt.Sprint("worker", i)))...) //nolint:noctx // the test ends it
	cmd.Env = append(os.Environ(), asWorker+"="+c.ledger)
	errs := &syncBuffer{}
	cmd.Stderr = errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.mu.Lock()
	c.workers[i] = cmd
	c.mu.Unlock()
	ready := make(chan bool, 1)
	go func() { ready <- bufio.NewScanner(out).Scan() }()
	select {
	case ok := <-ready:
		if !ok {
			return fmt.Errorf("the worker ended: %s", errs)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *campaign) kill(i int) {
	c.mu.Lock()
	cmd := c.workers[i]
	c.workers[i] = nil
	c.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kills++
}

// victim says whether a worker can be killed and started again. One that still starts is let be: on a busy machine it
// would never get to work.
func (c *campaign) victim(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.starting[i] {
		return false
	}
	c.starting[i] = true
	return true
}

func (c *campaign) killed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kills
}

// TestCampaign lets everything go wrong at once: a provider of which three calls in ten fail, hang or panic, three workers
// of which one is killed every second, a broker that restarts. In the end every dish has one answer of every stage in the
// rows, every attempt is counted, nothing is left over, and hardly more was paid for than the failures explain.
//
//nolint:paralleltest // beside other tests its workers would hardly be up when they are killed
func TestCampaign(t *testing.T) {
	const (
		dishes      = 100
		attempts    = 4
		taskTimeout = 2 * time.Second
	)
	broker := natstest.NewWith(t, streams.ServerConfig{Listen: "127.0.0.1:0"})
	database := pgtest.New(t, pgtest.WithTemplate("campaign", projections.Migrate))
	dir := t.TempDir()
	c := &campaign{t: t, ledger: filepath.Join(dir, "ledger"), args: []string{
		"--http-addr", "127.0.0.1:0", "--nats-url", broker.URL(), "--database-url", database, "--nats-max-bytes", "1GiB", "--stages-ack-wait", "5s",
		"--processing-retry-attempts", fmt.Sprint(attempts), "--processing-retry-delay", "200ms", "--processing-task-timeout", taskTimeout.String(),
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()

	main := startSystemWith(t, []string{roleAPI, roleProjector}, nil, c.args...)
	for i := range c.workers {
		if err := c.start(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		for i := range c.workers {
			c.kill(i)
		}
	}()
	js := broker.JetStream()
	// The sessions' ends are read from the log: what the API shows is looked at afterwards.
	store := eventstore.NewJetStream(js, eventstore.Config{Logger: slog.New(slog.DiscardHandler)})
	chaosCtx, calm := context.WithCancel(ctx)
	var chaos sync.WaitGroup
	defer chaos.Wait()
	defer calm()
	began := time.Now()
	chaos.Go(func() { c.chaos(chaosCtx, broker) })
	sessions := submitSteadily(t, main.client(), *campaignMenus, dishes)

	for _, s := range sessions {
		key := menu.Key{Tenant: menu.DefaultTenant, Session: menu.SessionID(s.SessionID)}
		for {
			lane, err := store.LoadLane(ctx, key, menu.LaneMenu, 0)
			if err == nil && len(lane) > 0 && lane[len(lane)-1].Type == "menu.completed" {
				break
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				session := menu.Replay(recorded(logOf(t, store, s.SessionID)))
				t.Fatalf("after %d kills and %d calls session %s still misses %d answers", c.killed(), c.calls(), s.SessionID, session.Unanswered())
			}
		}
	}
	took := time.Since(began)
	calm()
	chaos.Wait()

	expected, parked := 0, 0
	for _, s := range sessions {
		entries := logOf(t, store, s.SessionID)
		checkRows(t, main.client(), s.SessionID, entries)
		session := menu.Replay(recorded(entries))
		for id, d := range session.Dishes {
			for st, state := range d.Stages {
				want, isParked := 1, false
				for want < attempts && fault(menu.Stage(st), id, 0, want) != faultNone {
					want++
				}
				isParked = fault(menu.Stage(st), id, 0, want) != faultNone
				expected += want
				if isParked {
					parked++
				}
				if state.Attempts != want || state.Parked() != isParked || !state.Answered() {
					t.Fatalf("%s of dish %s: %+v, want %d attempts and parked %v", menu.Stage(st), id, state, want, isParked)
				}
			}
		}
	}
	calls := c.calls()
	t.Logf("%d dishes in %s, %d kills, %d calls: %d for the answers and failures, %d repeated; %d parked",
		len(sessions)*dishes, took.Round(time.Second), c.killed(), calls, expected, calls-expected, parked)
	// A kill repeats the calls that ran and the results that waited for their flush or the broker's acknowledgement.
	const inHand = menu.StageCount * 8 * 10
	if calls < expected || calls > expected+(c.killed()+1)*inHand {
		t.Errorf("%d calls, want %d and at most %d repeated for each of %d kills", calls, expected, inHand, c.killed())
	}
	c.nothingLeft(ctx, broker)
}

// submitSteadily submits a menu every 300 ms, each by a client of its own that comes again while the log is away.
func submitSteadily(t *testing.T, cl *client, menus, dishes int) []accepted {
	t.Helper()
	var clients errgroup.Group
	sessions := make([]accepted, menus)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for i := range sessions {
		<-tick.C
		clients.Go(func() error {
			for {
				answer, err := cl.submit(t.Context(), body(t, dishes))
				var p *problem
				if errors.As(err, &p) && p.Status == http.StatusServiceUnavailable {
					continue
				}
				sessions[i] = answer
				return err
			}
		})
	}
	if err := clients.Wait(); err != nil {
		t.Fatal(err)
	}
	return sessions
}

// campaignKills end the chaos. A machine that is busy with something else would otherwise start workers, and nothing else.
var campaignKills = flag.Int("campaign-kills", 40, "how many workers the campaign kills")

// campaignMenus are what the workers have to do meanwhile.
var campaignMenus = flag.Int("campaign-menus", 25, "how many menus the campaign submits")

// chaos kills a worker every second, and twice restarts the broker, until there were campaignKills or ctx ends.
func (c *campaign) chaos(ctx context.Context, broker *natstest.Server) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var starts sync.WaitGroup
	defer starts.Wait()
	for n := 1; c.killed() < *campaignKills; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		i := n % len(c.workers)
		free := c.victim(i)
		if free {
			c.kill(i)
		}
		if n == 4 || n == 9 {
			broker.Stop()    //nolint:contextcheck // it has the test's
			broker.Restart() //nolint:contextcheck // as above
		}
		if !free {
			continue
		}
		starts.Go(func() { // as whatever supervises a worker would
			for err := c.start(ctx, i); err != nil && ctx.Err() == nil; err = c.start(ctx, i) {
				c.t.Logf("worker %d has to be started again: %v", i, err)
			}
		})
	}
}

// calls counts the ledger's lines.
func (c *campaign) calls() int {
	c.t.Helper()
	raw, err := os.ReadFile(c.ledger)
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.Count(string(raw), "\n")
}

// nothingLeft waits until no consumer of the stages has anything pending or at work, and checks that nothing waits.
func (c *campaign) nothingLeft(ctx context.Context, broker *natstest.Server) {
	c.t.Helper()
	js := broker.JetStream()
	for {
		backlogs, err := streams.Backlogs(ctx, js)
		if err != nil {
			c.t.Fatal(err)
		}
		left := 0
		for _, b := range backlogs {
			left += int(b.Pending) + b.InHand + int(b.Waiting)
		}
		if left == 0 {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			c.t.Fatalf("left over: %+v", backlogs)
		}
	}
}

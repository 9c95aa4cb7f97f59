//go:build linux

package torture_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seed     = flag.Uint64("seed", 1, "what a campaign does follows from it")
	every    = flag.Bool("every", false, "break each kind of process in each way")
	keep     = flag.Bool("keep", false, "keep logs and data of a run that passes too")
	duration = flag.Duration("duration", 15*time.Second, "how long a campaign breaks things")
)

// logBytes is nats.max_bytes of the fleet.
const logBytes = 1 << 30

// campaign is a fleet, its clients, and a plan of faults.
type campaign struct {
	*fleet

	t       *testing.T
	clients *clients
	plan    []fault
	begin   time.Time

	archived archived
	turns    map[string]*sync.Mutex // held by who breaks, mends or restarts a process

	mu       sync.Mutex     // guards the rest
	done     map[string]int // faults by kind
	foreign  int            // messages that the log took from us
	troubles []string       // what went wrong that no fault explains
}

// TestTorture breaks a fleet by a plan, lets it heal, and holds everything against each other. make torture runs it for
// ten minutes.
func TestTorture(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	c := newCampaign(t, f)
	program := program(t, "kondate")
	worker := newWorker(t, f.brokers, *seed)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var upkeep sync.WaitGroup
	upkeep.Go(func() { c.supervise(ctx) })
	upkeep.Go(func() { c.archived = c.archiveOn(ctx, program) })
	c.run(ctx)
	c.clients.calm()
	cancel()
	upkeep.Wait()
	worker.kind.Store(true)
	healed, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	for _, err := range []error{f.heal(healed), f.limitLog(healed, 0), f.whole(healed), f.archive(healed, program), c.lastStray(healed)} {
		if err != nil {
			t.Error(err)
		}
	}
	violations := f.holds(t, c.clients)
	if err := f.operate(t.Context(), program, "projections", "verify"); err != nil {
		t.Error(err)
	}
	c.findings()
	if err := c.clients.ledger.broken(); err != nil {
		t.Errorf("the ledger was not written to its end: %v", err)
	}
	for _, what := range c.troubles {
		t.Error(what)
	}
	c.summary(worker, violations)
}

func newCampaign(t *testing.T, f *fleet) *campaign {
	t.Helper()
	c := &campaign{fleet: f, t: t, turns: map[string]*sync.Mutex{}, done: map[string]int{}}
	var brokers, members []string
	for _, b := range f.brokers {
		brokers = append(brokers, b.name)
	}
	for _, m := range f.members() {
		members = append(members, m.name)
	}
	for _, p := range f.all() {
		c.turns[p.name] = &sync.Mutex{}
	}
	c.plan = plan(*seed, *duration, brokers, members, f.db.name)
	var lines strings.Builder
	fmt.Fprintf(&lines, "seed %d, %s, %d faults\n", *seed, *duration, len(c.plan))
	for _, fault := range c.plan {
		fmt.Fprintln(&lines, fault)
	}
	t.Log(lines.String())
	for name, text := range map[string]string{"plan.txt": lines.String(), "ledger.jsonl": ""} {
		if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	book, err := os.OpenFile(filepath.Join(f.dir, "ledger.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = book.Close() }) // it was read where it counts
	c.clients = startClients(t.Context(), t, f.urls, clientsConfig{
		Seed: *seed, Submitters: 2, Followers: 6, Operators: 1, Erasures: 0.1, MaxDishes: 120, Pause: 2 * time.Second, Idle: idle, Ledger: newLedger(book),
	})
	c.begin = time.Now()
	return c
}

// run does what the plan says, each fault at its time, and returns when all are mended.
func (c *campaign) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, *duration+patience)
	defer cancel()
	var faults sync.WaitGroup
	for _, f := range c.plan {
		<-time.After(time.Until(c.begin.Add(f.At)))
		faults.Go(func() { c.do(ctx, f) })
	}
	<-time.After(time.Until(c.begin.Add(*duration)))
	faults.Wait()
}

// do does one fault and mends it. Two on one process come one after the other.
func (c *campaign) do(ctx context.Context, f fault) {
	if turn, is := c.turns[f.On]; is { // a process, no link and not the log
		turn.Lock()
		defer turn.Unlock()
	}
	r := rand.New(rand.NewPCG(*seed, f.Seed))
	var err error
	switch disk := c.diskBroker(); {
	case f.Kind == faultCopies:
		taken, err := c.copies(ctx, r)
		if c.strange(taken); err != nil { // the log is away
			c.count("copies, in vain")
			return
		}
	case f.Kind == faultPoison:
		c.strange(c.poison(ctx, r, c.clients.ledger.sessions()))
	case f.Kind == faultFullDisk && disk.disk:
		if err = disk.fillDisk(); err == nil {
			<-time.After(f.For)
			err = disk.freeDisk(ctx)
		}
	case f.Kind == faultFullDisk, f.Kind == faultFullLog:
		if err = c.limitLog(ctx, 64<<10); err == nil {
			<-time.After(f.For)
			err = c.limitLog(ctx, 0)
		}
	default:
		t := c.target(f.On)
		err = t.harm(ctx, f.Kind)
		<-time.After(f.For)
		err = errors.Join(err, t.mend(ctx, f.Kind))
	}
	if err != nil {
		c.trouble("%s: %v", f, err)
	}
	c.count(f.Kind)
}

func (c *campaign) diskBroker() *broker { return c.brokers[len(c.brokers)-1] }

// supervise starts what ended by itself, and remembers it: no fault of a neighbour is a reason to end.
func (c *campaign) supervise(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, p := range c.all() {
			turn := c.turns[p.name]
			if !turn.TryLock() {
				continue // somebody breaks it, and mends it then
			}
			if p.fell() {
				c.trouble("%s ended by itself (%s): %s", p.name, p.cmd.ProcessState, p.tail())
				if err := p.restart(ctx); err != nil && ctx.Err() == nil {
					c.trouble("%v", err)
				}
			}
			turn.Unlock()
		}
	}
}

// findings looks for what no process of ours may say.
func (c *campaign) findings() {
	for _, m := range c.members() {
		for _, text := range []string{"WARNING: DATA RACE", "panic:", "fatal error:"} {
			if n := m.wrote(text); n > 0 {
				c.trouble("%s said %q %d times: %s", m.name, text, n, m.log)
			}
		}
	}
}

func (c *campaign) trouble(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.troubles = append(c.troubles, fmt.Sprintf("at %.1fs: ", time.Since(c.begin).Seconds())+fmt.Sprintf(format, args...))
}

func (c *campaign) count(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done[kind]++
}

// lastStray publishes a result of nobody's dish: a short plan has no poison, or none that the log took, and then the check
// of what was published past the program would say nothing.
func (c *campaign) lastStray(ctx context.Context) error {
	sessions := c.clients.ledger.sessions()
	if len(sessions) == 0 {
		return errors.New("no menu was accepted")
	}
	return until(ctx, "the log takes a stray result", func(ctx context.Context) error {
		if !c.publish(ctx, stray(sessions[len(sessions)-1]), "poison") {
			return errors.New("it took none")
		}
		c.strange(1)
		return nil
	})
}

// strange counts what the log took past the program.
func (c *campaign) strange(taken int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.foreign += taken
}

// summary prints what the campaign was.
func (c *campaign) summary(w *worker, violations int) {
	n := c.clients.ledger.count()
	events, left := uint64(0), 0
	if stream, err := c.js.Stream(c.t.Context(), eventStream); err == nil {
		events = stream.CachedInfo().State.LastSeq
	}
	if err := c.pool.QueryRow(c.t.Context(), `select count(*) from archived_sessions`).Scan(&left); err != nil {
		c.t.Error(err)
	}
	faults := 0
	for _, times := range c.done {
		faults += times
	}
	var b strings.Builder
	line := func(what string, value any) { fmt.Fprintf(&b, "  %-28s %v\n", what, value) }
	line("seed", *seed)
	line("duration", time.Since(c.begin).Round(time.Second))
	line("faults", faults)
	byCount := slices.SortedFunc(maps.Keys(c.done), func(a, b string) int { return cmp.Or(c.done[b]-c.done[a], strings.Compare(a, b)) })
	for _, kind := range byCount {
		line("  "+kind, c.done[kind])
	}
	line("archives", fmt.Sprintf("%d, %d killed on their way, %d in vain", c.archived.whole, c.archived.killed, c.archived.vain))
	line("sessions archived", left)
	line("answers of the bad worker", w.counts())
	line("menus sent", n.Menus)
	line("menus accepted", fmt.Sprintf("%d with %d dishes", n.Accepted, n.Dishes))
	line("retries, pictures, erasures", n.Requests)
	line("events", events)
	line("messages of nobody", c.foreign)
	line("streams followed to the end", fmt.Sprintf("%d of %d", n.Done, n.Followers))
	line("connections of these", fmt.Sprintf("%d, with %d frames and %d resets", n.Connections, n.Frames, n.Resets))
	line("reads of rows", n.Reads)
	line("troubles", len(c.troubles))
	line("violations", violations)
	c.t.Logf("\n%s", b.String())
}

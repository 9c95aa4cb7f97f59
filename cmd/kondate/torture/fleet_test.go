//go:build linux

package torture_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// fleet is what runs in production: three brokers, a database, and the program in seven processes beside each other.
type fleet struct {
	dir     string // of data and logs; it stays when the test fails
	brokers []*broker
	db      *database
	apis    []*member
	stages  []*member
	leads   []*member // the projectors, of which one leads

	js   jetstream.JetStream // past every link, as is pool
	pool *pgxpool.Pool
}

// retryAttempts is how often a dish is tried in a stage.
const retryAttempts = 3

// member is one process of the program with its own ways to the others.
type member struct {
	*process

	url    string  // of an api
	toNATS []*link // one for each broker
	toRows *link
}

// oneFleet is held by the fleet that runs: two at once would be more than a small machine can carry.
var oneFleet sync.Mutex

// startFleet starts everything and waits until it takes work. The stages task6 and task7 are answered by a worker from
// outside, see newWorker. It ends with the test.
func startFleet(tb testing.TB, args ...string) *fleet {
	tb.Helper()
	oneFleet.Lock()
	tb.Cleanup(oneFleet.Unlock)
	program(tb, "kondate")                         // to build it takes minutes on a busy machine, and the ports below stay free for a moment only
	dir, err := os.MkdirTemp("", "kondate-fleet-") //nolint:usetesting // it stays when the test fails, and Postgres runs as another user
	if err == nil {
		err = os.Chmod(dir, 0o755) // Postgres runs as another user
	}
	if err != nil {
		tb.Fatal(err)
	}
	f := &fleet{dir: dir}
	tb.Cleanup(func() { f.end(tb) })
	f.db, f.brokers = newDatabase(tb, dir), newBrokers(tb, dir)
	ports := freePorts(tb, 2)
	for i := range 3 {
		if i < 2 {
			m := f.newMember(tb, fmt.Sprintf("api-%d", i+1), "api", loopback(ports[i]), args)
			m.url = "http://" + loopback(ports[i])
			f.apis = append(f.apis, m)
			f.leads = append(f.leads, f.newMember(tb, fmt.Sprintf("projector-%d", i+1), "projector", loopback(0), args))
		}
		f.stages = append(f.stages, f.newMember(tb, fmt.Sprintf("stages-%d", i+1), "stages", loopback(0), args))
	}
	for _, p := range f.foundation() {
		if err := p.start(); err != nil {
			tb.Fatal(err)
		}
	}
	for _, p := range f.foundation() {
		if err := p.ready(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
	f.js = connect(tb, f.brokers)
	if f.pool, err = pgxpool.New(tb.Context(), databaseURL(f.db.addr)); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(f.pool.Close)
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	if err := until(ctx, "the brokers have a leader", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second) // a request that came too early has no answer
		defer cancel()
		_, err := f.js.AccountInfo(ctx)
		return err
	}); err != nil {
		tb.Fatal(err)
	}
	var g errgroup.Group
	for _, m := range f.members() {
		g.Go(func() error { return m.restart(ctx) })
	}
	if err := g.Wait(); err != nil {
		tb.Fatal(err)
	}
	return f
}

// newMember prepares a process of the program.
func (f *fleet) newMember(tb testing.TB, name, role, addr string, args []string) *member {
	tb.Helper()
	m := &member{toRows: newLink(tb, linkName(name, f.db.name), f.db.addr)}
	urls := make([]string, len(f.brokers))
	for i, b := range f.brokers {
		l := newLink(tb, linkName(name, b.name), b.addr)
		m.toNATS = append(m.toNATS, l)
		urls[i] = "nats://" + l.addr
	}
	path := program(tb, "kondate")
	m.process = &process{name: name, log: filepath.Join(f.dir, name+".log"), command: func() *exec.Cmd {
		return exec.Command(path, append([]string{ //nolint:noctx // the fleet ends it
			"serve", "--roles", role, "--data-dir", filepath.Join(f.dir, name), "--http-addr", addr,
			"--nats-url", strings.Join(urls, ","), "--nats-replicas", "3", "--nats-max-bytes", strconv.Itoa(logBytes),
			"--database-url", databaseURL(m.toRows.addr) + "&application_name=" + name, "--database-pool-size", "8", "--database-max-overflow", "8", "--database-pool-timeout", "10s",
			"--stages-ack-wait", "3s", "--processing-retry-delay", "500ms", "--processing-retry-attempts", strconv.Itoa(retryAttempts), "--processing-task-timeout", "5s", "--processing-progress-update-interval", "1s",
			"--stages-task6-provider", "external", "--stages-task7-provider", "external",
			"--sse-event-history-ttl", "0", "--sse-reconnect-interval", "200ms", "--sse-keepalive-interval", "1s",
		}, args...)...)
	}}
	return m
}

// foundation is what the program stands on.
func (f *fleet) foundation() []*process {
	all := []*process{f.db.process}
	for _, b := range f.brokers {
		all = append(all, b.process)
	}
	return all
}

func (f *fleet) members() []*member {
	return append(append(append([]*member{}, f.apis...), f.stages...), f.leads...)
}

// urls are where clients find the apis.
func (f *fleet) urls() []string {
	urls := make([]string, len(f.apis))
	for i, m := range f.apis {
		urls[i] = m.url
	}
	return urls
}

// restart starts a process that is not running and waits until it is ready. It plays the supervisor: a start that fails
// because what it needs is away is tried again.
func (p *process) restart(ctx context.Context) error {
	return until(ctx, p.name+" runs", func(ctx context.Context) error {
		if !p.running() {
			if err := p.start(); err != nil {
				return err
			}
		}
		return p.ready(ctx)
	})
}

// heal makes every link whole, wakes who is paused, and starts who is not there.
func (f *fleet) heal(ctx context.Context) error {
	for _, p := range f.all() {
		if p.paused {
			p.resume()
		}
	}
	var errs []error
	for _, b := range f.brokers {
		errs = append(errs, healAll(b.routes))
	}
	for _, m := range f.members() {
		errs = append(errs, healAll(m.toNATS), m.toRows.heal())
	}
	for _, p := range f.all() {
		errs = append(errs, p.restart(ctx))
	}
	return errors.Join(errs...)
}

func healAll(links []*link) error {
	var errs []error
	for _, l := range links {
		errs = append(errs, l.heal())
	}
	return errors.Join(errs...)
}

func (f *fleet) all() []*process {
	all := f.foundation()
	for _, m := range f.members() {
		all = append(all, m.process)
	}
	return all
}

// streamLeader returns the broker that leads the log's group, and the others.
func (f *fleet) streamLeader(ctx context.Context) (leader *broker, followers []*broker, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = until(ctx, "the log has a leader", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		stream, err := f.js.Stream(ctx, eventStream)
		if err != nil {
			return err
		}
		leader, followers = nil, nil
		for _, b := range f.brokers {
			if c := stream.CachedInfo().Cluster; c != nil && c.Leader == b.name {
				leader = b
			} else {
				followers = append(followers, b)
			}
		}
		if leader == nil {
			return errors.New("no broker leads")
		}
		return nil
	})
	return leader, followers, err
}

// whole waits until every broker has all of the log. Until then the loss of another one would be the loss of two.
func (f *fleet) whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return until(ctx, "every broker has the whole log", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		stream, err := f.js.Stream(ctx, eventStream)
		if err != nil {
			return err
		}
		if how := stream.CachedInfo().Config.Compression; how != jetstream.NoCompression {
			return fmt.Errorf("the log's compression is %s, which costs acknowledged events when brokers are killed", how)
		}
		c := stream.CachedInfo().Cluster
		if c == nil || c.Leader == "" || len(c.Replicas) != len(f.brokers)-1 {
			return fmt.Errorf("the log's group is %+v", c)
		}
		for _, r := range c.Replicas {
			if !r.Current || r.Offline {
				return fmt.Errorf("%s is behind", r.Name)
			}
		}
		return nil
	})
}

// leading is the lock of the projector that works: "kond", 1.
const leading = `select a.application_name from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.classid::int = 1802464868 and l.objid::int = 1 and l.granted`

// leader returns the projector that leads, and its standby.
func (f *fleet) leader(ctx context.Context) (leader, standby *member, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = until(ctx, "a projector leads", func(ctx context.Context) error {
		var name string
		if err := f.pool.QueryRow(ctx, leading).Scan(&name); err != nil {
			return err
		}
		for i, m := range f.leads {
			if m.name == name {
				leader, standby = m, f.leads[1-i]
				return nil
			}
		}
		return fmt.Errorf("%q leads", name)
	})
	return leader, standby, err
}

// end stops what runs. The folder goes only when the test has passed.
func (f *fleet) end(tb testing.TB) {
	tb.Helper()
	for _, p := range f.all() {
		p.kill()
	}
	for _, b := range f.brokers {
		if err := b.unmount(); err != nil {
			tb.Error(err)
		}
	}
	if tb.Failed() || *keep {
		tb.Logf("logs and data are in %s", f.dir)
		return
	}
	if err := os.RemoveAll(f.dir); err != nil {
		tb.Error(err)
	}
}

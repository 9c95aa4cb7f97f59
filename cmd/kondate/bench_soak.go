package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"kondate/cmd/kondate/bench"
	"kondate/handlers/sse/load"
	"kondate/streams"
)

type benchSoakCommand struct {
	Duration time.Duration `default:"30m" help:"How long the load lasts."`
	Load     float64       `default:"0.7" help:"Share of what the server can do, which is measured first."`
	NATSSync string        `name:"nats-sync" default:"always" help:"nats.sync of the server."`
	DataDir  string        `placeholder:"DIR" help:"Folder on the disk to work on: a folder is made in it, and removed. Empty: the system's temporary one." type:"path"`
	JSON     bool          `help:"Print JSON."`
}

// Help is shown below the flags.
func (benchSoakCommand) Help() string {
	return "A server of its own works at a share of what it can do: menus of 20 dishes come at an even pace, each is followed by a client, and every third client loses its connection " +
		"on the way and resumes. Old sessions are archived meanwhile, as an operator does, and what the server can do is what it completes and archives in a trial. " +
		"What it holds is looked at forty times.\n\n" +
		"Exit 1 if the last quarter held more than the second one (memory by more than a tenth, goroutines and files by more than a tenth, or any consumer more), " +
		"if a client missed an event or got one twice, or if the server did not keep pace.\n\n" +
		"Example: kondate bench soak --duration 5m"
}

// Validate refuses what could not be measured. kong calls it.
func (c benchSoakCommand) Validate() error {
	if c.Duration < soakLooks*10*time.Millisecond {
		return fmt.Errorf("--duration %s is too short to look at the server %d times", c.Duration, soakLooks)
	}
	if c.Load <= 0 || c.Load > 1 {
		return fmt.Errorf("--load %v is a share of what the server can do: more than 0, at most 1", c.Load)
	}
	_, err := streams.ParseSync(c.NATSSync)
	return err
}

const (
	// soakLooks is how often a soak looks at its server.
	soakLooks = 40
	// soakArchives is how often old sessions are archived at most; one is old when it has been still for two of these times.
	// The log is as long as what came in some three of them: soon, and from then on, an even load has a log of one length.
	soakArchives = 60
	// soakTrialArchives is how often in the trial, which is short beside the start of a command.
	soakTrialArchives = 15
	// soakInFlight are the menus under way at which a server does not keep pace.
	soakInFlight = 500
	// soakRestless is how many clients there are for one that loses its connection.
	soakRestless = 3
	// soakTrial is how much of the duration the capacity is measured for, and soakTrialMost how long at most; it takes
	// soakTrialMenus at least.
	soakTrial      = 20
	soakTrialMost  = time.Minute
	soakTrialMenus = 100
	// soakClients are the clients that it is measured with.
	soakClients = 50
	// soakLast is how long the last menus may take when all are sent, and how much longer than wanted the capacity may take.
	soakLast = 2 * time.Minute
)

// soaked is what a server holds at a moment, and what it did since the one before.
type soaked struct {
	load.Held

	Seconds  float64 `json:"seconds"` // since the load began
	Subjects uint64  `json:"subjects"`
	Menus    int     `json:"menus"` // completed on a client's stream
	InFlight int     `json:"in_flight"`
	P50      float64 `json:"p50_ms"` // from the POST to menu.completed on the stream
	P99      float64 `json:"p99_ms"`
}

// soak is a server under an even load.
type soak struct {
	*benched

	began time.Time

	mu       sync.Mutex // guards the rest
	inFlight int
	took     []float64 // milliseconds, since the last look
	resumed  int
	parked   int // pairs of a dish and a stage that ended without a result
	looks    []soaked
}

// Run measures.
func (c benchSoakCommand) Run(ctx context.Context, env environment) (err error) {
	s := &soak{benched: &benched{env: env, sync: c.NATSSync, roles: allRoles(), Server: &load.Server{}}}
	defer func() { err = errors.Join(err, s.stop(ctx)) }()
	if err := s.startOwn(ctx, c.DataDir); err != nil {
		return err
	}
	body, err := sampleBody(bench.Dishes)
	if err != nil {
		return err
	}
	fmt.Fprintln(env.stderr, "capacity …")
	capacity, err := s.capacity(ctx, body, min(c.Duration/soakTrial, soakTrialMost))
	if err != nil {
		return fmt.Errorf("measure what the server can do: %w", err)
	}
	fmt.Fprintf(env.stderr, "%.0f dishes/s; %s at %.0f %% of them …\n", capacity*bench.Dishes, c.Duration, c.Load*100)
	if err := s.run(ctx, body, capacity*c.Load, c.Duration); err != nil {
		return fmt.Errorf("soak: %w", err)
	}
	report := newSoakReport(s, capacity*bench.Dishes, c)
	if c.JSON {
		err = printJSON(env.stdout, report)
	} else {
		err = report.print(env.stdout)
	}
	if err == nil && len(report.Grown) > 0 {
		err = errGrown
	}
	return err
}

// errGrown says that a server does not hold what it held.
var errGrown = errors.New("the server grew under an even load: see above")

// capacity returns how many menus a second the server completes for clients of which each sends its next menu when the
// one before has come to its end, and takes out of the log again: a log that becomes longer and longer is no even load.
func (s *soak) capacity(ctx context.Context, body []byte, d time.Duration) (float64, error) {
	cl := s.client()
	defer cl.http.CloseIdleConnections()
	ctx, cancel := context.WithTimeoutCause(ctx, d+soakLast, fmt.Errorf("%w: fewer than %d menus in %s", errPace, 2*soakTrialMenus, d+soakLast))
	defer cancel()
	var mu sync.Mutex // guards the rest
	sent, done := 0, 0
	var warm, last time.Time
	g, trial := errgroup.WithContext(ctx)
	g.Go(func() error { return s.archive(trial, d, d/soakTrialArchives) })
	for range soakClients {
		g.Go(func() error {
			for {
				mu.Lock()
				i, enough := sent, done >= 2*soakTrialMenus && last.Sub(warm) >= d
				sent++
				mu.Unlock()
				if enough {
					return nil
				}
				if err := s.menu(trial, cl, body, i%soakRestless == 0); err != nil {
					return cmp.Or(context.Cause(trial), err)
				}
				mu.Lock()
				last = time.Now()
				if done++; done == soakTrialMenus { // pools and caches are filled then
					warm = last
				}
				mu.Unlock()
			}
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	if _, err := s.kondate(ctx, "archive", "--older-than", "0s"); err != nil {
		return 0, err
	}
	return float64(done-soakTrialMenus) / time.Since(warm).Seconds(), nil
}

// run sends menus at an even pace, looks at the server, and archives.
func (s *soak) run(ctx context.Context, body []byte, menusPerSecond float64, d time.Duration) error {
	s.count(func() { s.took, s.resumed, s.parked = nil, 0, 0 }) // of the trial
	s.began = time.Now()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return every(ctx, d/soakLooks, soakLooks, func(int) error { return s.look(ctx) })
	})
	g.Go(func() error { return s.archive(ctx, d, d/soakArchives) })
	g.Go(func() error { return s.send(ctx, body, menusPerSecond, d) })
	return g.Wait()
}

// archive archives old sessions at a pace, for a time. A command that takes longer puts the next one off.
func (s *soak) archive(ctx context.Context, d, pace time.Duration) error {
	for began := time.Now(); time.Since(began) < d-pace; {
		if err := every(ctx, pace, 1, func(int) error {
			_, err := s.kondate(ctx, "archive", "--older-than", (2 * pace).String())
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// send sends menus at an even pace and waits until all are completed. It ends at once when too many are under way.
func (s *soak) send(ctx context.Context, body []byte, menusPerSecond float64, d time.Duration) error {
	cl := s.client()
	defer cl.http.CloseIdleConnections()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	menus, following := errgroup.WithContext(ctx)
	menus.SetLimit(soakInFlight)
	pace := time.Duration(float64(time.Second) / menusPerSecond)
	err := every(following, pace, int(d/pace), func(i int) error {
		if !menus.TryGo(func() error { return s.menu(following, cl, body, i%soakRestless == 0) }) {
			return fmt.Errorf("%w: %d menus are under way after %s", errPace, soakInFlight, time.Since(s.began).Round(time.Second))
		}
		return nil
	})
	if err != nil {
		cancel(err) // nobody else would cancel those who follow
	}
	late := time.AfterFunc(soakLast, func() {
		cancel(fmt.Errorf("%w: menus are under way %s after the last one was sent", errPace, soakLast))
	})
	defer late.Stop()
	ended := menus.Wait()
	return cmp.Or(context.Cause(ctx), ended)
}

// errPace says that a server cannot do what it is asked to.
var errPace = errors.New("the server did not keep pace")

// every does something n times, the next one at its time also if the one before was late.
func every(ctx context.Context, pace time.Duration, n int, do func(i int) error) error {
	began := time.Now()
	for i := range n {
		select {
		case <-time.After(time.Until(began.Add(time.Duration(i+1) * pace))):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := do(i); err != nil {
			return err
		}
	}
	return nil
}

// menu takes one menu from the POST to the end of its stream. A restless client loses its connection after the first event.
func (s *soak) menu(ctx context.Context, cl *client, body []byte, restless bool) error {
	s.count(func() { s.inFlight++ })
	defer s.count(func() { s.inFlight-- })
	began := time.Now()
	answer, err := cl.submit(ctx, body)
	if err != nil {
		return err
	}
	f := newFollower(cl, answer.StreamURL)
	seen := newStreamSeen(answer.SessionID)
	var torn error // the follower would say only that it was cut
	take := func(fr frame) error {
		torn = cmp.Or(torn, seen.take(fr))
		return torn
	}
	if restless {
		cut, cancel := context.WithCancelCause(ctx)
		err := f.run(cut, func(fr frame) error { cancel(errRestless); return take(fr) })
		cancel(nil)
		if err = cmp.Or(torn, err); err != nil && !errors.Is(err, errRestless) {
			return err
		}
		s.count(func() { s.resumed++ })
	}
	if seen.completed.IsZero() {
		if err := f.run(ctx, take); err != nil {
			return cmp.Or(torn, err)
		}
	}
	if err := seen.whole(); err != nil {
		return err
	}
	s.count(func() {
		s.took = append(s.took, seen.completed.Sub(began).Seconds()*1000)
		s.parked += len(seen.parked)
	})
	return nil
}

var errRestless = errors.New("the client cut its connection")

func (s *soak) count(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// look writes down what the server holds.
func (s *soak) look(ctx context.Context) error {
	held, err := s.Held(ctx)
	if err != nil {
		return err
	}
	if err := known(held); err != nil {
		return err
	}
	stored, err := s.log.js.Stream(ctx, streams.EventStream)
	if err != nil {
		return fmt.Errorf("read the state of stream %s: %w", streams.EventStream, err)
	}
	s.count(func() {
		s.looks = append(s.looks, soaked{
			Held: held, Seconds: time.Since(s.began).Seconds(), Subjects: stored.CachedInfo().State.NumSubjects, InFlight: s.inFlight,
			Menus: len(s.took), P50: bench.Quantile(s.took, 0.5), P99: bench.Quantile(s.took, 0.99),
		})
		s.took = nil
	})
	return nil
}

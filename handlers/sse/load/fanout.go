package load

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"kondate/domain/menu"
)

// headStart is the time between the moment at which a run is set and its first event.
const headStart = 100 * time.Millisecond

// fanout is live delivery: many sessions at a steady rate, one session with all clients, and as quickly as it goes.
func fanout(ctx context.Context, s *Server, size Size, report func(Measure)) error {
	runs := []struct {
		name string
		size Size
	}{
		{"many sessions", size.orElse(Size{Clients: 1000, Sessions: 100, Rate: 200, Duration: 10 * time.Second, Payload: defaultPayload})},
		{"one session", Size{Clients: size.Clients, Sessions: 1, Duration: size.Duration, Payload: size.Payload}.orElse(
			Size{Clients: 1000, Rate: 10, Duration: 10 * time.Second, Payload: defaultPayload})},
		{"full speed", size.orElse(Size{Clients: 1000, Sessions: 100, Duration: 10 * time.Second, Payload: defaultPayload})},
	}
	runs[2].size.Rate = 0
	for _, run := range runs {
		m := Measure{Scenario: "fanout", Name: run.name}
		if err := s.live(ctx, &m, run.size); err != nil {
			return err
		}
		if err := s.raw(ctx, &m, run.size); err != nil {
			return err
		}
		report(m)
	}
	return nil
}

// live measures events that are appended while clients listen.
func (s *Server) live(ctx context.Context, m *Measure, size Size) error {
	m.Clients, m.Sessions = size.Clients, size.Sessions
	keys, err := s.submit(ctx, size.Sessions)
	if err != nil {
		return err
	}
	sched := &schedule{sessions: size.Sessions, rate: size.Rate}
	clients := s.listeners(keys, size.Clients, sched)
	defer clients.close()
	if err := clients.connect(ctx); err != nil {
		return err
	}
	return s.run(ctx, m, clients, keys, sched, size)
}

// listeners are clients of the server, spread over sessions.
func (s *Server) listeners(keys []menu.Key, n int, sched *schedule) fleet {
	clients := make(fleet, n)
	for i := range clients {
		session := i % len(keys)
		clients[i] = &client{address: s.Address, path: "/v1/sessions/" + string(keys[session].Session) + "/events", due: sched.of(session)}
	}
	return clients
}

// of returns when the events of a session are due, nil at full speed.
func (s *schedule) of(session int) func(int) time.Time {
	if s.rate == 0 {
		return nil
	}
	return func(n int) time.Time { return s.due(session, n) }
}

// run appends while clients that are connected read.
func (s *Server) run(ctx context.Context, m *Measure, clients fleet, keys []menu.Key, sched *schedule, size Size) error {
	before := s.use()
	sched.began = time.Now().Add(headStart)
	stop := make(chan struct{})
	ending := time.AfterFunc(headStart+size.Duration, func() { close(stop) })
	defer ending.Stop()
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make([]int, len(keys))
	collected := make(chan error, 1)
	go func() { collected <- clients.collect(reading, ends, func(i int) int { return i % len(keys) }) }()
	counts, err := publish(ctx, s.Log, keys, *sched, size.Payload, stop)
	if err != nil {
		cancel()
		return errors.Join(err, <-collected)
	}
	copy(ends, counts)
	late := time.AfterFunc(patience, cancel)
	defer late.Stop()
	if err := <-collected; err != nil {
		return err
	}
	m.sum(clients, time.Since(sched.began))
	events := -len(counts) // but for the last ones
	for _, n := range counts {
		events += n
	}
	m.Rate = float64(events) / size.Duration.Seconds()
	s.account(m, before)
	return ctx.Err()
}

// sum puts into a measure what clients saw.
func (m *Measure) sum(clients fleet, took time.Duration) {
	f := clients.faults()
	m.Missing, m.Doubled, m.Reordered = m.Missing+f.missing, m.Doubled+f.doubled, m.Reordered+f.reordered
	m.Seconds = took.Seconds()
	var all []time.Duration
	for _, c := range clients {
		m.Deliveries += c.next - len(c.gaps)
		all = append(all, c.took...)
	}
	m.PerSecond = float64(m.Deliveries) / m.Seconds
	slices.Sort(all)
	m.P50, m.P99, m.Max = quantile(all, 0.5), quantile(all, 0.99), quantile(all, 1)
}

// quantile returns one of sorted latencies, in milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(math.Ceil(q*float64(len(sorted)-1)))].Seconds() * 1000
}

// raw measures the same with neither log nor hub.
func (s *Server) raw(ctx context.Context, m *Measure, size Size) error {
	if s.Raw == "" {
		return nil
	}
	r, err := s.rawRun(ctx, size, plan{rate: size.Rate})
	if err != nil {
		return err
	}
	if m.RawP50, m.RawP99 = r.P50, r.P99; size.Rate > 0 {
		m.Ratio = ratio(m.P99, r.P99)
		return nil
	}
	m.RawPerSecond, m.Ratio = r.PerSecond, ratio(m.PerSecond, r.PerSecond)
	return nil
}

func (s *Server) rawRun(ctx context.Context, size Size, p plan) (m Measure, err error) {
	sched := &schedule{sessions: size.Sessions, rate: size.Rate}
	clients := make(fleet, size.Clients)
	for i := range clients {
		p.session, p.sessions, p.payload = i%size.Sessions, size.Sessions, size.Payload
		clients[i] = &client{address: s.Raw, path: p.path(), due: sched.of(p.session)}
	}
	defer clients.close()
	if err := clients.connect(ctx); err != nil {
		return m, err
	}
	sched.began = time.Now().Add(headStart)
	if err := clients.begin(sched.began, sched.began.Add(size.Duration)); err != nil {
		return m, err
	}
	reading, cancel := context.WithTimeout(ctx, size.Duration+patience)
	defer cancel()
	if err := clients.collect(reading, make([]int, size.Sessions), func(i int) int { return i % size.Sessions }); err != nil {
		return m, err
	}
	m.sum(clients, time.Since(sched.began))
	return m, context.Cause(reading)
}

func ratio(ours, raw float64) float64 {
	if raw == 0 {
		return 0
	}
	return ours / raw
}

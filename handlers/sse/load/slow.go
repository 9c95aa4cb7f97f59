package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	// stalledClients are those of slow that read nothing.
	stalledClients = 10
	// slowPayload fills the buffers of a client that reads nothing within seconds.
	slowPayload = 4096
	// stalledBuffer is what the kernel takes for such a client.
	stalledBuffer = 64 << 10
	// cutWithin is how long a server may keep a client that takes nothing.
	cutWithin = 30 * time.Second
)

// slow is clients that read nothing beside those that do: the ones are cut, the others do not notice; and when the ones
// come back, they get everything.
func slow(ctx context.Context, s *Server, size Size, report func(Measure)) error {
	size = size.orElse(Size{Clients: 100, Sessions: 1, Rate: 100, Duration: 15 * time.Second, Payload: slowPayload})
	alone := size
	alone.Duration /= 3
	m := Measure{Scenario: "slow", Name: "nobody stalls"}
	if err := s.live(ctx, &m, alone); err != nil {
		return err
	}
	report(m)

	beside := Measure{Scenario: "slow", Name: fmt.Sprintf("%d stall", stalledClients), Clients: size.Clients, Sessions: size.Sessions}
	keys, err := s.submit(ctx, size.Sessions)
	if err != nil {
		return err
	}
	sched := &schedule{sessions: size.Sessions, rate: size.Rate}
	clients, stalled := s.listeners(keys, size.Clients, sched), s.listeners(keys, stalledClients, &schedule{})
	defer clients.close()
	defer stalled.close()
	if err := clients.connect(ctx); err != nil {
		return err
	}
	if err := stalled.connect(ctx); err != nil {
		return err
	}
	for _, c := range stalled {
		if tcp, ok := c.conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(stalledBuffer) // the default works too
		}
	}
	type outcome struct {
		took time.Duration
		err  error
	}
	cut := make(chan outcome, 1)
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		took, err := s.untilOpen(watching, size.Clients, cutWithin)
		cut <- outcome{took, err}
	}()
	err = s.run(ctx, &beside, clients, keys, sched, size)
	if err != nil {
		cancel()
	}
	ended := <-cut
	switch {
	case err != nil:
		return err
	case errors.Is(ended.err, errKept):
		beside.Failed = ended.err.Error()
	case ended.err != nil:
		return ended.err
	case ended.took > 0:
		beside.Note = fmt.Sprintf("cut %.1f s after the first event", ended.took.Seconds())
	}
	beside.RawP50, beside.RawP99, beside.Ratio = m.P50, m.P99, ratio(beside.P99, m.P99)
	if err := s.comeBack(ctx, &beside, stalled, clients); err != nil {
		return err
	}
	report(beside)
	return nil
}

// comeBack lets clients that were cut connect again, and counts what they do not get.
func (s *Server) comeBack(ctx context.Context, m *Measure, stalled, clients fleet) error {
	stalled.close()
	reading, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := stalled.connect(reading); err != nil {
		return err
	}
	for i, c := range stalled {
		m.Missing += max(0, clients[i%m.Sessions].next-c.next) + c.faults.missing
		m.Doubled += c.faults.doubled
		m.Reordered += c.faults.reordered
	}
	return nil
}

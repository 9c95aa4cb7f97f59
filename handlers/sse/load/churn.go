package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// churnReconnects is how often the clients of churn come back, all together.
const churnReconnects = 2000

// churn is clients that vanish in the middle of anything and come back with their Last-Event-ID at once, while events
// are appended. In the end everything is where it was before.
func churn(ctx context.Context, s *Server, size Size, report func(Measure)) error {
	size = size.orElse(Size{Clients: 200, Sessions: 100, Rate: 200, Payload: defaultPayload})
	m := Measure{Scenario: "churn", Name: fmt.Sprintf("%d reconnects", churnReconnects), Clients: size.Clients, Sessions: size.Sessions}
	keys, err := s.submit(ctx, size.Sessions)
	if err != nil {
		return err
	}
	sched := &schedule{sessions: size.Sessions, rate: size.Rate}
	clients := s.listeners(keys, size.Clients, sched)
	defer clients.close()
	first, err := s.rehearse(ctx, clients)
	if err != nil {
		return err
	}
	if err := clients.connect(ctx); err != nil {
		return err
	}
	before := s.use()
	sched.began = time.Now().Add(headStart)
	stop := make(chan struct{})
	var back atomic.Int64
	g, running := errgroup.WithContext(ctx)
	for _, c := range clients {
		g.Go(func() error {
			return c.restless(running, func() bool {
				n := back.Add(1)
				if n == churnReconnects {
					close(stop)
				}
				return n < churnReconnects
			})
		})
	}
	g.Go(func() error {
		_, err := publish(running, s.Log, keys, *sched, size.Payload, stop)
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	m.sum(clients, time.Since(sched.began))
	m.Rate = size.Rate
	s.account(&m, before)
	clients.close()
	if m.Failed, err = s.compare(ctx, first); err != nil {
		return err
	}
	report(m)
	return nil
}

// rehearse connects clients and lets them leave: what a server opens for its first clients and keeps is not their own.
// It returns what is there afterwards.
func (s *Server) rehearse(ctx context.Context, clients fleet) (Held, error) {
	if err := clients.connect(ctx); err != nil {
		return Held{}, err
	}
	clients.close()
	if _, err := s.untilOpen(ctx, 0, patience); err != nil {
		return Held{}, err
	}
	return s.Held(ctx)
}

// restless reads, and leaves after a short life, until it came back often enough; then it reads to the end.
func (c *client) restless(ctx context.Context, again func() bool) error {
	for {
		life := time.Now().Add(200*time.Millisecond + rand.N(1800*time.Millisecond)) //nolint:gosec // it spreads load
		_ = c.conn.SetReadDeadline(life)                                             // the read tells if the connection is gone
		err := c.read(func() bool { return false })
		switch {
		case err == nil:
			return nil // it has its last event
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		}
		c.reset()
		more := again()
		if err := c.connect(ctx); err != nil {
			return err
		}
		if !more {
			_ = c.conn.SetReadDeadline(time.Now().Add(patience)) // as above
			if err := c.read(func() bool { return false }); !errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
			c.faults.missing++ // its last event at least
			return nil
		}
	}
}

// compare waits until what clients used is given back, and says what is not.
func (s *Server) compare(ctx context.Context, first Held) (string, error) {
	const spare = 5 // what a server opens and starts by itself meanwhile
	var now Held
	var err error
	_, waited := until(ctx, patience, func() bool {
		now, err = s.Held(ctx)
		return err != nil || now.Handles <= first.Handles+spare && now.Goroutines <= first.Goroutines+spare && now.Consumers <= first.Consumers
	})
	if err != nil {
		return "", err
	}
	if waited != nil && ctx.Err() == nil {
		return fmt.Sprintf("left over: %d file handles, %d goroutines, %d consumers; before: %d, %d, %d",
			now.Handles, now.Goroutines, now.Consumers, first.Handles, first.Goroutines, first.Consumers), nil
	}
	return "", ctx.Err()
}

package load

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// settling is how long a server may use memory for the connecting itself.
	settling = 3 * time.Second
	// freeWithin is how long a server may keep the place of a client that left.
	freeWithin = 10 * time.Second
)

// idle is clients that get nothing: what each takes of the server's memory, and how soon it is free when they leave.
func idle(ctx context.Context, s *Server, size Size, report func(Measure)) error {
	size = size.orElse(Size{Clients: 2000, Sessions: 100})
	keys, err := s.submit(ctx, size.Sessions)
	if err != nil {
		return err
	}
	m := Measure{Scenario: "idle", Name: "nothing happens", Clients: size.Clients, Sessions: size.Sessions}
	before, memory := s.use(), Resident(s.PID)
	clients := s.listeners(keys, size.Clients, &schedule{})
	defer clients.close()
	began := time.Now()
	if err := clients.connect(ctx); err != nil {
		return err
	}
	connected := time.Since(began)
	select {
	case <-time.After(settling):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.account(&m, before)
	if s.PID > 0 {
		m.Resident = (m.ServerResident - memory) / size.Clients
	}
	clients.close()
	m.Note = fmt.Sprintf("connected in %.2f s", connected.Seconds())
	took, err := s.untilOpen(ctx, 0, freeWithin)
	switch {
	case errors.Is(err, errKept):
		m.Failed = err.Error()
	case err != nil:
		return err
	case took > 0:
		m.Note += fmt.Sprintf(", free %.2f s after they left", took.Seconds())
	}
	report(m)
	return ctx.Err()
}

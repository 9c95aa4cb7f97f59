package load

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"kondate/domain/menu"
)

// replayEvents is how many old events each client of replay gets.
const replayEvents = 1000

// replay is old events: each client gets the 1,000 of its session, all clients at once; out of the server's memory, and
// where the server can be started anew, out of the history.
func replay(ctx context.Context, s *Server, size Size, report func(Measure)) error {
	size = size.orElse(Size{Clients: 100, Sessions: 100, Payload: defaultPayload})
	keys, err := s.submit(ctx, size.Sessions)
	if err != nil {
		return err
	}
	newest, err := fill(ctx, s.Log, keys, replayEvents, size.Payload)
	if err != nil {
		return err
	}
	if err := s.reflect(ctx, keys[0], newest); err != nil {
		return err
	}
	raw := Measure{}
	if s.Raw != "" {
		if raw, err = s.rawRun(ctx, size, plan{events: replayEvents, together: 64}); err != nil {
			return err
		}
	}
	for _, from := range []string{"memory", "history"} {
		if from == "history" {
			if s.Restart == nil {
				return nil
			}
			if err := s.Restart(ctx); err != nil {
				return err
			}
		}
		for _, some := range [][]menu.Key{keys[:1], keys} {
			m := Measure{Scenario: "replay", Name: fmt.Sprintf("from %s, %d stored", from, size.Sessions*replayEvents), Clients: size.Clients, Sessions: len(some)}
			if err := s.catchUp(ctx, &m, some); err != nil {
				return err
			}
			if raw.Seconds > 0 {
				m.RawSeconds = raw.Seconds
				m.Ratio = ratio(m.Seconds, raw.Seconds)
			}
			report(m)
		}
	}
	return nil
}

// catchUp lets clients read what is there, all at once.
func (s *Server) catchUp(ctx context.Context, m *Measure, keys []menu.Key) error {
	clients := s.listeners(keys, m.Clients, &schedule{})
	defer clients.close()
	reading, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	before, began := s.use(), time.Now()
	for _, c := range clients {
		c.due = func(int) time.Time { return began }
	}
	if err := clients.connect(reading); err != nil {
		return err
	}
	m.sum(clients, time.Since(began))
	for _, c := range clients {
		m.Missing += replayEvents - c.next
	}
	s.account(m, before)
	return ctx.Err()
}

// reflect waits until the rows have what was appended.
func (s *Server) reflect(ctx context.Context, key menu.Key, seq uint64) error {
	var status int
	var err error
	_, waited := until(ctx, 2*time.Minute, func() bool {
		status, _, err = s.call(ctx, http.MethodGet, fmt.Sprintf("/v1/sessions/%s/menus?min_seq=%d", key.Session, seq))
		return err != nil || status == http.StatusOK
	})
	if err != nil {
		return err
	}
	if waited != nil {
		return fmt.Errorf("the rows do not reflect event %d (status %d): does a projector run? %w", seq, status, waited)
	}
	return nil
}

package sse_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"kondate/domain/menu"
	"kondate/projections"
)

// logHistory is a copy of a log's older part, made from the log itself.
type logHistory struct {
	log store

	mu      sync.Mutex // guards the fields below
	upTo    *uint64    // the checkpoint that it has reached; nil: as far as the log
	purged  uint64     // up to which nothing is held any more
	failing error
	read    func() // called by every query; may panic
}

func (h *logHistory) set(fn func(*logHistory)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fn(h)
}

func (h *logHistory) Older(ctx context.Context, key menu.Key, after uint64, limit int) (rows []projections.HistoryRow, upTo uint64, err error) {
	h.mu.Lock()
	checkpoint, failing, read := h.upTo, h.failing, h.read
	after = max(after, h.purged)
	h.mu.Unlock()
	if read != nil {
		read()
	}
	if failing != nil {
		return nil, 0, failing
	}
	if upTo, err = h.log.Last(ctx); err != nil {
		return nil, 0, err
	}
	if checkpoint != nil {
		upTo = min(upTo, *checkpoint)
	}
	entries, err := h.log.LoadPage(ctx, key, after, limit)
	for _, e := range entries {
		if checkpoint != nil && e.Seq > *checkpoint {
			break
		}
		row := projections.HistoryRow{Seq: e.Seq, ID: e.ID, Key: e.Key, Type: e.Type, Version: e.Version, Time: e.Time, Data: e.Data}
		if e.Err != nil {
			row.Err = e.Err.Error()
			row.Headers, _ = json.Marshal(e.Header) //nolint:errchkjson // strings always marshal
		}
		rows = append(rows, row)
	}
	return rows, upTo, err
}

// foldedSessions are rows folded from the log when somebody asks.
type foldedSessions struct {
	log store

	mu      sync.Mutex // guards the fields below
	failing error
	missing bool   // no row is there yet
	wait    func() // called by WaitFor; may panic
	behind  bool   // for ever
	stale   int    // so many answers of Session leave out the newest event
	waits   int
}

func (s *foldedSessions) set(fn func(*foldedSessions)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(s)
}

func (s *foldedSessions) Session(ctx context.Context, key menu.Key) (projections.SessionRow, error) {
	s.mu.Lock()
	failing, missing, stale := s.failing, s.missing, s.stale > 0
	s.stale = max(s.stale-1, 0)
	s.mu.Unlock()
	if failing != nil {
		return projections.SessionRow{}, failing
	}
	entries, err := s.log.Load(ctx, key)
	if err != nil {
		return projections.SessionRow{}, err
	}
	if stale {
		entries = entries[:len(entries)-1]
	}
	var state menu.Session
	for _, e := range entries {
		if e.Event != nil {
			state = menu.Evolve(state, e.Recorded)
		}
	}
	if missing || state.LastSeq == 0 {
		return projections.SessionRow{}, fmt.Errorf("session %s: %w", key, projections.ErrNotFound)
	}
	return projections.SessionRow{
		SessionID: key.Session, Status: state.Status, LastSeq: state.LastSeq, Closed: state.Closed(), LastTime: state.UpdatedAt,
	}, nil
}

func (s *foldedSessions) WaitFor(ctx context.Context, seq uint64) error {
	s.mu.Lock()
	failing, wait, behind := s.failing, s.wait, s.behind
	s.waits++
	s.mu.Unlock()
	if wait != nil {
		wait()
	}
	if failing != nil {
		return failing
	}
	if behind {
		<-ctx.Done()
		return ctx.Err()
	}
	return eventually(ctx, func() bool { last, err := s.log.Last(ctx); return err == nil && last >= seq })
}

func (s *foldedSessions) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits
}

// loopback is a channel inside the process.
type loopback struct {
	mu sync.Mutex // guards fn
	fn func(menu.Key, string, []byte)
}

func (l *loopback) Subscribe(fn func(menu.Key, string, []byte)) (func() error, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fn = fn
	return func() error { return nil }, nil
}

func (l *loopback) say(key menu.Key, name, body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fn(key, name, []byte(body))
}

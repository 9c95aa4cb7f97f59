package sse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kondate/domain/menu"
)

// errStart marks a failure to find the place where a stream starts.
var errStart = errors.New("the start of the stream cannot be found")

// open decides where the stream starts, and returns its first bytes.
func (s *stream) open(ctx context.Context) ([][]byte, error) {
	s.limit = firstPage
	reason, err := s.seek(ctx)
	if err != nil {
		return nil, errors.Join(errStart, err)
	}
	s.sent = s.pos
	parts := [][]byte{head(s.hub.cfg.ReconnectInterval, s.cursor(s.pos))}
	if reason == "" {
		return parts, nil
	}
	s.hub.stats.resets.Add(1)
	data := resetData{Reason: reason, RowsURL: s.rowsURL}
	if oldest, err := s.oldest(ctx); err != nil {
		return nil, errors.Join(errStart, err)
	} else if oldest != nil {
		data.Oldest = s.cursor(oldest.seq).String()
	}
	newest, err := s.hub.log.LastOf(ctx, s.req.key)
	if err != nil {
		return nil, errors.Join(errStart, err)
	}
	if newest > 0 {
		data.Newest = s.cursor(newest).String()
	}
	return append(parts, control(eventReset, data)), nil
}

func (s *stream) cursor(seq uint64) cursor { return cursor{s.hub.cfg.Incarnation, seq} }

// seek sets the position. A cursor that cannot be honoured gives the reason why, and the position before everything.
func (s *stream) seek(ctx context.Context) (resetReason, error) {
	head, floor := s.hub.position(s.window)
	switch {
	case s.req.cursor != nil:
		return s.resume(ctx, *s.req.cursor, head, floor)
	case s.req.live:
		s.pos = head
	case !s.req.since.IsZero():
		return "", s.seekTime(ctx, s.req.since)
	}
	return "", nil
}

func (s *stream) resume(ctx context.Context, c cursor, head, floor uint64) (resetReason, error) {
	if c.incarnation != s.hub.cfg.Incarnation {
		return resetOtherLog, nil
	}
	if c.seq > head { // another process may be ahead of this one
		last, err := s.hub.log.Last(ctx)
		if err != nil {
			return "", err
		}
		if c.seq > last {
			return resetFuture, nil
		}
		s.target = max(s.target, c.seq)
	}
	if c.seq > 0 && c.seq < floor {
		oldest, err := s.oldest(ctx)
		if err != nil {
			return "", err
		}
		// Histories lose events from their beginning only. One that still has its beginning has lost nothing.
		if oldest == nil || oldest.seq > c.seq && oldest.typ != (menu.Submitted{}).Type() {
			return resetExpired, nil
		}
	}
	s.pos = c.seq
	return "", nil
}

// oldest returns the first event that is held of the session, nil if there is none.
func (s *stream) oldest(ctx context.Context) (*frame, error) {
	for pos := uint64(0); ; {
		b := s.hub.read(s.window, pos, s.heard, nil)
		if len(b.frames) > 0 {
			return b.frames[0], nil
		}
		if pos >= b.floor {
			return nil, nil //nolint:nilnil // no event and no error
		}
		p, err := s.hub.readOlder(ctx, s.req.key, pos, b.floor, 1)
		if err != nil {
			return nil, err
		}
		if len(p.frames) > 0 {
			return p.frames[0], nil
		}
		pos = p.upTo
	}
}

// seekTime sets the position before the first event that is not older than since: from there on nothing is left out,
// even an event whose writer's clock is behind.
func (s *stream) seekTime(ctx context.Context, since time.Time) error {
	limit := firstPage
	for {
		b := s.hub.read(s.window, s.pos, s.heard, nil)
		frames, upTo := b.frames, s.pos
		switch {
		case s.pos < b.floor:
			p, err := s.hub.readOlder(ctx, s.req.key, s.pos, b.floor, limit)
			if err != nil {
				return fmt.Errorf("look for the first event since %s: %w", since, err)
			}
			frames, upTo, limit = p.frames, p.upTo, p.nextLimit()
		case len(frames) == 0:
			s.pos = max(s.pos, b.head)
			return nil
		}
		for _, f := range frames {
			if !f.at.Before(since) {
				s.pos = f.seq - 1
				return nil
			}
			s.pos = f.seq
		}
		s.pos = max(s.pos, upTo)
	}
}

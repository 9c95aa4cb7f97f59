package sse

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"time"

	"kondate/domain/menu"
)

// stream is one client's connection: one loop over "the events of this session after my position".
type stream struct {
	hub     *Hub
	closed  *closedness
	req     request
	rowsURL string
	conn    *conn
	window  *window

	pos      uint64 // every event of the session up to here was written, or is not wanted
	sent     uint64 // the last event that was written; the cursor, if none was
	target   uint64 // what existed when the client came: history reaches this far
	heard    uint64 // live messages
	limit    int    // size of the next page of older events
	caughtUp bool
	replayed bool // older history was read

	// A session can be closed from its first closing event on. Then every further event makes it worth asking.
	settled bool
	news    bool
	asked   <-chan verdict

	frames []*frame // reused
	parts  [][]byte // reused
	events int64
}

// End reasons of a stream, for the log.
const (
	endedClosed   = "closed"   // the session is
	endedShutdown = "shutdown" // the server, or a part of it
	endedDeparted = "departed" // the client left
	endedStalled  = "stalled"  // the client took nothing
	endedCut      = "cut"      // the server could not wait any longer
	endedFailed   = "failed"
)

// run writes the stream until the session is closed, the client leaves, or the server ends it.
func (s *stream) run(ctx context.Context, header []byte) (ended string, err error) {
	s.window, s.heard = s.hub.attach(s.req.key)
	defer s.hub.detach(s.window)
	opening, err := s.open(ctx)
	if err != nil {
		return s.endedBy(ctx, err)
	}
	if err := s.conn.send(ctx, append([][]byte{header}, opening...)); err != nil {
		return s.endedBy(ctx, err)
	}
	keepalive := time.NewTimer(s.hub.cfg.KeepaliveInterval)
	defer keepalive.Stop()
	for {
		select {
		case <-s.hub.closing:
			return endedShutdown, s.farewell(ctx, *s.hub.why.Load())
		default:
		}
		wrote := s.conn.written
		b := s.hub.read(s.window, s.pos, s.heard, s.frames[:0])
		if s.pos < b.floor {
			if err := s.replay(ctx, b.floor); err != nil {
				return s.endedBy(ctx, err)
			}
			keepalive.Reset(s.hub.cfg.KeepaliveInterval)
			continue
		}
		erased, err := s.write(ctx, b)
		switch {
		case err != nil:
			return s.endedBy(ctx, err)
		case erased:
			return endedClosed, s.end(ctx, menu.SessionErased)
		case b.full:
			continue
		}
		if s.caughtUp && s.settled && s.news && s.asked == nil {
			s.asked = s.closed.ask(ctx, s.req.key, max(s.sent, s.target))
		}
		if s.conn.written > wrote {
			keepalive.Reset(s.hub.cfg.KeepaliveInterval)
		}
		select {
		case <-b.wake:
		case v := <-s.asked:
			if s.answered(v) {
				return endedClosed, s.end(ctx, v.row.Status)
			}
		case <-keepalive.C:
			if err := s.conn.write(ctx, []byte(keepaliveComment)); err != nil {
				return s.endedBy(ctx, err)
			}
			keepalive.Reset(s.hub.cfg.KeepaliveInterval)
		case <-s.hub.closing:
		case <-ctx.Done():
			return s.endedBy(ctx, context.Cause(ctx))
		}
	}
}

// write sends what a read of the window brought.
func (s *stream) write(ctx context.Context, b batch) (erased bool, err error) {
	s.frames, s.parts = b.frames, s.parts[:0]
	for _, f := range b.frames {
		s.parts = append(s.parts, f.bytes(s.hub.cfg.Incarnation))
		if s.passed(f); f.isErased() {
			erased = true
			break
		}
	}
	if !b.full && !erased {
		s.pos = max(s.pos, b.head)
		if !s.caughtUp && s.pos >= s.target {
			s.caughtUp = true
			s.parts = append(s.parts, []byte(caughtUpEvent))
		}
		s.parts = append(s.parts, b.live...)
		s.heard = b.heard
	}
	if len(s.parts) == 0 {
		return false, nil
	}
	err = s.conn.send(ctx, s.parts)
	clear(s.frames)
	clear(s.parts)
	return erased, err
}

// passed notes that an event goes to the client.
func (s *stream) passed(f *frame) {
	s.pos, s.sent = f.seq, f.seq
	s.events++
	s.hub.stats.events.Add(1)
	s.settled = s.settled || f.isClosing()
	s.news = true
}

// replay sends one page of the events that are older than the window.
func (s *stream) replay(ctx context.Context, floor uint64) error {
	p, err := s.hub.readOlder(ctx, s.req.key, s.pos, floor, s.limit)
	if err != nil {
		return errors.Join(errHistory, err)
	}
	s.parts = s.parts[:0]
	for _, f := range p.frames {
		s.parts = append(s.parts, f.bytes(s.hub.cfg.Incarnation))
		s.passed(f)
		s.hub.stats.replayed.Add(1)
	}
	s.pos, s.limit = max(s.pos, p.upTo), p.nextLimit()
	if len(s.parts) == 0 {
		return nil
	}
	err = s.conn.send(ctx, s.parts)
	clear(s.parts)
	return err
}

// errHistory marks a failure to read older events.
var errHistory = errors.New("older events cannot be read")

// answered takes the answer to "is the session closed?" and says whether the stream is over.
func (s *stream) answered(v verdict) bool {
	s.asked = nil
	if v.err != nil || v.seq != max(s.sent, s.target) {
		return false // ask again
	}
	s.news = false
	return v.row.Closed && v.row.LastSeq <= s.pos
}

func (s *stream) end(ctx context.Context, status menu.SessionStatus) error {
	return s.conn.write(ctx, control(eventEnd, endData{Reason: string(status), RowsURL: s.rowsURL}))
}

// farewell asks the client to come back, a little later than others.
func (s *stream) farewell(ctx context.Context, why string) error {
	pause := s.hub.cfg.ReconnectInterval
	pause += rand.N(pause) //nolint:gosec // it spreads load, it keeps no secret
	return s.conn.write(ctx, closing(why, pause))
}

// endedBy finds out what an error means for the stream. Only what is our own failure stays an error.
func (s *stream) endedBy(ctx context.Context, err error) (ended string, _ error) {
	switch {
	case errors.Is(err, errDeparted):
		return endedDeparted, nil
	case errors.Is(err, errCut):
		return endedCut, nil
	case errors.Is(err, errHistory), errors.Is(err, errStart):
		if ctx.Err() != nil {
			return s.endedBy(ctx, context.Cause(ctx))
		}
		return endedFailed, errors.Join(err, s.farewell(ctx, closingHistory))
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.hub.stats.stalled.Add(1)
		return endedStalled, nil
	}
	return endedDeparted, nil // the connection broke
}

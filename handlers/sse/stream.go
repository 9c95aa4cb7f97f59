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

	// A session can be closed from its first closing event on, which may lie before the stream's start. Then every further
	// event makes it worth asking.
	settled bool
	news    bool
	asked   <-chan verdict

	keepalive *time.Timer

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
	s.hub.stats.behind.Add(1)
	defer s.hub.stats.behind.Add(-1)
	opening, err := s.open(ctx)
	if err != nil {
		if err := s.conn.write(ctx, header); err != nil { // or the farewell would be no HTTP
			return s.endedBy(ctx, err)
		}
		return s.endedBy(ctx, err)
	}
	if err := s.conn.send(ctx, append([][]byte{header}, opening...)); err != nil {
		return s.endedBy(ctx, err)
	}
	s.keepalive = time.NewTimer(s.hub.cfg.KeepaliveInterval)
	defer s.keepalive.Stop()
	for {
		select {
		case <-s.hub.closing:
			return endedShutdown, s.farewell(ctx, *s.hub.why.Load())
		default:
		}
		wrote := s.conn.written
		b := s.hub.read(s.window, s.pos, s.heard, s.frames[:0])
		var erased bool
		old := s.pos < b.floor
		if old {
			erased, err = s.replay(ctx, b.floor)
		} else {
			erased, err = s.write(ctx, b)
		}
		switch {
		case err != nil:
			return s.endedBy(ctx, err)
		case erased:
			return s.endedBy(ctx, s.end(ctx, menu.SessionErased))
		}
		if s.conn.written > wrote {
			s.keepalive.Reset(s.hub.cfg.KeepaliveInterval)
		}
		if old || b.full {
			continue
		}
		if over, err := s.wait(ctx, b.wake); over || err != nil {
			return s.endedBy(ctx, err)
		}
	}
}

// wait returns when there is something to do; over says that the stream is, by the session's end.
func (s *stream) wait(ctx context.Context, wake <-chan struct{}) (over bool, err error) {
	s.hub.stats.behind.Add(-1) // there is nothing to write
	defer s.hub.stats.behind.Add(1)
	if s.caughtUp && s.settled && s.news && s.asked == nil {
		s.asked = s.closed.ask(ctx, s.req.key, max(s.sent, s.target))
	}
	select {
	case <-wake:
	case v := <-s.asked:
		if s.answered(v) {
			return true, s.end(ctx, v.row.Status)
		}
	case <-s.keepalive.C:
		s.keepalive.Reset(s.hub.cfg.KeepaliveInterval)
		return false, s.conn.write(ctx, []byte(keepaliveComment))
	case <-s.hub.closing:
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	return false, nil
}

// write sends what a read of the window brought.
func (s *stream) write(ctx context.Context, b batch) (erased bool, err error) {
	s.frames = b.frames
	erased = s.take(b.frames)
	if !b.full && !erased {
		s.pos = max(s.pos, b.head)
		if !s.caughtUp && s.pos >= s.target {
			s.caughtUp = true
			s.parts = append(s.parts, []byte(caughtUpEvent))
		}
		s.parts = append(s.parts, b.live...)
		s.heard = b.heard
	}
	return erased, s.send(ctx)
}

// replay sends one page of the events that are older than the window.
func (s *stream) replay(ctx context.Context, floor uint64) (erased bool, err error) {
	p, err := s.hub.readOlder(ctx, s.req.key, s.pos, floor, s.limit)
	if err != nil {
		return false, errors.Join(errHistory, err)
	}
	erased = s.take(p.frames)
	s.hub.stats.replayed.Add(int64(len(p.frames)))
	s.pos, s.limit = max(s.pos, p.upTo), p.nextLimit()
	return erased, s.send(ctx)
}

// take puts events among the parts to send. Nothing follows a session's erasure.
func (s *stream) take(frames []*frame) (erased bool) {
	for _, f := range frames {
		s.parts = append(s.parts, f.bytes(s.hub.cfg.Incarnation))
		s.pos, s.sent, s.news = f.seq, f.seq, true
		s.settled = s.settled || f.isClosing()
		if f.isErased() {
			erased = true
			break
		}
	}
	s.events += int64(len(s.parts))
	s.hub.stats.events.Add(int64(len(s.parts)))
	return erased
}

// send writes the parts and forgets them, so that an idle stream holds no frames.
func (s *stream) send(ctx context.Context) error {
	var err error
	if len(s.parts) > 0 {
		err = s.conn.send(ctx, s.parts)
	}
	clear(s.frames)
	clear(s.parts)
	s.parts = s.parts[:0]
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
	s.news, s.settled = false, v.row.Status != menu.SessionProcessing
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
	case err == nil:
		return endedClosed, nil
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

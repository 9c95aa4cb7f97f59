package sse

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sync/singleflight"

	"kondate/domain/menu"
	"kondate/eventstore/trail"
	"kondate/projections"
)

const (
	// askTimeout bounds the wait for the rows to reflect an event.
	askTimeout = 10 * time.Second
	// askPause is the wait after a question that got no answer.
	askPause = time.Second
)

// closedness finds out whether sessions are closed. Streams that ask the same at the same time share one answer.
type closedness struct {
	hub      *Hub
	sessions Sessions
	flight   singleflight.Group
}

// verdict is a session's row that reflects at least the event seq, or err.
type verdict struct {
	seq uint64
	row projections.SessionRow
	err error
}

// ask answers on the channel it returns. The question may outlive its stream, but not the hub's will to go on.
func (c *closedness) ask(ctx context.Context, key menu.Key, seq uint64) <-chan verdict {
	answer := make(chan verdict, 1)
	c.hub.gate.streams.Go(func() {
		//nolint:contextcheck // the answer is for all who ask: it does not end with this stream
		v, err, _ := c.flight.Do(key.String()+" "+strconv.FormatUint(seq, 10), func() (any, error) { return c.row(key, seq) })
		row, _ := v.(projections.SessionRow)
		if err != nil && c.hub.questions().Err() == nil {
			c.hub.cfg.Logger.LogAttrs(trail.About(ctx, key), slog.LevelWarn, "whether a session is closed could not be found out",
				slog.Any("error", err))
			select {
			case <-time.After(askPause):
			case <-ctx.Done():
			}
		}
		answer <- verdict{seq, row, err}
	})
	return answer
}

func (c *closedness) row(key menu.Key, seq uint64) (row projections.SessionRow, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(c.hub.questions(), askTimeout)
	defer cancel()
	if row, err = c.reflecting(ctx, key, seq); err != nil || !row.Closed {
		return row, err
	}
	// An end sends a client away for good, and who has just asked for a retry or a picture follows it here: the log has
	// the last word.
	if seq, err = c.hub.log.LastOf(ctx, key); err != nil || seq <= row.LastSeq {
		return row, err
	}
	return c.reflecting(ctx, key, seq)
}

// reflecting returns a session's row as soon as it reflects an event.
func (c *closedness) reflecting(ctx context.Context, key menu.Key, seq uint64) (row projections.SessionRow, err error) {
	if err := c.sessions.WaitFor(ctx, seq); err != nil {
		return row, fmt.Errorf("wait until the rows reflect event %d: %w", seq, err)
	}
	return c.sessions.Session(ctx, key)
}

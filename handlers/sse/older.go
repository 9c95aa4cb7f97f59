package sse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"kondate/domain/menu"
	"kondate/eventstore/trail"
)

const (
	// maxPage is the number of older events that a reader holds at once at most.
	maxPage = 200
	// firstPage is the size of the first page, when nothing is known of the events' sizes.
	firstPage = 64
	// minPage bounds from below what large events shrink a page to.
	minPage = 4
	// pageBytes is what a page aims at.
	pageBytes = 1 << 20

	// historyTimeout is how long History may take before the log is asked instead.
	historyTimeout = 2 * time.Second
	// historyPause is how long History is left alone after it failed.
	historyPause = 5 * time.Second
	// logTimeout bounds a read of the log.
	logTimeout = 10 * time.Second
	// maxLogReads is the number of older pages that are read from the log at once, when History is away or behind.
	maxLogReads = 8
)

// olderState is what the readers of older events share.
type olderState struct {
	badUntil atomic.Int64  // Unix nanoseconds; History failed a moment ago
	logReads chan struct{} // a semaphore
	flight   singleflight.Group
}

func newOlderState() *olderState { return &olderState{logReads: make(chan struct{}, maxLogReads)} }

// page is a run of a session's older events.
type page struct {
	frames []*frame
	rows   int    // frames, and what is none
	upTo   uint64 // the session has no other event after the position asked for, up to here
}

// readOlder returns at most limit events after a position that is below need. It always gets on: the page's upTo is
// above the position, or an error says why not.
func (h *Hub) readOlder(ctx context.Context, key menu.Key, after, need uint64, limit int) (page, error) {
	p, err := h.fromHistory(ctx, key, after, limit)
	if err == nil && (p.rows > 0 || p.upTo >= need) {
		return p, nil
	}
	if ctx.Err() != nil {
		return page{}, context.Cause(ctx)
	}
	p, logErr := h.fromLog(ctx, key, max(after, p.upTo), need, limit)
	if logErr != nil {
		return page{}, errors.Join(err, logErr)
	}
	return p, nil
}

// errHistoryRests says that History failed a moment ago.
var errHistoryRests = errors.New("the history was not asked: it failed a moment ago")

func (h *Hub) fromHistory(ctx context.Context, key menu.Key, after uint64, limit int) (page, error) {
	now := h.cfg.Now().UnixNano()
	if now < h.older.badUntil.Load() {
		return page{}, errHistoryRests
	}
	// After a restart all clients of a session come back at once and ask for the same: one answer serves them, and its frames
	// are encoded once. It does not end with any one of them, but soon.
	v, err, _ := h.older.flight.Do(fmt.Sprint(key, after, limit), func() (any, error) { //nolint:contextcheck // see above
		ctx, cancel := context.WithTimeout(h.questions(), historyTimeout)
		defer cancel()
		return h.queryHistory(ctx, key, after, limit)
	})
	p, _ := v.(page)
	if err != nil && !errors.Is(err, context.Canceled) {
		h.older.badUntil.Store(now + historyPause.Nanoseconds())
		h.cfg.Logger.LogAttrs(trail.About(ctx, key), slog.LevelWarn, "older events are read from the log instead of the history",
			slog.Any("error", err))
	}
	return p, err
}

func (h *Hub) queryHistory(ctx context.Context, key menu.Key, after uint64, limit int) (page, error) {
	rows, upTo, err := h.history.Older(ctx, key, after, limit)
	if err != nil {
		return page{}, fmt.Errorf("read the history of session %s after %d: %w", key, after, err)
	}
	p := page{frames: make([]*frame, 0, len(rows)), rows: len(rows), upTo: after}
	for _, r := range rows {
		p.upTo = r.Seq
		if f := newFrameOfRow(r); f != nil {
			p.frames = append(p.frames, f)
		}
	}
	if len(rows) < limit {
		p.upTo = max(p.upTo, upTo)
	}
	return p, nil
}

func (h *Hub) fromLog(ctx context.Context, key menu.Key, after, need uint64, limit int) (page, error) {
	select {
	case h.older.logReads <- struct{}{}:
		defer func() { <-h.older.logReads }()
	case <-ctx.Done():
		return page{}, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	if err := h.isWhole(ctx, key); err != nil {
		return page{}, err
	}
	entries, err := h.log.LoadPage(ctx, key, after, limit)
	if err != nil {
		return page{}, fmt.Errorf("read the log of session %s after %d: %w", key, after, err)
	}
	p := page{rows: len(entries), upTo: after}
	for _, e := range entries {
		p.upTo = e.Seq
		if f := newFrame(e); f != nil {
			p.frames = append(p.frames, f)
		}
	}
	if len(entries) < limit {
		p.upTo = max(p.upTo, need) // the log held everything up to need before it was asked
	}
	return p, nil
}

// isWhole refuses to read a session from the log that was archived out of it: what is left would be a stream with a hole.
func (h *Hub) isWhole(ctx context.Context, key menu.Key) error {
	first, err := h.log.LoadPage(ctx, key, 0, 1)
	if err != nil {
		return fmt.Errorf("read the log of session %s: %w", key, err)
	}
	if len(first) > 0 && first[0].Type.Lane() == menu.LaneMenu && first[0].Type != (menu.Submitted{}).Type() && first[0].Type != (menu.Erased{}).Type() {
		return fmt.Errorf("session %s was archived out of the log, and the history is away: its stream cannot be read now", key)
	}
	return nil
}

// nextLimit returns the size of the next page, so that it comes to pageBytes about.
func (p page) nextLimit() int {
	if len(p.frames) == 0 {
		return firstPage
	}
	bytes := 0
	for _, f := range p.frames {
		bytes += f.size
	}
	return min(max(pageBytes*len(p.frames)/bytes, minPage), maxPage)
}

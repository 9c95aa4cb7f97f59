package sse

import (
	"slices"
	"time"

	"kondate/domain/menu"
)

// window is what the hub holds of one session: its newest events, and the live messages that readers may not have
// seen yet. The hub's mutex guards it.
//
// The invariant: every event of the session after floor, up to the hub's head, is in frames.
type window struct {
	key     menu.Key
	floor   uint64
	frames  []*frame // by sequence
	bytes   int
	readers int
	wake    chan struct{} // closed and replaced when something comes; nil while nobody waits

	live      []liveMessage
	liveBytes int
	said      uint64 // live messages so far; the last one of live is number said
}

// after returns the frames after a position, at most limit of them and (beyond the first) maxBytes.
func (w *window) after(pos uint64, limit, maxBytes int, into []*frame) (frames []*frame, full bool) {
	i, _ := slices.BinarySearchFunc(w.frames, pos+1, func(f *frame, seq uint64) int {
		switch {
		case f.seq < seq:
			return -1
		case f.seq > seq:
			return 1
		}
		return 0
	})
	bytes := 0
	for _, f := range w.frames[i:] {
		if bytes += f.size; len(into) > 0 && (len(into) >= limit || bytes > maxBytes) {
			return into, true
		}
		into = append(into, f)
	}
	return into, false
}

// heardAfter returns the live messages after number heard.
func (w *window) heardAfter(heard uint64, into [][]byte) [][]byte {
	first := w.said - uint64(len(w.live)) // the number before the first one that is kept
	skip := 0
	if heard > first {
		skip = int(heard - first) //nolint:gosec // at most len(live)
	}
	for _, m := range w.live[skip:] {
		into = append(into, m.wire)
	}
	return into
}

// say adds a live message and drops those that are too old or too many. It returns how many recent ones went.
func (w *window) say(m liveMessage, stale time.Time, maxBytes int) (lost int64) {
	w.live = append(w.live, m)
	w.liveBytes += len(m.wire)
	w.said++
	for len(w.live) > 1 {
		old := w.live[0].arrived.Before(stale)
		if !old && len(w.live) <= maxLive && w.liveBytes <= maxBytes {
			break
		}
		if !old {
			lost++
		}
		w.liveBytes -= len(w.live[0].wire)
		w.live[0] = liveMessage{}
		w.live = w.live[1:]
	}
	return lost
}

// waiter returns what is closed when something comes.
func (w *window) waiter() <-chan struct{} {
	if w.wake == nil {
		w.wake = make(chan struct{})
	}
	return w.wake
}

func (w *window) wakeAll() {
	if w.wake != nil {
		close(w.wake)
		w.wake = nil
	}
}

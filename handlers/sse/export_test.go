package sse

import (
	"fmt"

	"kondate/eventstore"
)

// What tests of the package see of its inside.
var (
	ParseCursor = func(raw string) (string, uint64, error) {
		c, err := parseCursor(raw)
		return c.incarnation, c.seq, err
	}
	EncodeLive   = encodeLive
	LiveReserved = reservedNames
)

// EncodeEntry returns the frame of an entry of the log, nil if it is none.
func EncodeEntry(e eventstore.Entry, incarnation string) []byte {
	if f := newFrame(e); f != nil {
		return f.bytes(incarnation)
	}
	return nil
}

// PieceBytes is what one write hands to the connection at most.
const PieceBytes = pieceBytes

// Readers counts the streams that the hub's windows know of.
func (h *Hub) Readers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, w := range h.windows {
		n += w.readers
	}
	return n
}

// CheckWindows says what of the hub's invariants does not hold.
func (h *Hub) CheckWindows() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	frames, bytes := 0, 0
	for key, w := range h.windows {
		own, last := 0, w.floor
		for _, f := range w.frames {
			if f.seq <= last || f.place == nil {
				return fmt.Errorf("window of %s: event %d after %d", key, f.seq, last)
			}
			own, last = own+f.size, f.seq
		}
		if own != w.bytes || last > h.head && len(w.frames) > 0 {
			return fmt.Errorf("window of %s: %d bytes, counted %d; ends at %d, head %d", key, own, w.bytes, last, h.head)
		}
		if len(w.frames) == 0 && w.readers == 0 {
			return fmt.Errorf("window of %s is empty and nobody reads it", key)
		}
		frames, bytes = frames+len(w.frames), bytes+own
	}
	limit := h.cfg.Window
	if frames != h.order.Len() || bytes != h.bytes || frames > limit.TotalEvents || bytes > max(limit.TotalBytes, 0) {
		return fmt.Errorf("%d frames with %d bytes, counted %d and %d, bounds %+v", frames, bytes, h.order.Len(), h.bytes, limit)
	}
	return nil
}

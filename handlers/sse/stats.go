package sse

import "sync/atomic"

// Stats is a snapshot of what the streams of this process did since its start.
type Stats struct {
	Open         int    // streams now, places reserved for one included
	Opened       int64  // streams that began
	Refused      int64  // requests over a limit, or while the server took no streams
	Events       int64  // stored events written
	Bytes        int64  // written, by streams that have ended
	Replayed     int64  // stored events read from older history
	Resets       int64  // cursors that could not be honoured
	Stalled      int64  // streams cut because their client took nothing
	Failed       int64  // streams that ended by an error of ours, panics included
	LiveRefused  int64  // live messages with a reserved name or above the size limit
	LiveLost     int64  // live messages that made room for newer ones before every reader came round
	Head         uint64 // sequence up to which the log was followed
	WindowEvents int    // held in memory
	WindowBytes  int
}

type counters struct {
	opened, refused, events, replayed, bytes, resets, stalled, failed, liveRefused, liveLost atomic.Int64
}

// Stats returns the numbers of this moment.
func (h *Hub) Stats() Stats {
	s := Stats{
		Open: h.gate.count(), Opened: h.stats.opened.Load(), Refused: h.stats.refused.Load(),
		Events: h.stats.events.Load(), Replayed: h.stats.replayed.Load(), Bytes: h.stats.bytes.Load(),
		Resets: h.stats.resets.Load(), Stalled: h.stats.stalled.Load(), Failed: h.stats.failed.Load(),
		LiveRefused: h.stats.liveRefused.Load(), LiveLost: h.stats.liveLost.Load(),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Head, s.WindowEvents, s.WindowBytes = h.head, h.order.Len(), h.bytes
	return s
}

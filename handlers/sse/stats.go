package sse

import "sync/atomic"

// Stats is a snapshot of what the streams of this process did since its start.
type Stats struct {
	Open         int    // streams now, places reserved for one included
	Max          int    // that may be open
	Behind       int    // streams that have not been handed everything that there is for them
	Resumed      int64  // streams that began after a client's cursor
	Opened       int64  // streams that began
	Refused      int64  // requests that found no place: all were taken, or the server took no streams
	Limited      int64  // requests over the limit of a session or an address
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
	opened, resumed, refused, limited, events, replayed, bytes, resets, stalled, failed, liveRefused, liveLost, behind atomic.Int64
}

// Stats returns the numbers of this moment.
func (h *Hub) Stats() Stats {
	s := Stats{
		Open: h.gate.count(), Max: h.gate.max, Behind: int(h.stats.behind.Load()), Resumed: h.stats.resumed.Load(), Opened: h.stats.opened.Load(), Refused: h.stats.refused.Load(),
		Limited: h.stats.limited.Load(),
		Events:  h.stats.events.Load(), Replayed: h.stats.replayed.Load(), Bytes: h.stats.bytes.Load(),
		Resets: h.stats.resets.Load(), Stalled: h.stats.stalled.Load(), Failed: h.stats.failed.Load(),
		LiveRefused: h.stats.liveRefused.Load(), LiveLost: h.stats.liveLost.Load(),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Head, s.WindowEvents, s.WindowBytes = h.head, h.order.Len(), h.bytes
	return s
}

// State is what a hub does.
type State string

// The states of a hub.
const (
	StateStarting  State = "starting"  // it takes no streams yet
	StateFollowing State = "following" // it takes streams
	StateClosing   State = "closing"   // it takes no streams any more
)

// State returns what the hub does, and how far the log was followed.
func (h *Hub) State() (state State, head uint64) {
	h.mu.Lock()
	head = h.head
	h.mu.Unlock()
	select {
	case <-h.closing:
		return StateClosing, head
	default:
	}
	if h.gate.isOpen() {
		return StateFollowing, head
	}
	return StateStarting, head
}

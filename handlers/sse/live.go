package sse

import (
	"bytes"
	"encoding/json"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// maxLive is the number of live messages that a session keeps for readers that have not come round yet.
const maxLive = 32

// liveMessage is one message of a session's channel, encoded.
type liveMessage struct {
	wire    []byte
	arrived time.Time
}

// reservedNames returns the names that a live message must not have: those of stored events and of the stream's own
// ones, and those that mean something to an EventSource itself.
func reservedNames() map[string]bool {
	names := map[string]bool{
		eventReset: true, eventCaughtUp: true, eventEnd: true, eventClosing: true,
		"retry": true, "open": true, "error": true,
	}
	for _, d := range eventstore.Registry() {
		names[string(d.Type)], names[d.Type.Name()] = true, true
	}
	return names
}

// encodeLive returns an event without id. A body that is no JSON object is wrapped into one.
func encodeLive(name string, body []byte) []byte {
	object := bytes.TrimSpace(body)
	if len(object) == 0 || object[0] != '{' || !json.Valid(object) {
		wrapped, err := json.Marshal(struct {
			Raw string `json:"raw_message"`
		}{string(body)})
		if err != nil {
			wrapped = []byte("{}") // unreachable: every string marshals
		}
		object = wrapped
	}
	b := make([]byte, 0, len(object)+len(name)+24)
	b = append(b, "event: "...)
	b = append(b, name...)
	b = append(b, "\ndata: "...)
	b = append(b, eventstore.OneLine(object)...)
	return append(b, "\n\n"...)
}

// publish takes one message of the channel. Who does not listen at this moment misses it.
func (h *Hub) publish(key menu.Key, name string, body []byte) {
	if _, err := menu.ParseSessionID(name); err != nil || h.reserved[name] || len(body) > h.cfg.MaxEventSize {
		h.stats.liveRefused.Add(1)
		return
	}
	if !h.listened(key) {
		return
	}
	wire, now := encodeLive(name, body), h.cfg.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.windows[key]
	if w == nil || w.readers == 0 {
		return
	}
	h.stats.liveLost.Add(w.say(liveMessage{wire, now}, now.Add(-h.cfg.WriteTimeout), h.cfg.MaxEventSize))
	w.wakeAll()
}

func (h *Hub) listened(key menu.Key) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.windows[key]
	return w != nil && w.readers > 0
}

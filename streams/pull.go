package streams

import (
	"maps"
	"time"
)

// Pull is how the pulls of one topic go.
type Pull struct {
	GoodAt time.Time // when the last good one ended; zero: there was none
	Err    error     // of the last one that ended; nil: it was good
	Busy   bool      // nothing is asked for, because as many messages as may be are in hand
}

// Pulls returns how the pulls of each topic go that is subscribed to and was asked for messages.
func (s *Subscriber) Pulls() map[string]Pull {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.pulls)
}

// pulling notes that a pull begins. Before it, its subscription waited for a free slot.
func (s *Subscriber) pulling(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pulls[topic]
	if p.Busy {
		p.GoodAt = time.Now()
	}
	p.Busy = false
	s.pulls[topic] = p
}

// pulled notes how a pull ended.
func (s *Subscriber) pulled(topic string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pulls[topic]
	if p.Err = err; err == nil {
		p.GoodAt, p.Busy = time.Now(), true
	}
	s.pulls[topic] = p
}

package streams

import (
	"fmt"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
)

// Publisher is Watermill's publisher over JetStream: a topic is a subject, and a message is published once its stream
// has acknowledged it. The connection stays the caller's.
type Publisher struct {
	js     jetstream.JetStream
	closed atomic.Bool
}

// NewPublisher returns a publisher.
func NewPublisher(js jetstream.JetStream) *Publisher { return &Publisher{js: js} }

// Publish sends messages one after the other, each with its UUID as message id, so that the stream drops a repeated one.
// A message's context bounds its publication.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	for _, m := range messages {
		if p.closed.Load() {
			return fmt.Errorf("publish to %s: %w", topic, ErrClosed)
		}
		if _, err := p.js.PublishMsg(m.Context(), newMsg(topic, m)); err != nil {
			return fmt.Errorf("publish message %s to %s: %w", m.UUID, topic, err)
		}
	}
	return nil
}

// Close makes later calls of Publish fail. Those under way finish.
func (p *Publisher) Close() error {
	p.closed.Store(true)
	return nil
}

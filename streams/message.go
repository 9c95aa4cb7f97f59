package streams

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// deliveryKey is the context key of a message's delivery.
type deliveryKey struct{}

// delivery is what a Watermill message cannot carry.
type delivery struct {
	msg       jetstream.Msg
	nackDelay atomic.Int64 // nanoseconds
}

// Delivery returns the JetStream message behind a message of a [Subscriber]; false for any other message.
func Delivery(msg *message.Message) (jetstream.Msg, bool) {
	d, ok := msg.Context().Value(deliveryKey{}).(*delivery)
	if !ok {
		return nil, false
	}
	return d.msg, true
}

// NackAfter refuses a message of a [Subscriber] and lets it come again after a delay. It reports false if the message
// was answered before.
func NackAfter(msg *message.Message, delay time.Duration) bool {
	if d, ok := msg.Context().Value(deliveryKey{}).(*delivery); ok {
		d.nackDelay.Store(int64(delay))
	}
	return msg.Nack()
}

// newMessage turns a delivery into a Watermill message. A repeated header keeps its first value in the metadata, which
// holds one value for a name; all of them stay in the delivery.
func newMessage(raw jetstream.Msg) (*message.Message, *delivery) {
	header := raw.Headers()
	msg := message.NewMessage(header.Get(jetstream.MsgIDHeader), raw.Data())
	for name, values := range header {
		if len(values) > 0 && name != jetstream.MsgIDHeader {
			msg.Metadata.Set(name, values[0])
		}
	}
	return msg, &delivery{msg: raw}
}

// newMsg turns a Watermill message into one for the broker. Headers of a message that was received before may be the
// broker's own (an expected sequence, a batch): they meant that publication and not this one.
func newMsg(subject string, m *message.Message) *nats.Msg {
	msg := &nats.Msg{Subject: subject, Data: m.Payload, Header: nats.Header{}}
	for name, value := range m.Metadata {
		if !strings.HasPrefix(name, reservedHeaders) {
			msg.Header[name] = []string{value}
		}
	}
	if m.UUID != "" {
		msg.Header[jetstream.MsgIDHeader] = []string{m.UUID}
	}
	return msg
}

// reservedHeaders is how the names of the broker's own headers begin.
const reservedHeaders = "Nats-"

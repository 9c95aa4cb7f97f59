package streams

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
)

// Channel carries live messages of sessions (progress, and whatever other programs tell a session's readers) over core
// NATS. They are not stored: who does not listen misses them.
type Channel struct {
	nc     *nats.Conn
	prefix string
}

// NewChannel returns the channel under a subject prefix. The connection stays the caller's.
func NewChannel(nc *nats.Conn, prefix string) *Channel { return &Channel{nc: nc, prefix: prefix} }

// Publish sends one message to the listeners of a session.
func (c *Channel) Publish(key menu.Key, name string, body []byte) error {
	subject, err := ChannelSubject(c.prefix, key, name)
	if err != nil {
		return err
	}
	if err := c.nc.Publish(subject, body); err != nil {
		return fmt.Errorf("publish %s to session %s: %w", name, key, err)
	}
	return nil
}

// Subscribe hands every message of every session to fn, one at a time, until the returned function is called.
// Messages on subjects that are none of the channel's are left out.
func (c *Channel) Subscribe(fn func(key menu.Key, name string, body []byte)) (stop func() error, err error) {
	sub, err := c.nc.Subscribe(ChannelFilter(c.prefix), func(msg *nats.Msg) {
		if key, name, err := ParseChannelSubject(c.prefix, msg.Subject); err == nil {
			fn(key, name, msg.Data)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listen to the channel %s: %w", ChannelFilter(c.prefix), err)
	}
	return sub.Unsubscribe, nil
}

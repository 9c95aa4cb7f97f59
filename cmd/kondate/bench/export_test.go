package bench

import "github.com/nats-io/nats.go/jetstream"

// JetStream is the broker of a floor.
func (f *Floor) JetStream() jetstream.JetStream { return f.js }

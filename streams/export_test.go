package streams

import (
	"context"

	"github.com/nats-io/nats-server/v2/server"
)

// StoreConfig returns what the server itself says about its store.
func StoreConfig(s *Server) *server.JetStreamConfig { return s.ns.JetStreamConfig() }

// MaxConsumers is the limit that the server and the log are given.
const MaxConsumers = maxConsumers

// DefaultMaxConsumers returns the limit of streams that have none of their own.
func DefaultMaxConsumers(s *Server) int {
	limits, err := s.ns.Varz(nil)
	if err != nil {
		return 0
	}
	return limits.JetStream.Limits.DefaultMaxConsumers
}

// TidyNow is [Images.Tidy] without regard to age.
func TidyNow(ctx context.Context, s *Images) error { return s.tidy(ctx, 0) }

package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// MaxSubjects is how many subjects the log may have before the broker gets slow; a session takes about a dozen.
const MaxSubjects = 1_000_000

// LogState is how the stream of the log is at the moment, as its leader says.
type LogState struct {
	Messages     uint64
	LastSeq      uint64
	Bytes        uint64
	MaxBytes     int64
	Subjects     uint64
	Consumers    int
	MaxConsumers int
	Replicas     int       // that are configured
	Leader       string    // server of the copy that takes appends; empty: the broker is no cluster
	Offline      []string  // servers with a copy that are away
	Lagging      []string  // servers whose copy is not up to date, and by how many operations: "nats-2 by 17"
	Time         time.Time // by the server's clock
}

// Why the log cannot be used, see [LookAtLog].
var (
	ErrNotConnected = errors.New("there is no connection to NATS")
	ErrNoLeader     = errors.New("the stream of the log has no leader: too many of its servers are away")
)

// LookAtLog asks the leader of the log's stream. It fails if NATS cannot be reached ([ErrNotConnected]) or if there is no
// leader ([ErrNoLeader]), and nothing can be appended.
func LookAtLog(ctx context.Context, js jetstream.JetStream) (LogState, error) {
	// A request over a connection that is being made again waits for it, and says nothing better than that it waited.
	if status := js.Conn().Status(); status != nats.CONNECTED {
		err := fmt.Errorf("%w, it is %s", ErrNotConnected, status)
		if last := js.Conn().LastError(); last != nil {
			err = fmt.Errorf("%w: %w", err, last)
		}
		return LogState{}, err
	}
	stream, err := js.Stream(ctx, EventStream)
	if err != nil {
		return LogState{}, fmt.Errorf("ask stream %s for its state: %w", EventStream, err)
	}
	info := stream.CachedInfo()
	s := LogState{
		Messages: info.State.Msgs, LastSeq: info.State.LastSeq, Bytes: info.State.Bytes, MaxBytes: info.Config.MaxBytes,
		Subjects: info.State.NumSubjects, Consumers: info.State.Consumers, MaxConsumers: info.Config.MaxConsumers, Replicas: info.Config.Replicas,
		Time: info.TimeStamp,
	}
	if cluster := info.Cluster; cluster != nil {
		if s.Leader = cluster.Leader; s.Leader == "" {
			return s, ErrNoLeader
		}
		for _, peer := range cluster.Replicas {
			switch {
			case peer.Offline:
				s.Offline = append(s.Offline, peer.Name)
			case !peer.Current:
				s.Lagging = append(s.Lagging, fmt.Sprintf("%s by %d", peer.Name, peer.Lag))
			}
		}
	}
	return s, nil
}

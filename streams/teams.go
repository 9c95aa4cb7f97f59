package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// freeConsumers are left to the stages, the tails of processes and the commands when teams get theirs.
	freeConsumers = 100
	// teamAckWait is how long a team may be silent about an event before it gets it again.
	teamAckWait = 30 * time.Second
	// teamAckPending, teamWaiting, teamBatch and teamExpires bound what a team may have under way at once.
	teamAckPending = 1000
	teamWaiting    = 64
	teamBatch      = 1000
	// Between accounts the broker forgets after two minutes of silence where answers go: a request has to end before.
	teamExpires = time.Minute
)

// ErrTooManyTeams says that the log has as many consumers as it may.
var ErrTooManyTeams = errors.New("the log has no room for another consumer")

// TeamConsumer names the durable consumer of a reader.
func TeamConsumer(name string) string { return "team-" + name }

// EnsureTeam makes the durable pull consumer of a reader, which begins with the oldest event or, with onlyNew, with the
// next one, and says whether it was made. One that is there already stays where it is, if it is the reader's.
func EnsureTeam(ctx context.Context, js jetstream.JetStream, reader User, onlyNew bool) (made bool, err error) {
	if err := reader.check(); err != nil {
		return false, err
	}
	stream, err := js.Stream(ctx, EventStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, fmt.Errorf("there is no log yet, start kondate serve once: %w", err)
	}
	if err != nil {
		return false, fmt.Errorf("look for stream %s: %w", EventStream, err)
	}
	name, filter := TeamConsumer(reader.Name), reader.events()
	have, err := stream.Consumer(ctx, name)
	if err == nil {
		cfg := have.CachedInfo().Config
		return false, compatible("consumer "+name, "it may be in use: take another name; if it is not, add "+reader.Name+" for its tenant and remove that (kondate access nats)", []setting{
			{"filter_subject", cfg.FilterSubject, filter},
			{"deliver_subject", cfg.DeliverSubject, ""},
			{"ack_policy", cfg.AckPolicy, jetstream.AckExplicitPolicy},
		})
	}
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return false, fmt.Errorf("look for consumer %s: %w", name, err)
	}
	if n, limit := stream.CachedInfo().State.Consumers, stream.CachedInfo().Config.MaxConsumers; limit > 0 && n >= limit-freeConsumers {
		return false, fmt.Errorf("%w: it has %d of %d, and %d are kept for kondate itself: remove a reader that is not needed (kondate access nats list)",
			ErrTooManyTeams, n, limit, freeConsumers)
	}
	want := jetstream.ConsumerConfig{
		Durable: name, Description: "events for the reader " + reader.Name, FilterSubject: filter,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: teamAckWait, MaxDeliver: -1, MaxAckPending: teamAckPending,
		MaxWaiting: teamWaiting, MaxRequestBatch: teamBatch, MaxRequestExpires: teamExpires,
	}
	if onlyNew {
		want.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	_, err = stream.CreateConsumer(ctx, want)
	if errors.Is(err, jetstream.ErrMaximumConsumersLimit) {
		return false, fmt.Errorf("%w: %w: remove a reader that is not needed (kondate access nats list)", ErrTooManyTeams, err)
	}
	if err != nil {
		return false, fmt.Errorf("make consumer %s: %w", name, err)
	}
	return true, nil
}

// RemoveTeam takes the consumer of a reader away, and says whether there was one.
func RemoveTeam(ctx context.Context, js jetstream.JetStream, name string) (bool, error) {
	err := js.DeleteConsumer(ctx, EventStream, TeamConsumer(name))
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("remove consumer %s: %w", TeamConsumer(name), err)
	}
	return true, nil
}

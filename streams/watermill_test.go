package streams_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
	"kondate/streams/natstest"
)

// pubSub makes a publisher and a subscriber of the suite's topics. Each topic is a stream of its own: message ids are a
// stream's, and the suite publishes one message to many topics.
func pubSub(t *testing.T, broker *natstest.Server, group string) (message.Publisher, message.Subscriber) {
	t.Helper()
	js := broker.JetStream()
	ensure := func(topic string) error {
		_, err := js.CreateOrUpdateStream(context.Background(), jetstream.StreamConfig{Name: topic, Subjects: []string{topic}, Storage: jetstream.MemoryStorage})
		return err
	}
	sub := streams.NewSubscriber(streams.SubscriberConfig{
		Consumer: func(ctx context.Context, topic string) (jetstream.Consumer, error) {
			if err := ensure(topic); err != nil {
				return nil, err
			}
			return js.CreateOrUpdateConsumer(ctx, topic, jetstream.ConsumerConfig{
				Durable: "group-" + group, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 5 * time.Second, MaxAckPending: 2000,
			})
		},
		InFlight: 100, AckWait: 5 * time.Second, Drain: time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	return &suitePublisher{streams.NewPublisher(js), ensure}, sub
}

// suitePublisher makes a topic's stream before its first message, which the suite takes for granted.
type suitePublisher struct {
	*streams.Publisher

	ensure func(topic string) error
}

func (p *suitePublisher) Publish(topic string, messages ...*message.Message) error {
	if err := p.ensure(topic); err != nil {
		return err
	}
	return p.Publisher.Publish(topic, messages...)
}

func TestWatermillSuite(t *testing.T) {
	t.Parallel()
	broker := natstest.New(t)
	tests.TestPubSub(t, tests.Features{
		ConsumerGroups: true, Persistent: true,
		GenerateTopicFunc: func(c tests.TestContext) string { return "topic-" + string(c.TestID) },
	}, func(t *testing.T) (message.Publisher, message.Subscriber) {
		t.Helper()
		return pubSub(t, broker, "")
	}, func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		t.Helper()
		return pubSub(t, broker, group)
	})
}

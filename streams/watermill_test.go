package streams_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
	"kondate/streams/natstest"
)

// suite makes publishers and subscribers of the suite's topics. Each topic is a stream of its own: message ids are a
// stream's, and the suite publishes one message to many topics.
type suite struct {
	broker   *natstest.Server
	inFlight int
	made     sync.Map // topics whose stream is there
}

// stream makes a topic's stream, which the suite takes for granted.
func (s *suite) stream(ctx context.Context, js jetstream.JetStream, topic string) error {
	if _, ok := s.made.Load(topic); ok {
		return nil
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: topic, Subjects: []string{topic}, Storage: jetstream.MemoryStorage}); err != nil {
		return err
	}
	s.made.Store(topic, true)
	return nil
}

func (s *suite) pubSub(t *testing.T) (message.Publisher, message.Subscriber) {
	t.Helper()
	return s.group(t, "")
}

func (s *suite) group(t *testing.T, group string) (message.Publisher, message.Subscriber) {
	t.Helper()
	const ackWait = 5 * time.Second
	js := s.broker.JetStream()
	sub := streams.NewSubscriber(streams.SubscriberConfig{
		Consumer: func(ctx context.Context, topic string) (jetstream.Consumer, error) {
			if err := s.stream(ctx, js, topic); err != nil {
				return nil, err
			}
			return js.CreateConsumer(ctx, topic, jetstream.ConsumerConfig{
				Durable: "group-" + group, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 20 * s.inFlight,
			})
		},
		InFlight: s.inFlight, AckWait: ackWait, Drain: time.Second, Logger: discard(),
	})
	t.Cleanup(func() { // the suite ends some by their context alone, and does not wait for them
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
	})
	return &suitePublisher{Publisher: streams.NewPublisher(js), stream: func(topic string) error {
		return s.stream(context.WithoutCancel(t.Context()), js, topic)
	}}, sub
}

// suitePublisher makes a topic's stream before its first message.
type suitePublisher struct {
	*streams.Publisher

	stream func(topic string) error
}

func (p *suitePublisher) Publish(topic string, messages ...*message.Message) error {
	if err := p.stream(topic); err != nil {
		return err
	}
	return p.Publisher.Publish(topic, messages...)
}

func TestWatermillSuite(t *testing.T) {
	t.Parallel()
	s := suite{broker: natstest.New(t), inFlight: 100}
	tests.TestPubSub(t, tests.Features{ConsumerGroups: true, Persistent: true}, s.pubSub, s.group)
}

// TestWatermillOrder runs the part of the suite that only a subscriber with one message at a time can pass.
func TestWatermillOrder(t *testing.T) {
	t.Parallel()
	s := suite{broker: natstest.New(t), inFlight: 1}
	features := tests.Features{
		ConsumerGroups: true, Persistent: true, GuaranteedOrder: true, GuaranteedOrderWithSingleSubscriber: true,
	}
	for name, test := range map[string]func(*testing.T, tests.TestContext, tests.PubSubConstructor){
		"TestNoAck": tests.TestNoAck, "TestPublishSubscribeInOrder": tests.TestPublishSubscribeInOrder,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, tests.TestContext{TestID: tests.NewTestID(), Features: features}, s.pubSub)
		})
	}
}

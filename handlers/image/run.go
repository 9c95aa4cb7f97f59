package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/eventstore/trail"
	"kondate/streams"
)

const (
	// inHand is how many pictures one process makes at once. A drawing takes a core, a painter mostly time.
	inHand = 4
	// grace is how long a stop waits for the pictures that are being made.
	grace = 2 * time.Second
	// drain is how long it waits for their answers to reach the broker.
	drain = 4 * time.Second
	// trouble is the wait before a picture that could not be made is tried again; it doubles, up to maxTrouble.
	trouble    = time.Second
	maxTrouble = time.Minute
	// startPatience is how long a broker may be too busy to tell about the consumer.
	startPatience = 30 * time.Second
)

// errEnded says that the deliveries ended though nobody told them to.
var errEnded = errors.New("the deliveries ended, is the connection closed?")

// Run makes pictures until ctx ends, then lets those at work finish for two seconds and hands the rest back. It returns nil after
// such a stop, an error if the deliveries ended by themselves. A Maker runs once.
func (m *Maker) Run(ctx context.Context) error {
	consumer, err := m.find(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // it was stopped before it began
		}
		return fmt.Errorf("make pictures: %w", err)
	}
	base := context.WithoutCancel(ctx)
	work, abandon := context.WithCancelCause(base)
	defer abandon(errStopped)
	subscriber := streams.NewSubscriber(streams.SubscriberConfig{
		Consumer: func(context.Context, string) (jetstream.Consumer, error) { return consumer, nil },
		InFlight: inHand, AckWait: m.cfg.AckWait, Drain: drain, Logger: m.cfg.Logger,
	})
	messages, err := subscriber.Subscribe(base, streams.ImageConsumer)
	if err != nil {
		return fmt.Errorf("make pictures: %w", err)
	}
	var jobs sync.WaitGroup
	defer jobs.Wait()
	for {
		select {
		case msg, open := <-messages:
			if !open {
				abandon(errEnded)
				return errors.Join(errEnded, subscriber.Close())
			}
			jobs.Go(func() { m.deliver(work, msg) })
		case <-ctx.Done():
			defer time.AfterFunc(grace, func() { abandon(errStopped) }).Stop()
			err := subscriber.Close()
			abandon(errStopped)
			return err
		}
	}
}

// deliver works on one delivery and answers it.
func (m *Maker) deliver(ctx context.Context, msg *message.Message) {
	raw, ok := streams.Delivery(msg)
	if !ok {
		msg.Ack() // it comes from none of our subscribers
		return
	}
	meta, err := raw.Metadata()
	if err != nil {
		msg.Ack() // it has no place in the log
		m.cfg.Logger.LogAttrs(ctx, slog.LevelError, "a delivery without metadata is set aside", slog.Any("error", err))
		return
	}
	tries := int(min(meta.NumDelivered, maxTries))
	trigger := eventstore.Decode(raw.Subject(), meta.Sequence.Stream, meta.Timestamp, raw.Headers(), raw.Data())
	ctx, span := trail.Start(trigger.Context(ctx), m.cfg.Tracer, trace.SpanKindConsumer, "make", "picture", trigger.Key)
	defer span.End()
	if request, is := trigger.Event.(menu.ImageRequested); is {
		ctx = trail.With(ctx, slog.String(trail.KeyDish, string(request.ID)))
		span.SetAttributes(attribute.String(trail.AttributeDish, string(request.ID)))
	}
	if err = m.handle(ctx, trigger, tries); err != nil {
		trail.Fail(span, "not made")
	}
	switch {
	case err == nil:
		msg.Ack()
	case ctx.Err() != nil:
		streams.NackAfter(msg, 0)
	default:
		wait := min(trouble<<(tries-1), maxTrouble)
		m.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "a picture could not be made, it is tried again", slog.Duration("wait", wait), slog.Any("error", err))
		streams.NackAfter(msg, wait)
	}
}

// find looks the consumer up. A broker that is busy at the start of many processes is asked again.
func (m *Maker) find(ctx context.Context) (jetstream.Consumer, error) {
	consumer, err := backoff.Retry(ctx, func() (jetstream.Consumer, error) {
		consumer, err := m.consumer(ctx, streams.ImageConsumer)
		if err != nil && !streams.Busy(err) {
			err = backoff.Permanent(err)
		}
		return consumer, err
	}, backoff.WithBackOff(backoff.NewExponentialBackOff()), backoff.WithMaxElapsedTime(startPatience))
	if err != nil {
		return nil, fmt.Errorf("look for consumer %s: %w", streams.ImageConsumer, err)
	}
	return consumer, nil
}

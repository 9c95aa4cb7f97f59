package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"kondate/eventstore"
	"kondate/eventstore/trail"
	"kondate/streams"
)

// trouble is the wait before a delivery comes again that could not be handled for a reason that is not its dishes'.
const trouble = 5 * time.Second

var errForeign = errors.New("the message comes from none of our subscribers")

// handler returns the stage's handler for Watermill's router. Deliveries are handled in ctx and not in the message's
// context, which ends as soon as the subscriber closes: what is finished then still has to be recorded.
func (s *stage) handler(ctx context.Context) message.NoPublishHandlerFunc {
	return func(msg *message.Message) error {
		raw, ok := streams.Delivery(msg)
		if !ok {
			return errForeign
		}
		meta, err := raw.Metadata()
		if err != nil {
			return fmt.Errorf("read the metadata of a delivery: %w", err)
		}
		trigger := eventstore.Decode(streams.LogSubject(raw, meta), meta.Sequence.Stream, meta.Timestamp, raw.Headers(), raw.Data())
		msg.SetContext(trigger.Context(msg.Context())) //nolint:contextcheck // for the log lines of middleware
		ctx, span := s.trace(trigger.Context(ctx), trigger, meta.NumDelivered)
		defer span.End()
		v, err := s.handle(ctx, trigger, meta.NumDelivered > 1)
		if err != nil {
			trail.Fail(span, "not handled")
			return err
		}
		if v.again {
			streams.NackAfter(msg, v.after)
		}
		return nil
	}
}

// later is the stage's outermost middleware. An error is no fault of the message's dishes, so the delivery comes again,
// but not at once: the router by itself would refuse it without a delay, and a lasting error would spin.
func (s *stage) later() message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			if _, err := next(msg); err != nil {
				s.logger.LogAttrs(msg.Context(), slog.LevelError, "a delivery could not be handled, it comes again",
					slog.String("event_id", msg.UUID), slog.Duration("wait", trouble), slog.Any("error", err))
				streams.NackAfter(msg, trouble)
			}
			return nil, nil
		}
	}
}

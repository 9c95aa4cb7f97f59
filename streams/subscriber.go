package streams

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// fetchExpiry bounds one pull; heartbeats of the broker during it tell a quiet consumer from a lost one.
	fetchExpiry    = 5 * time.Second
	fetchHeartbeat = time.Second
	// fetchPause is the wait after a pull that failed.
	fetchPause = 250 * time.Millisecond
	// answerTimeout bounds the wait for the broker's word that an ack or nak has arrived.
	answerTimeout = 5 * time.Second
	// heartbeatsPerAckWait is how often a message at work is reported before its ack wait is over.
	heartbeatsPerAckWait = 3
)

// ErrClosed is returned by a subscriber or publisher that was closed.
var ErrClosed = errors.New("closed")

// SubscriberConfig holds the settings of a [Subscriber]. Every field is required.
type SubscriberConfig struct {
	// Consumer returns the durable consumer of a topic. The subscriber does not delete it.
	Consumer func(ctx context.Context, topic string) (jetstream.Consumer, error)
	InFlight int           // messages of one subscription that are handed out and not answered, at most
	AckWait  time.Duration // of the consumers; a message at work is reported three times in it
	Drain    time.Duration // how long Close waits for messages at work before it hands them back
	Logger   *slog.Logger
}

// Subscriber is Watermill's subscriber over durable JetStream consumers. It pulls no more than it can hand out, keeps
// the broker from giving a message at work to somebody else, and hands unanswered messages back when it closes.
// The connection stays the caller's.
type Subscriber struct {
	cfg     SubscriberConfig
	closing chan struct{} // closed when Close begins
	abandon chan struct{} // closed when Close gives up waiting

	mu     sync.Mutex // guards closed, and subs against Close
	closed bool
	subs   sync.WaitGroup // subscriptions with their messages
}

// NewSubscriber returns a subscriber.
func NewSubscriber(cfg SubscriberConfig) *Subscriber {
	return &Subscriber{cfg: cfg, closing: make(chan struct{}), abandon: make(chan struct{})}
}

// Subscribe hands out the messages of a topic's consumer until ctx ends or the subscriber is closed. The order is the
// broker's, but many messages are handed out at once and a refused one comes again after the others.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	consumer, err := s.cfg.Consumer(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, ErrClosed)
	}
	ctx, cancel := context.WithCancel(ctx)
	sub := &subscription{
		Subscriber: s, consumer: consumer, log: s.cfg.Logger.With("consumer", topic),
		out: make(chan *message.Message), slots: make(chan struct{}, s.cfg.InFlight),
	}
	s.subs.Go(func() {
		defer cancel()
		sub.run(ctx)
	})
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return sub.out, nil
}

// Close stops fetching, ends the contexts of the messages at work, waits for their answers as long as the
// configuration allows, hands back what has none, and returns. Closing twice is harmless.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
		time.AfterFunc(s.cfg.Drain, func() { close(s.abandon) })
	}
	s.mu.Unlock()
	s.subs.Wait()
	return nil
}

// subscription is one Subscribe.
type subscription struct {
	*Subscriber

	consumer jetstream.Consumer
	log      *slog.Logger
	out      chan *message.Message
	slots    chan struct{} // one for each message that is handed out
	messages sync.WaitGroup
}

func (s *subscription) run(ctx context.Context) {
	defer close(s.out)
	defer s.messages.Wait()
	for ctx.Err() == nil {
		if err := s.fetch(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "pull failed, trying again", "error", err)
			select {
			case <-time.After(fetchPause):
			case <-ctx.Done():
			}
		}
	}
}

// fetch asks for as many messages as there are free slots and hands them out as they come.
func (s *subscription) fetch(ctx context.Context) error {
	free := s.takeSlots(ctx)
	if free == 0 {
		return ctx.Err()
	}
	defer func() { s.giveSlots(free) }()
	batch, err := s.consumer.Fetch(free, jetstream.FetchMaxWait(fetchExpiry), jetstream.FetchHeartbeat(fetchHeartbeat))
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	msgs := batch.Messages()
	for {
		select {
		case msg, open := <-msgs:
			if !open {
				return batch.Error()
			}
			free--
			s.messages.Go(func() {
				defer s.giveSlots(1)
				s.deliver(ctx, msg)
			})
		case <-ctx.Done():
			s.handBack(msgs, free)
			return ctx.Err()
		}
	}
}

// handBack returns at once what a pull still brings: without it the broker would wait for the ack wait to pass. The
// pull ends by itself; what it brings after that is seen by nobody, and it brings no more than free messages.
func (s *subscription) handBack(msgs <-chan jetstream.Msg, free int) {
	s.messages.Go(func() {
		for range free {
			select {
			case msg, open := <-msgs:
				if !open {
					return
				}
				s.answer(msg.Nak(), "hand back")
			case <-time.After(handBackLinger):
				return
			}
		}
	})
}

// handBackLinger is how long a closing subscription looks for messages that were under way to it.
const handBackLinger = 200 * time.Millisecond

// takeSlots waits for a free slot and takes all that are free; 0 if ctx ended.
func (s *subscription) takeSlots(ctx context.Context) int {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	n := 1
	for n < cap(s.slots) {
		select {
		case s.slots <- struct{}{}:
			n++
		default:
			return n
		}
	}
	return n
}

func (s *subscription) giveSlots(n int) {
	for range n {
		<-s.slots
	}
}

// deliver hands one message out, reports it as being worked on until it is answered, and passes the answer on.
func (s *subscription) deliver(ctx context.Context, raw jetstream.Msg) {
	msg, d := newMessage(raw)
	msgCtx, cancel := context.WithCancel(context.WithValue(ctx, deliveryKey{}, d))
	defer cancel()
	msg.SetContext(msgCtx)
	heartbeat := time.NewTicker(s.cfg.AckWait / heartbeatsPerAckWait)
	defer heartbeat.Stop()
	out := s.out
	for {
		select {
		case out <- msg:
			out = nil
		case <-ctx.Done():
			if out != nil { // nobody has taken it
				s.answer(raw.Nak(), "hand back")
				return
			}
			ctx = context.WithoutCancel(ctx) // it is at work: wait for the answer below
		case <-msg.Acked():
			ackCtx, cancel := context.WithTimeout(context.WithoutCancel(msgCtx), answerTimeout)
			s.answer(raw.DoubleAck(ackCtx), "ack")
			cancel()
			return
		case <-msg.Nacked():
			if delay := time.Duration(d.nackDelay.Load()); delay > 0 {
				s.answer(raw.NakWithDelay(delay), "nak")
			} else {
				s.answer(raw.Nak(), "nak")
			}
			return
		case <-s.abandon:
			s.answer(raw.Nak(), "hand back")
			return
		case <-heartbeat.C:
			s.answer(raw.InProgress(), "report")
		}
	}
}

// answer notes an answer that did not reach the broker. The message comes again then, and its handler finds that the
// work is done.
func (s *subscription) answer(err error, what string) {
	if err != nil {
		s.log.Warn("a delivery's answer did not reach the broker, it will come again", "answer", what, "error", err) //nolint:noctx // there is no request behind it
	}
}

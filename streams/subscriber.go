package streams

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// fetchExpiry bounds one pull, and with it the time that Close needs when nothing is at work.
	fetchExpiry = 500 * time.Millisecond
	// fetchSilence is how long after its expiry a pull without the broker's word counts as unanswered. The client waits
	// for a second.
	fetchSilence = 750 * time.Millisecond
	// handBackMargin is how much later than here a pull may end at the broker.
	handBackMargin = 200 * time.Millisecond
	// maxFetchPause is the longest wait after pulls that failed.
	maxFetchPause = 5 * time.Second
	// carefulFor is added to two ack waits, after which a forged message would have come again.
	carefulFor = 10 * time.Second
	// answerTimeout bounds the wait for the broker's word that an ack has arrived.
	answerTimeout = 5 * time.Second
	// heartbeatsPerAckWait is how often a message at work is reported before its ack wait is over.
	heartbeatsPerAckWait = 3
)

// ErrClosed is returned by a subscriber or publisher that was closed.
var ErrClosed = errors.New("closed")

var (
	errSilence = errors.New("the broker did not answer")
	errForged  = errors.New("the client took a stored message for the end of the pull: it has a header Status and no body; delete it from the stream")
)

// SubscriberConfig holds the settings of a [Subscriber]. Every field is required.
type SubscriberConfig struct {
	// Consumer returns the durable consumer of a topic. The subscriber does not delete it.
	Consumer func(ctx context.Context, topic string) (jetstream.Consumer, error)
	InFlight int           // messages of one subscription that are handed out and not answered, at most
	AckWait  time.Duration // of the consumers, at most; a message at work is reported three times in it
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

	mu     sync.Mutex // guards closed and pulls, and subs against Close
	closed bool
	subs   sync.WaitGroup // subscriptions with their messages
	pulls  map[string]Pull
}

// NewSubscriber returns a subscriber.
func NewSubscriber(cfg SubscriberConfig) *Subscriber {
	return &Subscriber{cfg: cfg, closing: make(chan struct{}), abandon: make(chan struct{}), pulls: map[string]Pull{}}
}

// Subscribe hands out the messages of a topic's consumer until ctx ends, the subscriber is closed or the connection is
// closed for good; a broker that is away is waited for. Messages are handed out in the broker's order, but many are at
// work at once, and a refused one comes again after the others.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	consumer, err := s.cfg.Consumer(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	if err := s.suits(consumer.CachedInfo().Config); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, ErrClosed)
	}
	ctx, cancel := context.WithCancel(ctx)
	turn := make(chan struct{})
	close(turn)
	sub := &subscription{
		Subscriber: s, topic: topic, consumer: consumer, log: s.cfg.Logger.With(slog.String("consumer", topic)),
		out: make(chan *message.Message), slots: make(chan struct{}, s.cfg.InFlight), turn: turn,
	}
	s.subs.Go(func() {
		defer cancel()
		sub.run(ctx)
	})
	s.subs.Go(func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	})
	return sub.out, nil
}

// suits refuses settings that cannot work, and a consumer whose messages would be lost, or given to somebody else while they are at work.
func (s *Subscriber) suits(c jetstream.ConsumerConfig) error {
	wait := c.AckWait
	if len(c.BackOff) > 0 {
		wait = c.BackOff[0] // it replaces the ack wait
	}
	switch {
	case s.cfg.InFlight < 1 || s.cfg.AckWait < time.Millisecond:
		return fmt.Errorf("a subscriber with %d messages in flight and an ack wait of %s cannot work", s.cfg.InFlight, s.cfg.AckWait)
	case c.AckPolicy != jetstream.AckExplicitPolicy:
		return fmt.Errorf("consumer %s has the ack policy %s, a subscriber needs explicit", c.Name, c.AckPolicy)
	case wait < s.cfg.AckWait:
		return fmt.Errorf("consumer %s waits %s for an ack, the subscriber was told %s", c.Name, wait, s.cfg.AckWait)
	}
	return nil
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

	topic    string
	consumer jetstream.Consumer
	log      *slog.Logger
	out      chan *message.Message
	slots    chan struct{} // one for each message that is pulled and not answered, or asked for
	messages sync.WaitGroup

	// Of run's goroutine only:
	turn    <-chan struct{} // closed when the newest message has been handed out, or back
	careful time.Time       // until then pulls ask for one message
}

func (s *subscription) run(ctx context.Context) {
	defer close(s.out)
	defer s.messages.Wait()
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = maxFetchPause
	for ctx.Err() == nil {
		err := s.fetch(ctx)
		s.pulled(s.topic, err)
		switch {
		case err == nil:
			pause.Reset()
			continue
		case ctx.Err() != nil:
			return
		case errors.Is(err, nats.ErrConnectionClosed):
			s.log.LogAttrs(ctx, slog.LevelError, "deliveries end, the connection was closed")
			return
		case errors.Is(err, errForged): // it comes again after its ack wait, so this does not spin
			s.log.LogAttrs(ctx, slog.LevelError, "a message cannot be delivered", slog.Any("error", err))
			s.careful = time.Now().Add(2*s.cfg.AckWait + carefulFor)
			continue
		}
		s.log.LogAttrs(ctx, slog.LevelWarn, "pull failed, trying again", slog.Any("error", err))
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
		}
	}
}

// fetch asks for as many messages as there are free slots and hands them out as they come. It reads the pull to its
// end even if ctx ends before: what a pull brings that nobody reads is lost to everybody for a whole ack wait.
//
// The client takes a message with a header Status and no body for the broker's word, ends the pull and drops the rest
// of it, and so again at each redelivery. After such an end each message gets a pull of its own, so that the forged one
// stops nobody else, as long as the ack wait is longer than the pulls that forged messages cost (1.5 s at most each).
func (s *subscription) fetch(ctx context.Context) error {
	most := cap(s.slots)
	if time.Now().Before(s.careful) {
		most = 1
	}
	free := s.takeSlots(ctx, most)
	defer func() { s.giveSlots(free) }()
	if ctx.Err() != nil {
		return nil
	}
	s.pulling(s.topic)
	start := time.Now()
	batch, err := s.consumer.Fetch(free, jetstream.FetchMaxWait(fetchExpiry))
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	silent := true
	for msg := range batch.Messages() {
		silent = false
		free--
		turn, next := s.turn, make(chan struct{})
		s.turn = next
		s.messages.Go(func() {
			defer s.giveSlots(1)
			s.deliver(ctx, msg, start.Add(fetchExpiry), turn, next)
		})
	}
	if err := batch.Error(); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	switch took := time.Since(start); {
	case free > 0 && took < fetchExpiry/5*4:
		return errForged
	case silent && took > fetchExpiry+fetchSilence:
		return errSilence
	}
	return nil
}

// takeSlots waits for a free slot and takes all that are free, up to most; none if ctx ends first.
func (s *subscription) takeSlots(ctx context.Context, most int) int {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	n := 1
	for n < most {
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

// deliver hands one message out when its turn has come, reports it as being worked on until it is answered, and passes
// the answer on. pullEnd is when the pull that brought it is over.
func (s *subscription) deliver(ctx context.Context, raw jetstream.Msg, pullEnd time.Time, turn <-chan struct{}, next chan<- struct{}) {
	msg, d := newMessage(raw)
	msgCtx, cancel := context.WithCancel(context.WithValue(ctx, deliveryKey{}, d))
	defer cancel()
	msg.SetContext(msgCtx)
	heartbeat := time.NewTicker(s.cfg.AckWait / heartbeatsPerAckWait)
	defer heartbeat.Stop()
	taken := s.offer(msgCtx, msg, raw, heartbeat.C, turn)
	close(next)
	if !taken {
		s.handBack(msgCtx, raw, pullEnd)
		return
	}
	for {
		select {
		case <-msg.Acked():
			// The broker's word for the ack costs a round trip, and keeps Close from returning with acks that a closed
			// connection would lose: each would bring its message again.
			ackCtx, cancel := context.WithTimeout(context.WithoutCancel(msgCtx), answerTimeout)
			s.answer(msgCtx, raw.DoubleAck(ackCtx), "ack")
			cancel()
			return
		case <-msg.Nacked():
			s.answer(msgCtx, raw.NakWithDelay(time.Duration(d.nackDelay.Load())), "nak")
			return
		case <-s.abandon:
			s.handBack(msgCtx, raw, pullEnd)
			return
		case <-heartbeat.C:
			s.answer(msgCtx, raw.InProgress(), "heartbeat")
		}
	}
}

// offer reports whether somebody has taken the message before ctx ended.
func (s *subscription) offer(ctx context.Context, msg *message.Message, raw jetstream.Msg, heartbeat <-chan time.Time, turn <-chan struct{}) bool {
	var out chan<- *message.Message
	for {
		select {
		case <-turn:
			turn, out = nil, s.out
		case out <- msg:
			return true
		case <-ctx.Done():
			return false
		case <-heartbeat:
			s.answer(ctx, raw.InProgress(), "heartbeat")
		}
	}
}

// handBack returns a message to the broker, for anybody but the pull that brought it and may still be open.
func (s *subscription) handBack(ctx context.Context, raw jetstream.Msg, pullEnd time.Time) {
	s.answer(ctx, raw.NakWithDelay(max(0, time.Until(pullEnd)+handBackMargin)), "hand back")
}

// answer notes an answer that did not reach the broker. The message comes again then, and its handler finds that the
// work is done.
func (s *subscription) answer(ctx context.Context, err error, what string) {
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "a delivery's answer did not reach the broker, it will come again", slog.String("answer", what), slog.Any("error", err))
	}
}

package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
)

const (
	// MaxPage is the number of entries that Follow hands over at once at most. A page of the largest events must fit
	// what the broker is willing to buffer for one connection (64 MB unless configured).
	MaxPage = 256

	// pullExpiry bounds one pull; a pull that ends empty is the sign of life of an idle log.
	pullExpiry = 5 * time.Second
	// pullEarly tells a pull that a message ended from one that came to its end; the client gives the broker 90 % of
	// the expiry.
	pullEarly = pullExpiry * 8 / 10
	// pullHeartbeat is how often the broker says that it is still there during a pull.
	pullHeartbeat = time.Second
	// followerLinger is how long the broker keeps the consumer of a follower that died.
	followerLinger = 10 * time.Second
	// maxFollowPause is the longest wait before a broken follower starts again.
	maxFollowPause = 2 * time.Second
)

// errRestart says that a follower's consumer is gone or skipped something: start a new one after the last entry seen.
var errRestart = errors.New("the consumer has to be made anew")

// Follow hands over every entry of the log after a sequence, in order and without a hole, in pages of what is there
// (at most [MaxPage]), and goes on with what comes. It blocks until ctx ends or fn fails, and returns that error;
// a broker that is away is waited for. A log that ends before the sequence, or that was made anew meanwhile, is
// refused with ErrOtherLog: sequences of one log mean nothing in another.
func (s *JetStream) Follow(ctx context.Context, after uint64, fn func(context.Context, []Entry) error) error {
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = maxFollowPause
	f := follower{store: s, after: after, fn: fn}
	for {
		before := f.after
		err := f.run(ctx)
		if f.after == before && f.failed == nil && ctx.Err() == nil && !errors.Is(err, ErrOtherLog) {
			err = errors.Join(err, f.step(ctx))
		}
		if f.after > before {
			pause.Reset()
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case f.failed != nil:
			return f.failed
		case errors.Is(err, ErrOtherLog):
			return err
		}
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "log follower starts again", slog.Uint64("after", f.after), slog.Any("error", err))
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// follower is one consumer's life. The broker's own ordered consumer is not used: its Fetch makes a consumer anew each
// time and its Consume can stand still for a whole pull.
type follower struct {
	store    *JetStream
	after    uint64 // sequence of the last entry handed over
	consumed uint64 // the consumer's own count: a step of more than one is a hole
	fn       func(context.Context, []Entry) error
	failed   error     // what fn returned
	created  time.Time // of the stream that the first consumer was made on
}

// sameLog checks that the stream is the one that the follower began with and still holds what was handed over.
func (f *follower) sameLog(ctx context.Context) error {
	stream, err := f.store.reads.Stream(ctx, streams.EventStream)
	if err != nil {
		return fmt.Errorf("read the state of stream %s: %w", streams.EventStream, err)
	}
	info := stream.CachedInfo()
	if f.created.IsZero() {
		f.created = info.Created
	}
	if !f.created.Equal(info.Created) {
		return fmt.Errorf("stream %s was made anew at %s: %w", streams.EventStream, FormatTime(info.Created), ErrOtherLog)
	}
	if f.after > info.State.LastSeq {
		return fmt.Errorf("stream %s ends at %d, before %d: %w", streams.EventStream, info.State.LastSeq, f.after, ErrOtherLog)
	}
	return nil
}

func (f *follower) run(ctx context.Context) error {
	if err := f.sameLog(ctx); err != nil {
		return err
	}
	f.consumed = 0
	// It has no filter: with one that matches everything the broker would look into every block for what is left.
	consumer, err := f.store.reads.CreateConsumer(ctx, streams.EventStream, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       f.after + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: followerLinger,
		MemoryStorage:     true,
		Replicas:          1,
	})
	if err != nil {
		return fmt.Errorf("follow the log from %d: %w", f.after+1, err)
	}
	defer func() {
		// The consumer ends with its follower and not with the linger, or restarts would eat the stream's consumer limit.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = f.store.reads.DeleteConsumer(ctx, streams.EventStream, consumer.CachedInfo().Name) // it lingers ten seconds at worst
	}()
	for {
		if err := f.pull(ctx, consumer); err != nil {
			return err
		}
	}
}

// step hands over one entry that the leader names. A pull takes a message with the headers of a status for the end of
// the pull, so that a follower would never get past it.
func (f *follower) step(ctx context.Context) error {
	e, found, err := f.store.next(ctx, streams.AllEvents, f.after+1, Decode)
	if err != nil || !found {
		return err
	}
	if f.failed = f.fn(ctx, []Entry{e}); f.failed == nil {
		f.after = e.Seq
	}
	return f.failed
}

// pull asks for one page's worth and hands over what comes as it comes. A pull that ends before its time, and not full,
// was ended by a message.
func (f *follower) pull(ctx context.Context, consumer jetstream.Consumer) error {
	pullCtx, cancel := context.WithTimeout(ctx, pullExpiry)
	defer cancel()
	batch, err := consumer.Fetch(MaxPage, jetstream.FetchContext(pullCtx), jetstream.FetchHeartbeat(pullHeartbeat))
	if err != nil {
		return fmt.Errorf("pull from the log: %w", err)
	}
	began, came := time.Now(), f.consumed
	msgs := batch.Messages()
	for msg := range msgs {
		// Most pages of a log that is followed live are short: one of MaxPage entries is 60 KB to clear.
		page := make([]Entry, 0, 1+len(msgs))
		if page, err = f.add(page, msg); err != nil {
			return err
		}
		for more := true; more && len(page) < MaxPage; {
			select {
			case msg, open := <-msgs:
				if more = open; !open {
					break
				}
				if page, err = f.add(page, msg); err != nil {
					return err
				}
			default:
				more = false
			}
		}
		if f.failed = f.fn(ctx, page); f.failed != nil {
			return f.failed
		}
		f.after = page[len(page)-1].Seq
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("pull from the log: %w", err)
	}
	if ctx.Err() == nil && f.consumed-came < MaxPage && time.Since(began) < pullEarly {
		return fmt.Errorf("a message ended the pull: %w", errRestart)
	}
	return ctx.Err()
}

func (f *follower) add(page []Entry, msg jetstream.Msg) ([]Entry, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("read the metadata of a message: %w: %w", errRestart, err)
	}
	f.consumed++
	if meta.Sequence.Consumer != f.consumed {
		return nil, fmt.Errorf("message %d came as number %d of the consumer, want %d: %w", meta.Sequence.Stream, meta.Sequence.Consumer, f.consumed, errRestart)
	}
	return append(page, Decode(msg.Subject(), meta.Sequence.Stream, meta.Timestamp, msg.Headers(), msg.Data())), nil
}

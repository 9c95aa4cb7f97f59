package streams_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kondate/streams"
)

func TestSubscriberClosesAndHandsBackAtOnce(t *testing.T) {
	t.Parallel()
	const total = 20
	w := newWork(t, time.Minute)
	w.publish(t, total)
	cfg := w.config(t, w.js, 1000) // its pull stays open
	cfg.Drain = 100 * time.Millisecond
	closing, out := subscribe(t, cfg)
	atWork, _ := receive(t, out, "a message") // the others are pulled and wait
	began := time.Now()
	if err := closing.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-atWork.Context().Done():
	default:
		t.Error("the context of a message at work goes on after Close")
	}
	if _, open := receive(t, out, "the end of the channel"); open {
		t.Error("a closed subscriber hands out a message")
	}
	w.publish(t, total) // none of them may go to the one that has closed
	_, next := subscribe(t, w.config(t, w.broker.JetStream(), 2*total))
	for range 2 * total {
		msg, _ := receive(t, next, "a message that was handed back")
		if seq, n := sequence(t, msg); n > 3 { // a last-moment redelivery may cross the end of the pull
			t.Errorf("message %d comes for the %d. time: it went to and fro", seq, n)
		}
		msg.Ack()
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("what was handed back came after %s", took)
	}
}

func TestSubscriberCloseWaitsForAnswers(t *testing.T) {
	t.Parallel()
	w := newWork(t, time.Minute)
	w.publish(t, 1)
	sub, out := subscribe(t, w.config(t, w.js, 1))
	msg, _ := receive(t, out, "the message")
	closed := make(chan error, 2)
	for range 2 {
		go func() { closed <- sub.Close() }()
	}
	receive(t, msg.Context().Done(), "the end of the message's context")
	select {
	case err := <-closed:
		t.Fatalf("Close returned before the answer: %v", err)
	case <-time.After(700 * time.Millisecond): // longer than a pull
	}
	msg.Ack()
	for range 2 {
		if err, _ := receive(t, closed, "the end of Close"); err != nil {
			t.Error(err)
		}
	}
	if info := w.info(t); info.NumAckPending != 0 || info.AckFloor.Stream != 1 {
		t.Errorf("Close returned before the broker had the ack: %+v", info)
	}
	if _, err := sub.Subscribe(t.Context(), topic); !errors.Is(err, streams.ErrClosed) {
		t.Errorf("Subscribe after Close: %v", err)
	}
	if w.nc.IsClosed() {
		t.Error("Close closed a connection that is not its own")
	}
}

func TestSubscriberEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWork(t, time.Minute)
	sub := streams.NewSubscriber(w.config(t, w.js, 5))
	ctx, cancel := context.WithCancel(t.Context())
	out, err := sub.Subscribe(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	stays, err := sub.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, open := receive(t, out, "the end of the channel"); open {
		t.Error("a message, want the end of the channel")
	}
	w.publish(t, 1)
	msg, _ := receive(t, stays, "a message of the other subscription")
	msg.Ack()
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
}

func TestSubscriberOutlivesARestartOfTheBroker(t *testing.T) {
	t.Parallel()
	w := newWork(t, time.Minute)
	_, out := subscribe(t, w.config(t, w.js, 5))
	w.publish(t, 1)
	before, _ := receive(t, out, "a message before the restart")
	w.broker.Restart()
	before.Ack()
	eventually(t, "the ack arrived", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		consumer, err := w.js.Consumer(ctx, topic, topic)
		return err == nil && consumer.CachedInfo().AckFloor.Stream == 1
	})
	w.publish(t, 1)
	after, _ := receive(t, out, "a message after the restart")
	if seq, _ := sequence(t, after); seq != 2 {
		t.Errorf("message %d, want 2", seq)
	}
	after.Ack()
}

func TestSubscriberEndsWhenItsConnectionIsClosed(t *testing.T) {
	t.Parallel()
	w := newWork(t, time.Second)
	js := w.broker.JetStream()
	var log lines
	cfg := w.config(t, js, 1)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	sub, out := subscribe(t, cfg)
	w.publish(t, 2)
	msg, _ := receive(t, out, "a message")
	js.Conn().Close()
	msg.Ack() // cannot arrive
	if _, open := receive(t, out, "the end of the channel"); open {
		t.Error("a message over a closed connection")
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"the connection was closed", "did not reach the broker"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q: %s", want, log.String())
		}
	}
	_, next := subscribe(t, w.config(t, w.js, 5))
	for range 2 {
		msg, _ := receive(t, next, "a message for the next subscriber")
		msg.Ack()
	}
}

func TestSubscriberReportsAConsumerThatIsGone(t *testing.T) {
	t.Parallel()
	w := newWork(t, time.Minute)
	var log lines
	cfg := w.config(t, w.js, 5)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	_, out := subscribe(t, cfg)
	w.publish(t, 1)
	msg, _ := receive(t, out, "a message")
	msg.Ack()
	if err := w.js.DeleteConsumer(t.Context(), topic, topic); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log says that pulls fail", func() bool { return strings.Contains(log.String(), "pull failed") })
	if n := strings.Count(log.String(), "pull failed"); n > 5 {
		t.Errorf("%d lines at once", n)
	}
	w.makeConsumer(t, time.Minute)
	msg, _ = receive(t, out, "a message of the consumer that was made anew")
	msg.Ack()
}

// TestSubscriberRestartStorm starts and stops subscribers over a stream of work. The ack wait is longer than the test
// waits: a single message that a closed subscriber kept would fail it.
func TestSubscriberRestartStorm(t *testing.T) {
	t.Parallel()
	const total = 200
	w := newWork(t, 5*time.Minute)
	cfg := w.config(t, w.js, 16)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var done atomic.Int64
	var publishing sync.WaitGroup
	publishing.Go(func() { w.publish(t, total) })
	var workers sync.WaitGroup
	for range 3 {
		workers.Go(func() {
			for round := 1; done.Load() < total && ctx.Err() == nil; round++ {
				sub := streams.NewSubscriber(cfg)
				out, err := sub.Subscribe(ctx, topic)
				if err != nil {
					t.Error(err)
					return
				}
				idle := time.After(200 * time.Millisecond)
				for range 5 * round {
					select {
					case msg := <-out:
						msg.Ack()
						done.Add(1)
						continue
					case <-idle:
					}
					break
				}
				if err := sub.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	publishing.Wait()
	workers.Wait()
	if info := w.info(t); info.NumAckPending != 0 || info.NumPending != 0 {
		t.Errorf("%d messages are kept by nobody, %d were never pulled", info.NumAckPending, info.NumPending)
	}
}

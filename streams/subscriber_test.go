package streams_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
	"kondate/streams/natstest"
)

// work is a stream with one durable consumer.
type work struct {
	broker *natstest.Server
	js     jetstream.JetStream
	nc     *nats.Conn
}

// topic is the name of work's stream and consumer, and what its subjects begin with.
const topic = "work"

// newWork makes work whose consumer waits for an ack as long as given.
func newWork(tb testing.TB, ackWait time.Duration) work {
	tb.Helper()
	w := work{broker: natstest.New(tb)}
	w.js = w.broker.JetStream()
	w.nc = w.js.Conn()
	if _, err := w.js.CreateStream(tb.Context(), jetstream.StreamConfig{Name: topic, Subjects: []string{topic + ".>"}}); err != nil {
		tb.Fatal(err)
	}
	w.makeConsumer(tb, ackWait)
	return w
}

func (w work) makeConsumer(tb testing.TB, ackWait time.Duration) {
	tb.Helper()
	if _, err := w.js.CreateConsumer(tb.Context(), topic, jetstream.ConsumerConfig{Durable: topic, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 1000}); err != nil {
		tb.Fatal(err)
	}
}

// config returns settings for work's consumer over a connection.
func (w work) config(tb testing.TB, js jetstream.JetStream, inFlight int) streams.SubscriberConfig {
	tb.Helper()
	consumer, err := js.Consumer(tb.Context(), topic, topic)
	if err != nil {
		tb.Fatal(err)
	}
	return streams.SubscriberConfig{
		Consumer: func(ctx context.Context, name string) (jetstream.Consumer, error) {
			return js.Consumer(ctx, topic, name)
		},
		InFlight: inFlight, AckWait: consumer.CachedInfo().Config.AckWait, Drain: patience, Logger: discard(),
	}
}

// subscribe starts a subscriber that closes with the test.
func subscribe(tb testing.TB, cfg streams.SubscriberConfig) (*streams.Subscriber, <-chan *message.Message) {
	tb.Helper()
	sub := streams.NewSubscriber(cfg)
	out, err := sub.Subscribe(tb.Context(), topic)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = sub.Close() })
	return sub, out
}

func (w work) publish(tb testing.TB, n int) {
	tb.Helper()
	for i := range n {
		if _, err := w.js.Publish(tb.Context(), topic+".item", fmt.Append(nil, i)); err != nil {
			tb.Fatal(err)
		}
	}
}

func (w work) info(tb testing.TB) *jetstream.ConsumerInfo {
	tb.Helper()
	consumer, err := w.js.Consumer(tb.Context(), topic, topic)
	if err != nil {
		tb.Fatal(err)
	}
	return consumer.CachedInfo()
}

// sequence returns a message's place in the stream and how often it was delivered.
func sequence(tb testing.TB, msg *message.Message) (seq, delivered uint64) {
	tb.Helper()
	raw, ok := streams.Delivery(msg)
	if !ok {
		tb.Fatal("a message without a delivery")
	}
	meta, err := raw.Metadata()
	if err != nil {
		tb.Fatal(err)
	}
	return meta.Sequence.Stream, meta.NumDelivered
}

func TestSubscriberKeepsASlowHandlersMessage(t *testing.T) {
	t.Parallel()
	const ackWait = time.Second
	w := newWork(t, ackWait)
	_, slow := subscribe(t, w.config(t, w.js, 2))
	w.publish(t, 2)
	first, _ := receive(t, slow, "the message")
	// The second message is never taken: it waits for a reader, and counts as being worked on just the same.
	_, other := subscribe(t, w.config(t, w.broker.JetStream(), 2))
	select {
	case msg := <-other:
		seq, n := sequence(t, msg)
		t.Fatalf("message %d went to somebody else, delivery %d, while it was worked on", seq, n)
	case <-time.After(3 * ackWait):
	}
	first.Ack()
	second, _ := receive(t, slow, "the message that waited")
	if _, n := sequence(t, second); n != 1 {
		t.Errorf("the message that waited for a reader comes for the %d. time", n)
	}
	second.Ack()
	receive(t, second.Context().Done(), "the end of the acked message's context")
	eventually(t, "all is acked, nothing was delivered twice", func() bool {
		info := w.info(t)
		return info.NumAckPending == 0 && info.NumRedelivered == 0 && info.AckFloor.Stream == 2
	})
}

// eventually polls for what gives no signal.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-deadline:
			tb.Fatalf("not in %s: %s", patience, what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestSubscriberHandsOutInOrder(t *testing.T) {
	t.Parallel()
	const total = 300
	w := newWork(t, time.Minute)
	w.publish(t, total)
	_, out := subscribe(t, w.config(t, w.js, 100))
	for want := range uint64(total) {
		msg, _ := receive(t, out, "a message")
		if seq, _ := sequence(t, msg); seq != want+1 {
			t.Fatalf("message %d came as number %d", seq, want+1)
		}
		msg.Ack()
	}
}

func TestSubscriberBoundsWhatIsInFlight(t *testing.T) {
	t.Parallel()
	const inFlight = 3
	w := newWork(t, time.Minute)
	w.publish(t, 10)
	cfg := w.config(t, w.js, inFlight)
	cfg.Drain = time.Millisecond
	_, out := subscribe(t, cfg)
	var held []*message.Message
	for range inFlight {
		msg, _ := receive(t, out, "a message")
		held = append(held, msg)
	}
	select {
	case <-out:
		t.Fatalf("message %d is in flight, the bound is %d", inFlight+1, inFlight)
	case <-time.After(300 * time.Millisecond):
	}
	if n := w.info(t).NumAckPending; n != inFlight {
		t.Errorf("%d messages are pulled, want %d: the others belong to other processes", n, inFlight)
	}
	held[0].Ack()
	receive(t, out, "a message in the place of the one that was answered")
}

func TestNack(t *testing.T) {
	t.Parallel()
	w := newWork(t, time.Minute)
	_, out := subscribe(t, w.config(t, w.js, 5))
	w.publish(t, 1)
	msg, _ := receive(t, out, "the message")
	if !msg.Nack() {
		t.Error("Nack was refused")
	}
	msg, _ = receive(t, out, "the refused message")
	if _, n := sequence(t, msg); n != 2 {
		t.Errorf("delivery %d, want 2", n)
	}
	const delay = 700 * time.Millisecond
	began := time.Now()
	if !streams.NackAfter(msg, delay) {
		t.Error("NackAfter was refused")
	}
	msg, _ = receive(t, out, "the message that was put off")
	if took := time.Since(began); took < delay || took > delay+5*time.Second {
		t.Errorf("it came after %s, want %s", took, delay)
	}
	msg.Ack()
	if streams.NackAfter(msg, delay) {
		t.Error("NackAfter of an acked message was accepted")
	}
	foreign := message.NewMessage("x", nil)
	if _, ok := streams.Delivery(foreign); ok {
		t.Error("a message of nobody's has a delivery")
	}
	if !streams.NackAfter(foreign, delay) {
		t.Error("NackAfter of a foreign message was refused")
	}
}

func TestSubscriberDeliversOddMessages(t *testing.T) {
	t.Parallel()
	w := newWork(t, time.Minute)
	_, out := subscribe(t, w.config(t, w.js, 5))
	for name, c := range map[string]struct {
		header   nats.Header
		body     []byte
		uuid     string
		metadata message.Metadata
	}{
		"NoHeader":       {nil, []byte("x"), "", nil},
		"NoBody":         {nil, nil, "", nil},
		"RepeatedHeader": {nats.Header{"A": {"1", "2", "1"}, "B": {"3"}}, []byte("x"), "", message.Metadata{"A": "1", "B": "3"}},
		"RepeatedID":     {nats.Header{"Nats-Msg-Id": {"one", "two"}}, []byte("x"), "one", nil},
		"EmptyValue":     {nats.Header{"A": {""}}, []byte("x"), "", message.Metadata{"A": ""}},
		"OtherCase":      {nats.Header{"nats-msg-id": {"lower"}, "a": {"1"}, "A": {"2"}}, []byte("x"), "", message.Metadata{"nats-msg-id": "lower", "a": "1", "A": "2"}},
		"NotASCII":       {nats.Header{"A": {"献立\x00\xff"}}, []byte("\x00\xff\xfe"), "", message.Metadata{"A": "献立\x00\xff"}},
		"ManyHeaders":    {manyHeaders(1000), []byte("x"), "", nil},
		"LooksLikeAWord": {nats.Header{"Status": {"408"}, "Description": {"Request Timeout"}}, []byte("x"), "", nil},
		"OneMegabyte":    {nil, bytes.Repeat([]byte("0123456789abcdef"), 1<<16), "", nil},
	} {
		msg := &nats.Msg{Subject: topic + ".odd", Header: c.header, Data: c.body}
		if _, err := w.js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, _ := receive(t, out, name)
		if got.UUID != c.uuid || !bytes.Equal(got.Payload, c.body) {
			t.Errorf("%s: came as %q with %d bytes", name, got.UUID, len(got.Payload))
		}
		for key, want := range c.metadata {
			if have, ok := got.Metadata[key]; !ok || have != want {
				t.Errorf("%s: metadata %s is %q, want %q", name, key, have, want)
			}
		}
		raw, _ := streams.Delivery(got)
		for key, want := range c.header {
			if have := raw.Headers()[key]; fmt.Sprint(have) != fmt.Sprint(want) {
				t.Errorf("%s: the delivery has %s = %q, want %q", name, key, have, want)
			}
		}
		got.Ack()
		receive(t, got.Context().Done(), "the end of its context")
	}
	eventually(t, "all is acked", func() bool { return w.info(t).NumAckPending == 0 })
}

// TestSubscriberIsNotStoppedByAForgedStatus publishes what the client library takes for the end of a pull.
func TestSubscriberIsNotStoppedByAForgedStatus(t *testing.T) {
	t.Parallel()
	const good = 20
	w := newWork(t, 5*time.Second) // longer than the pulls that the forged messages cost, or they come again before the others
	for _, status := range []string{"404", "408", "409", "100"} {
		if _, err := w.js.PublishMsg(t.Context(), &nats.Msg{Subject: topic + ".forged", Header: nats.Header{"Status": {status}}}); err != nil {
			t.Fatal(err)
		}
	}
	w.publish(t, good)
	var log lines
	cfg := w.config(t, w.js, 50)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	_, out := subscribe(t, cfg)
	for range good {
		msg, _ := receive(t, out, "a message beside the forged ones")
		if len(msg.Payload) == 0 {
			t.Error("a forged message came: the client library is mended, and the subscriber's care can go")
		}
		msg.Ack()
	}
	if !strings.Contains(log.String(), "header Status") {
		t.Errorf("the log does not name the cause: %s", log.String())
	}
}

func manyHeaders(n int) nats.Header {
	h := nats.Header{}
	for i := range n {
		h[fmt.Sprint("H", i)] = []string{"a", "b"}
	}
	return h
}

// lines collects what is logged.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestSubscribeRefuses(t *testing.T) {
	t.Parallel()
	w := newWork(t, time.Second)
	for name, policy := range map[string]jetstream.AckPolicy{"none": jetstream.AckNonePolicy, "all": jetstream.AckAllPolicy} {
		if _, err := w.js.CreateConsumer(t.Context(), topic, jetstream.ConsumerConfig{Durable: name, AckPolicy: policy}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.js.CreateConsumer(t.Context(), topic, jetstream.ConsumerConfig{
		Durable: "backoff", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 3, BackOff: []time.Duration{time.Millisecond, time.Minute},
	}); err != nil {
		t.Fatal(err)
	}
	good := w.config(t, w.js, 1)
	for name, c := range map[string]struct {
		topic  string
		change func(*streams.SubscriberConfig)
		want   string
	}{
		"NoConsumer":    {"missing", func(*streams.SubscriberConfig) {}, "not found"},
		"AckNone":       {"none", func(*streams.SubscriberConfig) {}, "explicit"},
		"AckAll":        {"all", func(*streams.SubscriberConfig) {}, "explicit"},
		"ShortBackOff":  {"backoff", func(*streams.SubscriberConfig) {}, "waits 1ms"},
		"ShorterWait":   {topic, func(c *streams.SubscriberConfig) { c.AckWait = time.Minute }, "waits 1s"},
		"NoWait":        {topic, func(c *streams.SubscriberConfig) { c.AckWait = 0 }, "cannot work"},
		"NoneAtOnce":    {topic, func(c *streams.SubscriberConfig) { c.InFlight = 0 }, "cannot work"},
		"ShorterIsFine": {topic, func(c *streams.SubscriberConfig) { c.AckWait = 100 * time.Millisecond }, ""},
	} {
		cfg := good
		c.change(&cfg)
		sub := streams.NewSubscriber(cfg)
		_, err := sub.Subscribe(t.Context(), c.topic)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want an error that says %q", name, err, c.want)
		}
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
	}
}

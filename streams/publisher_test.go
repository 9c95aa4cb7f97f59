package streams_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
)

func TestPublisher(t *testing.T) {
	t.Parallel()
	w := newWork(t, time.Minute)
	pub := streams.NewPublisher(w.js)
	msg := message.NewMessage("id-1", []byte("body"))
	msg.Metadata = message.Metadata{
		"Kondate-Schema": "1",
		"Forged":         "a\r\nNats-Msg-Id: other",
		// What a message received before carries is about its own publication.
		"Nats-Expected-Last-Sequence": "99", "Nats-Batch-Id": "b", "Nats-Rollup": "all", "Nats-Msg-Id": "of the first publication",
	}
	for range 2 { // the second is a duplicate
		if err := pub.Publish(topic+".item", msg); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Publish(topic+".item", message.NewMessage("", nil), message.NewMessage("", nil)); err != nil {
		t.Fatal(err)
	}
	stream, err := w.js.Stream(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 3 {
		t.Errorf("%d messages, want the first once and two without an id", n)
	}
	raw, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := nats.Header{jetstream.MsgIDHeader: {"id-1"}, "Kondate-Schema": {"1"}, "Forged": {"a  Nats-Msg-Id: other"}}
	if len(raw.Header) != len(want) || string(raw.Data) != "body" {
		t.Errorf("stored: %q %v", raw.Data, raw.Header)
	}
	for name, values := range want {
		if got := raw.Header[name]; len(got) != 1 || got[0] != values[0] {
			t.Errorf("header %s: %q, want %q", name, got, values)
		}
	}
}

func TestPublisherFails(t *testing.T) {
	t.Parallel()
	w := newWork(t, time.Minute)
	pub := streams.NewPublisher(w.js)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := pub.Publish(topic+".item", message.NewMessageWithContext(ended, "1", nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("in an ended context: %v", err)
	}
	if err := pub.Publish("nobody.listens", message.NewMessage("2", nil)); !errors.Is(err, jetstream.ErrNoStreamResponse) {
		t.Errorf("to no stream: %v", err)
	}
	odd := message.NewMessage("3", nil)
	odd.Metadata.Set("a\r\nb", "x")
	if err := pub.Publish(topic+".item", odd); err == nil {
		t.Error("a header name with a line break was accepted")
	}
	for range 2 {
		if err := pub.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := pub.Publish(topic+".item", message.NewMessage("4", nil)); !errors.Is(err, streams.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if w.nc.IsClosed() {
		t.Error("Close closed a connection that is not its own")
	}
}

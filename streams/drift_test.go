package streams_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/streams"
	"kondate/streams/natstest"
)

// What the next start would make or change is said, and nothing is made or changed by saying so.
func TestDrift(t *testing.T) {
	t.Parallel()
	js := broker(t)
	drift := func(want ...string) {
		t.Helper()
		for range 2 {
			got, err := streams.Drift(t.Context(), js, topology)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("drift: %q, %v; want %q", got, err, want)
			}
		}
	}
	drift("stream MENU_EVENTS is missing")
	ensure(t, js, topology)
	drift()
	stream, err := js.Stream(t.Context(), streams.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	changed := stream.CachedInfo().Config
	changed.Duplicates, changed.MaxBytes = time.Minute, 2<<30
	if _, err := js.UpdateStream(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteConsumer(t.Context(), streams.EventStream, streams.StageConsumer(menu.Allergen)); err != nil {
		t.Fatal(err)
	}
	consumer, err := js.Consumer(t.Context(), streams.RetryStream, streams.RetryConsumer(menu.Task6))
	if err != nil {
		t.Fatal(err)
	}
	waits := consumer.CachedInfo().Config
	waits.AckWait = time.Minute
	if _, err := js.UpdateConsumer(t.Context(), streams.RetryStream, waits); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteObjectStore(t.Context(), streams.ImageBucket); err != nil {
		t.Fatal(err)
	}
	drift(
		"stream MENU_EVENTS has max_bytes 2147483648, the settings say 1073741824",
		"stream MENU_EVENTS has duplicate_window 1m0s, the settings say 2m0s",
		"object store MENU_IMAGES is missing",
		"consumer stage-allergen-v1 is missing",
		"consumer stage-task6-retry-v1 has ack_wait 1m0s, the settings say 30s",
	)
	ensure(t, js, topology)
	drift()
	changed.MaxMsgs = 1000
	if _, err := js.UpdateStream(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	if _, err := streams.Drift(t.Context(), js, topology); err == nil || !errors.As(err, new(*streams.IncompatibleError)) {
		t.Errorf("what a start refuses: %v", err)
	}
}

// A broker that does not answer yet, as a cluster that has no leaders, is waited for.
func TestEnsureWaitsForAnAnswer(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	js, err := jetstream.New(server.Conn(), jetstream.WithDefaultTimeout(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	server.Stop()
	ensured := make(chan error, 1)
	go func() { ensured <- streams.Ensure(t.Context(), js, server.Topology()) }()
	select {
	case err := <-ensured:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(200 * time.Millisecond): // four time-outs
	}
	server.Restart()
	if err := <-ensured; err != nil {
		t.Fatal(err)
	}
}

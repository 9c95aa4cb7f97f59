package streams_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/streams"
)

// topology is the one of the tests below.
var topology = streams.Topology{Replicas: 1, MaxBytes: 1 << 30, AckWait: 30 * time.Second}

// broker starts a server without a topology.
func broker(tb testing.TB) jetstream.JetStream {
	tb.Helper()
	return connect(tb, start(tb, streams.ServerConfig{StoreDir: tb.TempDir()}))
}

func ensure(tb testing.TB, js jetstream.JetStream, t streams.Topology) {
	tb.Helper()
	if err := streams.Ensure(tb.Context(), js, t); err != nil {
		tb.Fatal(err)
	}
}

// inventory returns the stream and its consumers, with the times they were made.
func inventory(tb testing.TB, js jetstream.JetStream) (*jetstream.StreamInfo, map[string]*jetstream.ConsumerInfo) {
	tb.Helper()
	stream, err := js.Stream(tb.Context(), streams.EventStream)
	if err != nil {
		tb.Fatal(err)
	}
	consumers := map[string]*jetstream.ConsumerInfo{}
	list := stream.ListConsumers(tb.Context())
	for info := range list.Info() {
		consumers[info.Name] = info
	}
	if list.Err() != nil {
		tb.Fatal(list.Err())
	}
	return stream.CachedInfo(), consumers
}

func TestEnsure(t *testing.T) {
	t.Parallel()
	js := broker(t)
	ensure(t, js, topology)
	stream, consumers := inventory(t, js)

	c := stream.Config
	if !slices.Equal(c.Subjects, []string{"menu.evt.>"}) || c.Storage != jetstream.FileStorage || c.Compression != jetstream.S2Compression ||
		c.Retention != jetstream.LimitsPolicy || c.Discard != jetstream.DiscardNew || c.MaxBytes != topology.MaxBytes ||
		!c.AllowDirect || !c.AllowAtomicPublish || c.MaxConsumers != streams.MaxConsumers || c.Duplicates != 2*time.Minute || c.Replicas != 1 ||
		c.MaxAge != 0 || c.MaxMsgs != -1 || c.MaxMsgsPerSubject != -1 {
		t.Errorf("the stream is not the one of the design: %+v", c)
	}
	if len(consumers) != 2*menu.StageCount+1 {
		t.Errorf("%d consumers, want %d", len(consumers), 2*menu.StageCount+1)
	}
	if c := consumers[streams.ImageConsumer]; c == nil || !slices.Equal(c.Config.FilterSubjects, []string{"menu.evt.*.*.image.requested"}) || c.Config.MaxDeliver != -1 {
		t.Errorf("the consumer of the requests for pictures: %+v", c)
	}
	for _, stage := range []string{"translation", "description", "allergen", "ingredient", "search_engine", "task6", "task7", "task8"} {
		for name, filter := range map[string]string{"-v1": "menu.evt.*.*.menu.submitted", "-request-v1": "menu.evt.*.*." + stage + ".retry_requested"} {
			info := consumers["stage-"+stage+name]
			if info == nil {
				t.Errorf("stage %s has no consumer stage-%s%s", stage, stage, name)
				continue
			}
			c := info.Config
			if !slices.Equal(c.FilterSubjects, []string{filter}) || c.AckPolicy != jetstream.AckExplicitPolicy || c.AckWait != topology.AckWait ||
				c.MaxAckPending <= 0 || c.MaxDeliver != -1 || c.DeliverPolicy != jetstream.DeliverAllPolicy || c.InactiveThreshold != 0 || c.Durable == "" {
				t.Errorf("the consumer of %s is not as it should be: %+v", stage, c)
			}
		}
	}
}

func TestEnsureTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, streams.ServerConfig{StoreDir: t.TempDir()})
	js := connect(t, s)
	ensure(t, js, topology)
	beforeStream, beforeConsumers := inventory(t, js)

	spy, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(spy.Close)
	heard := make(chan *nats.Msg, 1<<10) // filled before a flush returns, unlike what a callback has seen
	if _, err := spy.ChanSubscribe("$JS.API.>", heard); err != nil {
		t.Fatal(err)
	}
	calls := func() (reads, writes int) {
		t.Helper()
		// The connection of js has been answered; a round trip of the spy's brings what it was sent before.
		if err := spy.FlushTimeout(patience); err != nil {
			t.Fatal(err)
		}
		for {
			select {
			case msg := <-heard:
				switch {
				case strings.Contains(msg.Subject, ".INFO."):
					reads++
				case !strings.Contains(msg.Subject, ".LIST."):
					writes++
				}
			default:
				return reads, writes
			}
		}
	}
	if err := spy.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	for _, again := range []streams.Topology{topology, {Replicas: 1, AckWait: topology.AckWait}} {
		ensure(t, js, again)
		if r, w := calls(); r <= 3*menu.StageCount || w != 0 {
			t.Errorf("Ensure over what is there read %d times and wrote %d times", r, w)
		}
	}
	afterStream, afterConsumers := inventory(t, js)
	if !afterStream.Created.Equal(beforeStream.Created) || afterStream.Config.MaxBytes != beforeStream.Config.MaxBytes {
		t.Errorf("the stream was made at %s and is now from %s", beforeStream.Created, afterStream.Created)
	}
	for name, before := range beforeConsumers {
		if after := afterConsumers[name]; after == nil || !after.Created.Equal(before.Created) {
			t.Errorf("consumer %s was made anew", name)
		}
	}

	changed := topology
	changed.AckWait = time.Second
	ensure(t, js, changed)
	if _, w := calls(); w != 3*menu.StageCount+1 {
		t.Errorf("a new ack wait took %d writes, want %d: the spy does not see writes", w, 3*menu.StageCount+1)
	}
}

// A stage's consumer of an earlier version also got the retries that were asked for. It keeps its place.
func TestEnsureNarrowsAnOlderConsumer(t *testing.T) {
	t.Parallel()
	js := broker(t)
	ensure(t, js, topology)
	name := streams.StageConsumer(menu.Allergen)
	_, consumers := inventory(t, js)
	older := consumers[name].Config
	older.FilterSubjects = append(older.FilterSubjects, "menu.evt.*.*.allergen.retry_requested")
	consumer, err := js.UpdateConsumer(t.Context(), streams.EventStream, older)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := js.Publish(t.Context(), "menu.evt.public.s.menu.submitted", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	msg, err := consumer.Next(jetstream.FetchMaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	if err := msg.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	ensure(t, js, topology)
	_, consumers = inventory(t, js)
	if c := consumers[name]; !slices.Equal(c.Config.FilterSubjects, []string{"menu.evt.*.*.menu.submitted"}) || c.AckFloor.Stream != 1 || c.NumPending != 1 {
		t.Errorf("the consumer filters %v, stands at %d and has %d before it", c.Config.FilterSubjects, c.AckFloor.Stream, c.NumPending)
	}
}

func TestEnsureAppliesWhatMayChange(t *testing.T) {
	t.Parallel()
	js := broker(t)
	ensure(t, js, topology)
	if _, err := js.Publish(t.Context(), "menu.evt.public.s.menu.submitted", []byte("x")); err != nil {
		t.Fatal(err)
	}
	pausedUntil := time.Now().Add(time.Hour).Truncate(time.Second)
	name := streams.StageConsumer(menu.Stages()[0])
	if _, err := js.PauseConsumer(t.Context(), streams.EventStream, name, pausedUntil); err != nil {
		t.Fatal(err)
	}
	ensure(t, js, streams.Topology{Replicas: 1, MaxBytes: 1 << 20, AckWait: time.Second})
	stream, consumers := inventory(t, js)
	if stream.Config.MaxBytes != 1<<20 || stream.State.Msgs != 1 {
		t.Errorf("max_bytes %d with %d messages, want %d with 1", stream.Config.MaxBytes, stream.State.Msgs, 1<<20)
	}
	for name, c := range consumers {
		if c.Config.AckWait != time.Second {
			t.Errorf("consumer %s waits %s for an ack, want 1s", name, c.Config.AckWait)
		}
	}
	if c := consumers[name]; !c.Paused || c.Config.PauseUntil == nil || !c.Config.PauseUntil.Equal(pausedUntil) {
		t.Errorf("a start ended the pause of %s", name)
	}
}

func TestEnsureTakesAShareOfTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	js := connect(t, start(t, streams.ServerConfig{StoreDir: dir}))
	ensure(t, js, streams.Topology{Replicas: 1, StoreDir: dir, AckWait: time.Second})
	stream, _ := inventory(t, js)
	if stream.Config.MaxBytes < 1<<20 {
		t.Errorf("max_bytes %d", stream.Config.MaxBytes)
	}
	if err := streams.Ensure(t.Context(), broker(t), streams.Topology{Replicas: 1, AckWait: time.Second}); err == nil || !strings.Contains(err.Error(), "nats.max_bytes") {
		t.Errorf("no size and no folder: %v, want a sentence about nats.max_bytes", err)
	}
}

func TestEnsureByManyAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	js := connect(t, start(t, streams.ServerConfig{StoreDir: dir}))
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			// Processes measure the free disk at different times, and one may have another ack wait already.
			mine := streams.Topology{Replicas: 1, StoreDir: dir, AckWait: time.Duration(n+1) * time.Second}
			if err := streams.Ensure(t.Context(), js, mine); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, consumers := inventory(t, js); len(consumers) != 2*menu.StageCount+1 {
		t.Errorf("%d consumers, want %d", len(consumers), 2*menu.StageCount+1)
	}
}

func TestEnsureEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := streams.Ensure(ctx, broker(t), topology); !errors.Is(err, context.Canceled) {
		t.Errorf("Ensure in an ended context: %v", err)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	js := broker(t)
	if _, err := streams.Identity(t.Context(), js); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("identity of no stream: %v", err)
	}
	seen := map[string]bool{}
	for range 3 {
		ensure(t, js, topology)
		id, err := streams.Identity(t.Context(), js)
		if err != nil || id == "" || seen[id] || strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyz") != "" {
			t.Errorf("identity %q, %v after %v", id, err, seen)
		}
		seen[id] = true
		if err := js.DeleteStream(t.Context(), streams.EventStream); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBusy(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{
		&jetstream.APIError{Code: 503, ErrorCode: 10008}: true, // it chooses a leader
		jetstream.ErrConsumerNotFound:                    false,
		context.DeadlineExceeded:                         true,
		nats.ErrNoResponders:                             true,
		nats.ErrConnectionClosed:                         false,
	} {
		if got := streams.Busy(fmt.Errorf("look: %w", err)); got != want {
			t.Errorf("Busy(%v) = %v", err, got)
		}
	}
}

package streams_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/streams"
	"kondate/streams/natstest"
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
	if len(consumers) != menu.StageCount+1 {
		t.Errorf("%d consumers, want %d", len(consumers), menu.StageCount+1)
	}
	if c := consumers[streams.ImageConsumer]; c == nil || !slices.Equal(c.Config.FilterSubjects, []string{"menu.evt.*.*.image.requested"}) || c.Config.MaxDeliver != -1 {
		t.Errorf("the consumer of the requests for pictures: %+v", c)
	}
	for _, stage := range []string{"translation", "description", "allergen", "ingredient", "search_engine", "task6", "task7", "task8"} {
		info := consumers["stage-"+stage+"-v1"]
		if info == nil {
			t.Errorf("stage %s has no consumer", stage)
			continue
		}
		c := info.Config
		filters := []string{"menu.evt.*.*.menu.submitted", "menu.evt.*.*." + stage + ".retry_requested"}
		if !slices.Equal(c.FilterSubjects, filters) || c.AckPolicy != jetstream.AckExplicitPolicy || c.AckWait != topology.AckWait ||
			c.MaxAckPending <= 0 || c.MaxDeliver != -1 || c.DeliverPolicy != jetstream.DeliverAllPolicy || c.InactiveThreshold != 0 || c.Durable == "" {
			t.Errorf("the consumer of %s is not the one of the design: %+v", stage, c)
		}
	}
}

func TestEnsureTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, streams.ServerConfig{StoreDir: t.TempDir()})
	js := connect(t, s)
	ensure(t, js, topology)
	beforeStream, beforeConsumers := inventory(t, js)

	var reads, writes atomic.Int64
	spy, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(spy.Close)
	if _, err := spy.Subscribe("$JS.API.>", func(m *nats.Msg) {
		switch {
		case strings.Contains(m.Subject, ".INFO."):
			reads.Add(1)
		case !strings.Contains(m.Subject, ".LIST."):
			writes.Add(1)
		}
	}); err != nil {
		t.Fatal(err)
	}
	calls := func() (int64, int64) {
		// The connection of js has been answered; a round trip of the spy's brings what it was sent before.
		if err := spy.FlushTimeout(patience); err != nil {
			t.Fatal(err)
		}
		deadline := time.After(patience)
		for reads.Load() < 1+menu.StageCount {
			select {
			case <-deadline:
				t.Fatal("the spy sees no calls")
			case <-time.After(time.Millisecond):
			}
		}
		return reads.Swap(0), writes.Swap(0)
	}
	if err := spy.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	for _, again := range []streams.Topology{topology, {Replicas: 1, AckWait: topology.AckWait}} {
		ensure(t, js, again)
		if r, w := calls(); w != 0 {
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
	if _, w := calls(); w != 2*menu.StageCount+1 {
		t.Errorf("a new ack wait took %d writes, want %d: the spy does not see writes", w, 2*menu.StageCount+1)
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

// A broker that reserves less than the log may need says so in words that lead on.
func TestEnsureNamesTheLackOfRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := natstest.Configured(t, dir, "jetstream: {store_dir: "+strconv.Quote(dir)+", max_file_store: 1MB}")
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	err = streams.Ensure(t.Context(), js, streams.Topology{Replicas: 1, MaxBytes: 1 << 30, AckWait: time.Minute})
	if err == nil || !strings.Contains(err.Error(), "lower nats.max_bytes") {
		t.Errorf("error %v, want what to do", err)
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
	if _, consumers := inventory(t, js); len(consumers) != menu.StageCount+1 {
		t.Errorf("%d consumers, want %d", len(consumers), menu.StageCount+1)
	}
}

func TestEnsureRefusesAnotherStream(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*jetstream.StreamConfig){
		"subjects":             func(c *jetstream.StreamConfig) { c.Subjects = []string{"menu.evt.*.*.menu.*"} },
		"storage":              func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"retention":            func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"discard":              func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"max_age":              func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"max_msgs":             func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 },
		"max_msgs_per_subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		"max_msg_size":         func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 },
		"allow_msg_ttl":        func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
		"allow_rollup_hdrs":    func(c *jetstream.StreamConfig) { c.AllowRollup = true },
		"persist_mode": func(c *jetstream.StreamConfig) {
			c.PersistMode, c.AllowAtomicPublish = jetstream.AsyncPersistMode, false
		},
		"no_ack": func(c *jetstream.StreamConfig) { c.NoAck = true },
		"sources": func(c *jetstream.StreamConfig) {
			c.Sources = []*jetstream.StreamSource{{Name: "OTHER"}}
		},
		"subject_transform": func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "menu.evt.>", Destination: "menu.evt.x.>"}
		},
		"deny_purge": func(c *jetstream.StreamConfig) { c.DenyPurge = true },
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			js := broker(t)
			ensure(t, js, topology)
			ours, _ := inventory(t, js)
			theirs := ours.Config
			theirs.Metadata = nil
			change(&theirs)
			if err := js.DeleteStream(t.Context(), theirs.Name); err != nil {
				t.Fatal(err)
			}
			// The server clears the old files after it has answered; until then it cannot make a store in their place.
			eventually(t, "the stream is made anew", func() bool {
				_, err := js.CreateStream(t.Context(), theirs)
				return err == nil
			})
			refused(t, js, "stream MENU_EVENTS", field)
		})
	}
}

func TestEnsureRefusesAnotherConsumer(t *testing.T) {
	t.Parallel()
	name := streams.StageConsumer(menu.Stages()[0])
	for field, change := range map[string]func(*jetstream.ConsumerConfig){
		"filter_subjects":    func(c *jetstream.ConsumerConfig) { c.FilterSubjects = c.FilterSubjects[:1] },
		"ack_policy":         func(c *jetstream.ConsumerConfig) { c.AckPolicy = jetstream.AckAllPolicy },
		"deliver_policy":     func(c *jetstream.ConsumerConfig) { c.DeliverPolicy = jetstream.DeliverNewPolicy },
		"replay_policy":      func(c *jetstream.ConsumerConfig) { c.ReplayPolicy = jetstream.ReplayOriginalPolicy },
		"headers_only":       func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true },
		"max_deliver":        func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 3 },
		"inactive_threshold": func(c *jetstream.ConsumerConfig) { c.InactiveThreshold = time.Hour },
		"mem_storage":        func(c *jetstream.ConsumerConfig) { c.MemoryStorage = true },
		"backoff": func(c *jetstream.ConsumerConfig) {
			c.BackOff = []time.Duration{c.AckWait}
		},
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			js := broker(t)
			ensure(t, js, topology)
			_, consumers := inventory(t, js)
			theirs := consumers[name].Config
			theirs.Metadata = nil
			change(&theirs)
			if err := js.DeleteConsumer(t.Context(), streams.EventStream, name); err != nil {
				t.Fatal(err)
			}
			if _, err := js.CreateConsumer(t.Context(), streams.EventStream, theirs); err != nil {
				t.Fatal(err)
			}
			refused(t, js, "consumer "+name, field)
		})
	}
	t.Run("deliver_subject", func(t *testing.T) {
		t.Parallel()
		js := broker(t)
		ensure(t, js, topology)
		if err := js.DeleteConsumer(t.Context(), streams.EventStream, name); err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreatePushConsumer(t.Context(), streams.EventStream, jetstream.ConsumerConfig{
			Durable: name, DeliverSubject: "elsewhere", FilterSubject: "menu.evt.*.*.menu.submitted", AckPolicy: jetstream.AckExplicitPolicy,
		}); err != nil {
			t.Fatal(err)
		}
		refused(t, js, "consumer "+name, "deliver_subject")
	})
}

// refused checks that Ensure names the difference, and leaves what it refused as it was.
func refused(tb testing.TB, js jetstream.JetStream, what, field string) {
	tb.Helper()
	before, _ := inventory(tb, js)
	err := streams.Ensure(tb.Context(), js, topology)
	incompatible, ok := errors.AsType[*streams.IncompatibleError](err)
	if !ok || incompatible.What != what || incompatible.Field != field || incompatible.Have == incompatible.Want {
		tb.Fatalf("Ensure: %v, want an IncompatibleError about %s of %s", err, field, what)
	}
	for _, part := range []string{what, field, incompatible.Have, incompatible.Want, "remove it"} {
		if !strings.Contains(err.Error(), part) {
			tb.Errorf("the error %q does not say %q", err, part)
		}
	}
	if after, _ := inventory(tb, js); !after.Created.Equal(before.Created) {
		tb.Error("Ensure made the stream anew that it refused")
	}
}

func TestEnsureRefusesSettings(t *testing.T) {
	t.Parallel()
	js := broker(t)
	for name, bad := range map[string]streams.Topology{
		"NoReplicas":    {MaxBytes: 1, AckWait: time.Second},
		"NoAckWait":     {MaxBytes: 1, Replicas: 1},
		"NegativeBytes": {MaxBytes: -1, Replicas: 1, AckWait: time.Second},
		"AloneButThree": {MaxBytes: 1 << 30, Replicas: 3, AckWait: time.Second},
	} {
		if err := streams.Ensure(t.Context(), js, bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := js.Stream(t.Context(), streams.EventStream); !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("%s: a stream was made: %v", name, err)
		}
	}
}

func TestEnsureRefusesASmallPayload(t *testing.T) {
	t.Parallel()
	ns, err := server.NewServer(&server.Options{
		ServerName: "small", NoSigs: true, NoLog: true, DontListen: true, JetStream: true, StoreDir: t.TempDir(), MaxPayload: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	nc, err := nats.Connect("", nats.InProcessServer(ns))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := streams.Ensure(t.Context(), js, topology); err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("a broker with 1 MB messages: %v, want a sentence about max_payload", err)
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

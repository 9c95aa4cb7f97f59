package streams_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/streams"
	"kondate/streams/natstest"
)

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
		"deny_delete": func(c *jetstream.StreamConfig) { c.DenyDelete = true },
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
		"filter_subjects":    func(c *jetstream.ConsumerConfig) { c.FilterSubjects = []string{"menu.evt.*.*.menu.completed"} },
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

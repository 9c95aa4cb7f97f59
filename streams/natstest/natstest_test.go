package natstest_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"kondate/streams"
	"kondate/streams/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServerRestarts(t *testing.T) {
	t.Parallel()
	broker := natstest.NewWith(t, streams.ServerConfig{Listen: "127.0.0.1:0"})
	inside := broker.JetStream()
	outside, err := nats.Connect(broker.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(outside.Close)
	if _, err := inside.Publish(t.Context(), "menu.evt.public.s.menu.submitted", []byte("x")); err != nil {
		t.Fatal(err)
	}
	url := broker.URL()
	broker.Restart()
	if broker.URL() != url {
		t.Errorf("URL %s after a restart, %s before", broker.URL(), url)
	}
	// Both connections are back by themselves; what they send meanwhile waits for that.
	if _, err := outside.Subscribe("ping", func(m *nats.Msg) { _ = m.Respond(nil) }); err != nil {
		t.Fatal(err)
	}
	if err := outside.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := inside.Conn().Request("ping", nil, 10*time.Second); err != nil {
		t.Errorf("from the inside to the outside: %v", err)
	}
	stream, err := inside.Stream(t.Context(), streams.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 1 {
		t.Errorf("%d messages after the restart, want 1", n)
	}
	broker.Stop()
	broker.Stop()
}

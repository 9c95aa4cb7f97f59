package streams_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"kondate/streams"
	"kondate/streams/natstest"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if natstest.RunNode() {
		return
	}
	if role := os.Getenv(childRole); role != "" {
		os.Exit(child(role, os.Getenv(childDir)))
	}
	goleak.VerifyTestMain(m)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// receive waits for the next value; open is false if the channel is closed.
func receive[T any](tb testing.TB, from <-chan T, what string) (v T, open bool) {
	tb.Helper()
	select {
	case v, open = <-from:
		return v, open
	case <-time.After(patience):
		tb.Fatalf("%s did not come in %s", what, patience)
		return v, false
	}
}

// start starts a server that ends with the test.
func start(tb testing.TB, cfg streams.ServerConfig) *streams.Server {
	tb.Helper()
	cfg.Logger = discard()
	s, err := streams.StartServer(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { stop(tb, s) })
	return s
}

func stop(tb testing.TB, s *streams.Server) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		tb.Error(err)
	}
}

// connect opens JetStream on a connection that ends with the test.
func connect(tb testing.TB, s *streams.Server) jetstream.JetStream {
	tb.Helper()
	nc, err := s.Connect()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	return js
}

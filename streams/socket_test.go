package streams_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
)

func TestSocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // short: a test's own folder may be longer than a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	server, err := streams.StartServer(t.Context(), streams.ServerConfig{StoreDir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Shutdown(context.Background()) })
	socket := streams.Socket(filepath.Join(dir, "socket"))
	if err := os.WriteFile(string(socket), nil, 0o600); err != nil { // left by one that was killed
		t.Fatal(err)
	}
	listener, err := socket.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, listener) }()

	nc, err := socket.Connect(nats.MaxReconnects(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := streams.EnsureStream(t.Context(), js, streams.Topology{Replicas: 1, MaxBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	nc.SetDisconnectErrHandler(func(*nats.Conn, error) { close(gone) })
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve returned %v, want the context's error", err)
	}
	select {
	case <-gone:
	case <-time.After(patience):
		t.Error("a connection outlived the socket")
	}
	if _, err := socket.Connect(); err == nil {
		t.Error("a socket that nobody serves took a connection")
	}
}

// Package natstest gives every test a NATS server of its own, in the process and with JetStream on a temporary folder.
package natstest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
)

// AckWait is the ack wait of the stages' consumers in tests.
const AckWait = 2 * time.Second

// Server is one test's server.
type Server struct {
	tb  testing.TB
	cfg streams.ServerConfig

	mu  sync.Mutex // guards srv
	srv *streams.Server
}

// New starts a server with the topology of the log. It ends with the test.
func New(tb testing.TB) *Server {
	tb.Helper()
	return NewWith(tb, streams.ServerConfig{})
}

// NewWith starts a server with settings of the test; an empty StoreDir is a temporary folder, an unset Sync the
// broker's default.
func NewWith(tb testing.TB, cfg streams.ServerConfig) *Server {
	tb.Helper()
	if cfg.StoreDir == "" {
		cfg.StoreDir = tb.TempDir()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{tb: tb, cfg: cfg}
	s.start()
	tb.Cleanup(s.Stop)
	if err := streams.Ensure(tb.Context(), s.JetStream(), s.Topology()); err != nil {
		tb.Fatal(err)
	}
	return s
}

// Topology returns the settings of the streams that New made.
func (s *Server) Topology() streams.Topology {
	return streams.Topology{Replicas: 1, MaxBytes: 1 << 30, AckWait: AckWait}
}

func (s *Server) start() {
	s.tb.Helper()
	srv, err := streams.StartServer(context.WithoutCancel(s.tb.Context()), s.cfg)
	if err != nil {
		s.tb.Fatal(err)
	}
	if url := srv.URL(); url != "" {
		s.cfg.Listen = strings.TrimPrefix(url, "nats://") // the same port after a restart
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.srv = srv
}

// Stop ends the server; connections see it go away and wait for [Server.Restart]. Stopping twice is harmless.
func (s *Server) Stop() {
	s.tb.Helper()
	s.mu.Lock()
	srv := s.srv
	s.srv = nil
	s.mu.Unlock()
	if srv == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.tb.Context()), 30*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		s.tb.Error(err)
	}
}

// Restart stops the server and starts it again on the same store. Connections come back by themselves.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	s.start()
}

// URL returns the address for other programs, empty if the server takes none. A restart keeps it.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.srv.URL()
}

// InProcessConn connects to the server that runs now, so that connections outlive a restart.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv == nil {
		return nil, errors.New("the server is stopped")
	}
	return s.srv.InProcessConn()
}

// Conn returns a connection that closes with the test.
func (s *Server) Conn() *nats.Conn {
	s.tb.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(nc.Close)
	return nc
}

// JetStream returns a JetStream context on a connection that closes with the test.
func (s *Server) JetStream() jetstream.JetStream {
	s.tb.Helper()
	js, err := jetstream.New(s.Conn())
	if err != nil {
		s.tb.Fatal(err)
	}
	return js
}

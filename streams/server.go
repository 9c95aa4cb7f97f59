package streams

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// MinPayload is the smallest payload limit of a broker that the log can live on, in bytes.
	MinPayload = 2 << 20
	// embeddedPayload is the payload limit of the embedded server.
	embeddedPayload = 4 << 20
	// startTimeout bounds the start of the embedded server, recovery of its store included.
	startTimeout = 2 * time.Minute
)

// ServerConfig holds the settings of the embedded server.
type ServerConfig struct {
	StoreDir string       // folder of the log; no two servers may share it
	Sync     SyncPolicy   // when an event counts as stored
	Listen   string       // loopback host:port for other programs; empty: in-process connections only
	Logger   *slog.Logger // required
}

// Server is a NATS server inside this process.
type Server struct {
	ns   *server.Server
	lock *flock.Flock
	sync SyncPolicy
}

// StartServer starts a server on its store, and waits until it is ready.
func StartServer(ctx context.Context, cfg ServerConfig) (*Server, error) {
	opts := &server.Options{
		ServerName: "kondate", NoSigs: true, JetStream: true, StoreDir: cfg.StoreDir, MaxPayload: embeddedPayload,
		DontListen: cfg.Listen == "", SyncAlways: cfg.Sync.always, SyncInterval: cfg.Sync.interval,
		JetStreamLimits: server.JSLimitOpts{DefaultMaxConsumers: maxConsumers},
	}
	if cfg.Listen != "" {
		var err error
		if opts.Host, opts.Port, err = loopback(cfg.Listen); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(cfg.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the embedded NATS: %w", err)
	}
	// The lock is the operating system's: it is gone with the process, however that ends.
	lock := flock.New(filepath.Join(cfg.StoreDir, "lock"))
	switch locked, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock the folder of the embedded NATS: %w", err)
	case !locked:
		return nil, fmt.Errorf("another process runs the embedded NATS in %s: stop it, or use another data dir", cfg.StoreDir)
	}
	s := &Server{lock: lock, sync: cfg.Sync}
	if err := s.start(ctx, opts, cfg.Logger); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, opts *server.Options, log *slog.Logger) error {
	ns, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("configure the embedded NATS: %w", err)
	}
	logger := &serverLog{log: log}
	ns.SetLoggerV2(logger, false, false, false)
	s.ns = ns
	ns.Start()
	ready := make(chan bool, 1)
	go func() { ready <- ns.ReadyForConnections(startTimeout) }()
	select {
	case ok := <-ready:
		if ok && ns.JetStreamEnabled() {
			return nil
		}
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	ns.Shutdown()
	ns.WaitForShutdown()
	return fmt.Errorf("start the embedded NATS in %s: %w", opts.StoreDir, errors.Join(errors.New(logger.lastError()), err))
}

// loopback parses an address and refuses one that other machines reach: the embedded server knows no users.
func loopback(addr string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("nats.listen %q is no host:port: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", 0, fmt.Errorf("nats.listen %q can be reached from other machines, and the embedded NATS knows no users: bind to 127.0.0.1, or run a NATS server of your own and set nats.url", addr)
	}
	if port, err = strconv.Atoi(p); err != nil {
		return "", 0, fmt.Errorf("nats.listen %q: the port is no number: %w", addr, err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// Connect returns a connection inside the process. The caller closes it.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect("", append(opts, nats.InProcessServer(s), nats.MaxReconnects(-1))...)
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded NATS: %w", err)
	}
	return nc, nil
}

// InProcessConn makes the server a [nats.InProcessConnProvider].
func (s *Server) InProcessConn() (net.Conn, error) { return s.ns.InProcessConn() }

// URL returns the address for other programs, empty if the server takes none.
func (s *Server) URL() string {
	if s.ns.Addr() == nil {
		return ""
	}
	return "nats://" + s.ns.Addr().String()
}

// Sync returns the policy the server runs with.
func (s *Server) Sync() SyncPolicy { return s.sync }

// Shutdown stops the server and frees its folder. Connections end.
func (s *Server) Shutdown(ctx context.Context) error {
	s.ns.Shutdown()
	down := make(chan struct{})
	go func() { s.ns.WaitForShutdown(); close(down) }()
	select {
	case <-down:
		return s.lock.Unlock()
	case <-ctx.Done():
		return fmt.Errorf("stop the embedded NATS: %w", context.Cause(ctx))
	}
}

package streams

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// maxPending is what the embedded server buffers for one connection before it cuts it off as too slow: pulls of
	// several consumers with large events may be under way at once.
	maxPending = 256 << 20
	// MinPayload is the smallest payload limit of a broker that the log can live on, in bytes.
	MinPayload = 2 << 20
	// tlsTimeout bounds the handshake of a connection.
	tlsTimeout = 5 * time.Second
	// embeddedPayload is the payload limit of the embedded server.
	embeddedPayload = 4 << 20
	// embeddedStore is the embedded server's own limit of its disk use: none, for every stream has its limit. The
	// server's default, 75 % of the free disk, would refuse the 80 % that the log takes by default.
	embeddedStore = math.MaxInt64 / 2
)

// ServerConfig holds the settings of the embedded server.
type ServerConfig struct {
	StoreDir string       // folder of the log; no two servers may share it
	Sync     SyncPolicy   // when an event counts as stored
	Listen   string       // host:port for other programs; empty: in-process connections only
	Logger   *slog.Logger // required

	// Users are those who may connect by Listen. Nil: there are none, everybody may, and Listen must be a loopback address.
	Users         []User
	ChannelPrefix string      // of live messages; needed only with Users
	TLS           *tls.Config // of Listen; nil: none
}

// Server is a NATS server inside this process.
type Server struct {
	ns   *server.Server
	opts *server.Options // as it was started, for a change of users
	door door
	lock *flock.Flock
	sync SyncPolicy
}

// StartServer starts a server on its store and returns when it is ready. It fails if another server runs on the store,
// if the store holds a stream that cannot be read, or if the address is taken. A start under way is not cut short by
// ctx: the recovery of a store is never left half done.
func StartServer(ctx context.Context, cfg ServerConfig) (*Server, error) {
	opts := &server.Options{
		ServerName: "kondate", NoSigs: true, DisableJetStreamBanner: true, MaxPayload: embeddedPayload,
		JetStream: true, JetStreamMaxStore: embeddedStore, StoreDir: cfg.StoreDir,
		MaxPending: maxPending,
		SyncAlways: cfg.Sync.always, SyncInterval: cfg.Sync.interval,
		DontListen:      cfg.Listen == "",
		JetStreamLimits: server.JSLimitOpts{DefaultMaxConsumers: maxConsumers},
	}
	if cfg.Listen != "" {
		var err error
		if opts.Host, opts.Port, err = listenAddress(cfg.Listen, cfg.Users != nil); err != nil {
			return nil, err
		}
	}
	s := &Server{sync: cfg.Sync, opts: opts}
	if cfg.TLS != nil {
		opts.TLS, opts.TLSConfig, opts.TLSTimeout = true, cfg.TLS, tlsTimeout.Seconds()
		opts.TLSVerify = cfg.TLS.ClientAuth == tls.RequireAndVerifyClientCert
	}
	if cfg.Users != nil {
		var err error
		if s.door, err = openDoor(cfg.ChannelPrefix); err == nil {
			err = s.door.admit(opts, cfg.Users)
		}
		if err != nil {
			return nil, err
		}
	}
	if cfg.StoreDir == "" {
		return nil, errors.New("the embedded NATS needs a folder for its store")
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
	s.lock = lock
	if err := s.start(ctx, opts, cfg.Logger); err != nil {
		return nil, errors.Join(fmt.Errorf("start the embedded NATS in %s: %w", cfg.StoreDir, err), lock.Unlock())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, opts *server.Options, log *slog.Logger) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	guard, err := newGuard(opts.StoreDir)
	if err != nil {
		return err
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("configure it: %w", err)
	}
	s.ns = ns
	logger := newServerLog(ctx, log)
	ns.SetLoggerV2(logger, false, false, false)
	ns.Start()
	if err = logger.fatal(); err == nil {
		err = s.checkStore(ctx, guard, log)
	}
	if err == nil {
		err = s.dropHalfBatch(ctx, log)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = guard.end()
	}
	if err != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
		return errors.Join(err, guard.putBack())
	}
	return nil
}

// checkStore refuses a store of which the server has left out a stream. The server itself only warns about a stream
// that it cannot read, and the topology would then begin a new log over the old one's files.
func (s *Server) checkStore(ctx context.Context, guard *guard, log *slog.Logger) error {
	account, err := s.ns.JszAccount(&server.JSzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT, Streams: true})
	if err != nil {
		return fmt.Errorf("list the streams: %w", err)
	}
	loaded := map[string]bool{}
	for _, stream := range account.Streams {
		loaded[stream.Name] = true
		if lost := stream.State.Lost; lost != nil {
			log.ErrorContext(ctx, "the store is damaged: messages are lost, which the history still holds if they are events (see docs/durability.md)",
				"stream", stream.Name, "messages", len(lost.Msgs), "sequences", ranges(lost.Msgs), "bytes", lost.Bytes)
		}
	}
	for name, held := range guard.held {
		switch {
		case loaded[name]:
		case held:
			return fmt.Errorf("stream %s in %s is damaged and was not loaded: put a backup in place of the folder, or move it away and run kondate restore", name, guard.folder)
		default:
			// The kill of a server that was making it. It never held a message.
			log.WarnContext(ctx, "the making of a stream was cut off, it is made anew", "stream", name)
			if err := os.RemoveAll(filepath.Join(guard.folder, name)); err != nil {
				return fmt.Errorf("remove the unfinished stream %s: %w", name, err)
			}
		}
	}
	return nil
}

// ranges writes sequences as "3, 7-9".
func ranges(seqs []uint64) string {
	var b strings.Builder
	for i := 0; i < len(seqs); {
		end := i
		for end+1 < len(seqs) && seqs[end+1] == seqs[end]+1 {
			end++
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.FormatUint(seqs[i], 10))
		if end > i {
			b.WriteString("-" + strconv.FormatUint(seqs[end], 10))
		}
		i = end + 1
	}
	return b.String()
}

// listenAddress parses an address and refuses one that other machines reach, unless the server asks who they are.
func listenAddress(addr string, users bool) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("nats.listen %q is no host:port: %w", addr, err)
	}
	if ip := net.ParseIP(host); !users && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", 0, fmt.Errorf("nats.listen %q can be reached from other machines, and the embedded NATS has no users: make some (kondate access nats add), or bind to 127.0.0.1", addr)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("nats.listen %q: the port is no number up to 65535: %w", addr, err)
	}
	if n == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(n), nil
}

// Connect returns a connection inside the process. The caller closes it.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	user, err := SeedOption(s.Seed())
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect("", append(opts, user, nats.InProcessServer(s), nats.MaxReconnects(-1))...)
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
	scheme := "nats://"
	if s.opts.TLSConfig != nil {
		scheme = "tls://"
	}
	return scheme + s.ns.Addr().String()
}

const (
	// watchInterval is how often Watch looks at the log, and watchFailures how often in a row it has to be ill.
	watchInterval = time.Second
	watchFailures = 3
)

// Watch returns an error when the log cannot be written any more: a server that could not write (its disk was full) takes
// nothing from then on, though there is room again, until it is started anew. It blocks until then or until ctx ends.
func (s *Server) Watch(ctx context.Context) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for failures := 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		health := s.ns.Healthz(&server.HealthzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT, Stream: EventStream})
		if health.Error == "" {
			failures = 0
			continue
		}
		if failures++; failures == watchFailures {
			return fmt.Errorf("the log cannot be written (%s): make room on its disk and start again; what was acknowledged is there", health.Error)
		}
	}
}

// Sync returns the policy the server runs with.
func (s *Server) Sync() SyncPolicy { return s.sync }

// Shutdown stops the server, then frees its folder. Connections end. If ctx ends first, the server goes on stopping and
// keeps its folder until it has.
func (s *Server) Shutdown(ctx context.Context) error {
	down := make(chan error, 1)
	go func() {
		s.ns.Shutdown()
		s.ns.WaitForShutdown()
		down <- s.lock.Unlock()
	}()
	select {
	case err := <-down:
		return err
	case <-ctx.Done():
		return fmt.Errorf("stop the embedded NATS: %w", context.Cause(ctx))
	}
}

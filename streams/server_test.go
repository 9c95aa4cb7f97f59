package streams_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
	"kondate/streams/natstest"
)

func TestServerWithoutAddressOpensNoSocket(t *testing.T) { //nolint:paralleltest // counts the sockets of the process
	before := listening(t)
	s := start(t, streams.ServerConfig{StoreDir: t.TempDir()})
	connect(t, s)
	if url := s.URL(); url != "" {
		t.Errorf("a server that does not listen has the URL %q", url)
	}
	if after := listening(t); after != before {
		t.Errorf("%d listening sockets, %d before the start", after, before)
	}
	start(t, streams.ServerConfig{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if after := listening(t); after != before+1 {
		t.Errorf("%d listening sockets beside a server that listens, want %d: the check above sees nothing", after, before+1)
	}
}

// listening counts the TCP sockets of this process that take connections.
func listening(tb testing.TB) (n int) {
	tb.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		tb.Fatal(err)
	}
	ours := map[string]bool{}
	for _, fd := range fds {
		if link, err := os.Readlink(fd); err == nil {
			ours[link] = true
		}
	}
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		data, err := os.ReadFile(table)
		if errors.Is(err, os.ErrNotExist) {
			continue // no IPv6 here
		}
		if err != nil {
			tb.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			const state, inode, listen = 3, 9, "0A"
			if f := strings.Fields(line); len(f) > inode && f[state] == listen && ours["socket:["+f[inode]+"]"] {
				n++
			}
		}
	}
	return n
}

func TestServerListens(t *testing.T) {
	t.Parallel()
	s := start(t, streams.ServerConfig{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatalf("connect to %q: %v", s.URL(), err)
	}
	defer nc.Close()
	if got := nc.MaxPayload(); got < streams.MinPayload {
		t.Errorf("payload limit %d, want %d at least", got, streams.MinPayload)
	}
}

func TestServerRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a local socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inTheWay := t.TempDir()
	if err := os.WriteFile(filepath.Join(inTheWay, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg  streams.ServerConfig
		want string
	}{
		"NoFolder":         {streams.ServerConfig{}, "needs a folder"},
		"FolderIsAFile":    {streams.ServerConfig{StoreDir: file}, "make the folder"},
		"FolderBelowAFile": {streams.ServerConfig{StoreDir: filepath.Join(file, "nats")}, "make the folder"},
		"FileInTheWay":     {streams.ServerConfig{StoreDir: inTheWay}, "not a directory"},
		"AllInterfaces":    {streams.ServerConfig{StoreDir: t.TempDir(), Listen: ":4222"}, "other machines"},
		"AnyAddress":       {streams.ServerConfig{StoreDir: t.TempDir(), Listen: "0.0.0.0:4222"}, "other machines"},
		"OtherHost":        {streams.ServerConfig{StoreDir: t.TempDir(), Listen: "nats.example.com:4222"}, "other machines"},
		"NoPort":           {streams.ServerConfig{StoreDir: t.TempDir(), Listen: "127.0.0.1"}, "no host:port"},
		"PortIsAName":      {streams.ServerConfig{StoreDir: t.TempDir(), Listen: "127.0.0.1:nats"}, "port is no number"},
		"PortTooLarge":     {streams.ServerConfig{StoreDir: t.TempDir(), Listen: "127.0.0.1:70000"}, "port is no number"},
		"PortNegative":     {streams.ServerConfig{StoreDir: t.TempDir(), Listen: "127.0.0.1:-1"}, "port is no number"},
		"AddressTaken":     {streams.ServerConfig{StoreDir: t.TempDir(), Listen: taken.Addr().String()}, "in use"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.cfg.Logger = discard()
			began := time.Now()
			s, err := streams.StartServer(t.Context(), c.cfg)
			if err == nil {
				stop(t, s)
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
			if took := time.Since(began); took > patience/2 {
				t.Errorf("the refusal took %s", took)
			}
		})
	}
}

func TestServerStartWithEndedContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cause := errors.New("changed my mind")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := streams.StartServer(ctx, streams.ServerConfig{StoreDir: dir, Logger: discard()}); !errors.Is(err, cause) {
		t.Errorf("start: %v, want %v", err, cause)
	}
	start(t, streams.ServerConfig{StoreDir: dir}) // the folder is free again
}

func TestServerLocksItsStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, streams.ServerConfig{StoreDir: dir})
	_, err := streams.StartServer(t.Context(), streams.ServerConfig{StoreDir: dir, Logger: discard()})
	if err == nil || !strings.Contains(err.Error(), "another process") || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second server on one store: %v, want a refusal that names %s", err, dir)
	}
	stop(t, first)
	start(t, streams.ServerConfig{StoreDir: dir})
}

func TestServerKeepsItsStore(t *testing.T) {
	t.Parallel()
	broker := natstest.New(t)
	js := broker.JetStream()
	for n := range 10 {
		if _, err := js.Publish(t.Context(), "menu.evt.public.s.menu.submitted", fmt.Append(nil, n)); err != nil {
			t.Fatal(err)
		}
	}
	before, err := streams.Identity(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	broker.Restart()
	stream, err := js.Stream(t.Context(), streams.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 10 {
		t.Errorf("%d messages after a restart, want 10", n)
	}
	if after, err := streams.Identity(t.Context(), js); err != nil || after != before {
		t.Errorf("identity %q, %v after a restart, want %q", after, err, before)
	}
}

func TestServerRefusesADamagedStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, streams.ServerConfig{StoreDir: dir})
	js := connect(t, s)
	if err := streams.Ensure(t.Context(), js, streams.Topology{Replicas: 1, MaxBytes: 1 << 30, AckWait: time.Second}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.PublishMsg(t.Context(), kilobyte("s", 0)); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	for _, file := range []string{"meta.sum", "meta.inf"} {
		path := filepath.Join(dir, "jetstream", "$G", "streams", streams.EventStream, file)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
		damaged, err := streams.StartServer(t.Context(), streams.ServerConfig{StoreDir: dir, Logger: discard()})
		if err == nil {
			stop(t, damaged)
			t.Fatalf("the server started with a damaged %s: the next step makes an empty log", file)
		}
		if !strings.Contains(err.Error(), streams.EventStream) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("damaged %s: the error does not say so: %v", file, err)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	js = connect(t, start(t, streams.ServerConfig{StoreDir: dir}))
	if _, err := js.Stream(t.Context(), streams.EventStream); err != nil {
		t.Errorf("after the damage was mended: %v", err)
	}
}

func TestServerSettings(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]struct {
		always   bool
		interval time.Duration
	}{
		"always":  {always: true, interval: 2 * time.Minute},
		"100ms":   {interval: 100 * time.Millisecond},
		"default": {interval: 2 * time.Minute},
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			policy, err := streams.ParseSync(setting)
			if err != nil {
				t.Fatal(err)
			}
			s := start(t, streams.ServerConfig{StoreDir: t.TempDir(), Sync: policy})
			have := streams.StoreConfig(s)
			if have.SyncAlways != want.always || have.SyncInterval != want.interval {
				t.Errorf("the server syncs always=%t interval=%s, want always=%t interval=%s", have.SyncAlways, have.SyncInterval, want.always, want.interval)
			}
			if s.Sync() != policy {
				t.Errorf("Sync() = %s, want %s", s.Sync(), policy)
			}
			if n := streams.DefaultMaxConsumers(s); n != streams.MaxConsumers {
				t.Errorf("default limit of consumers %d, want %d", n, streams.MaxConsumers)
			}
		})
	}
}

func TestServerShutdownTwice(t *testing.T) {
	t.Parallel()
	s := start(t, streams.ServerConfig{StoreDir: t.TempDir()})
	js := connect(t, s)
	stop(t, s)
	stop(t, s)
	if _, err := s.Connect(nats.Timeout(time.Second)); err == nil {
		t.Error("a connection to a server that was stopped")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := js.AccountInfo(ctx); err == nil || errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the stopped server answers: %v", err)
	}
}

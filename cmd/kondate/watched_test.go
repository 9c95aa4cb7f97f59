package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"kondate/streams"
)

// writeAt writes a file in place, with a time of its last change.
func writeAt(t *testing.T, path string, content []byte, at time.Time) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// spoilt is content of the same length that cannot be used.
func spoilt(content []byte) []byte { return append([]byte("x"), content[1:]...) }

// A file of users that cannot be used is told about once and tried again until it can, though it looks the same: the user who
// is no longer in it is connected for as long.
func TestUsersAreTriedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "users.json")
	addUser(t, dir, "ops", "--role", "admin", "--nats-users-file", file)
	without := readFile(t, file)
	_, option := addUser(t, dir, "gone", "--role", "worker", "--stage", "allergen", "--nats-users-file", file)
	logged := &syncBuffer{}
	cfg, err := parseServe("--nats-listen", "127.0.0.1:0", "--nats-users-file", file)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DataDir = dir
	a := &app{cfg: cfg, log: slog.New(slog.NewTextHandler(logged, nil))}
	if err := a.openBroker(t.Context(), a.admitOthers); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	closed := make(chan struct{})
	nc, err := nats.Connect(a.natsURL, option, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	at := time.Now().Add(-time.Hour)
	writeAt(t, file, spoilt(without), at)
	for range 3 {
		a.updateUsers(t.Context())
	}
	if n := strings.Count(logged.String(), "the NATS users stay as they were"); n != 1 || nc.IsClosed() {
		t.Errorf("told %d times, closed %v:\n%s", n, nc.IsClosed(), logged)
	}
	writeAt(t, file, without, at)
	a.updateUsers(t.Context())
	select {
	case <-closed:
	case <-time.After(patience):
		t.Error("the user who was removed is still connected")
	}
	a.updateUsers(t.Context())
	if n := strings.Count(logged.String(), "NATS users read"); n != 1 {
		t.Errorf("the users were read %d times:\n%s", n, logged)
	}
}

// So is a certificate.
func TestCertificateIsTriedAgain(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "http", time.Hour)
	logged := &syncBuffer{}
	p, err := openPair(HTTPConfig{TLSCert: cert, TLSKey: key}.tls(), slog.New(slog.NewTextHandler(logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	first := p.current()
	ca.issue(t, "http", 2*time.Hour)
	next, at := readFile(t, cert), time.Now().Add(-time.Hour)
	writeAt(t, cert, spoilt(next), at)
	for range 3 {
		if p.current() != first {
			t.Error("a broken file changed the certificate")
		}
	}
	if n := strings.Count(logged.String(), "stays as it was"); n != 1 {
		t.Errorf("told %d times:\n%s", n, logged)
	}
	writeAt(t, cert, next, at)
	if now := p.current(); now == first || !bytes.Equal(now.Certificate[0], p.current().Certificate[0]) {
		t.Error("the file was not tried again")
	}
	if n := strings.Count(logged.String(), "TLS certificate read"); n != 1 {
		t.Errorf("the certificate was read %d times:\n%s", n, logged)
	}
}

// makeLog makes the log of a data dir, as a serve leaves it that ended.
func makeLog(t *testing.T) (dir string) {
	t.Helper()
	a := aloneOn(t, t.TempDir())
	if err := streams.Ensure(t.Context(), a.js, streams.Topology{Replicas: 1, MaxBytes: 1 << 28, AckWait: time.Second}); err != nil {
		t.Fatal(err)
	}
	if err := a.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a.cfg.DataDir
}

// aloneOn opens the log of a data dir as commands do. The caller stops it.
func aloneOn(t *testing.T, dir string) *app {
	t.Helper()
	a, err := openLogBeside(t.Context(), Storage{DataDir: dir, NATS: NATSConfig{Sync: "always"}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

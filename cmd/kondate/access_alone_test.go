package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
)

// hasConsumer says whether the log of a data dir has the consumer of the reader team.
func hasConsumer(t *testing.T, dir string) bool {
	t.Helper()
	a := aloneOn(t, dir)
	_, err := a.js.Consumer(t.Context(), streams.EventStream, streams.TeamConsumer("team"))
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Error(err)
	}
	if err := a.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	return err == nil
}

// Beside no serve, a command runs the log for itself: nats.listen and the users are serve's, and what is wrong with them
// is no hindrance to putting it right.
func TestUsersWithoutServe(t *testing.T) {
	t.Parallel()
	dir := makeLog(t)
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	seed := filepath.Join(t.TempDir(), "team.nk")
	reader := []string{"access", "nats", "add", "team", "--role", "reader", "--tenant", "public", "--seed-file", seed}
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	settings := []string{"--nats-listen", "0.0.0.0:" + port, "--nats-users-file", filepath.Join(dir, "users.json"), "--nats-tls-ca", "/does/not/exist", "--nats-tls-cert", "/does/not/exist", "--nats-tls-key", "/does/not/exist"}
	kondateIn(t, dir, exitOK, append(reader, settings...)...)
	if !hasConsumer(t, dir) {
		t.Error("the reader has no consumer")
	}

	// On a data dir without that user, the consumer stays: it is another user's.
	_, stderr := kondateIn(t, dir, exitFailed, "access", "nats", "remove", "team", "--nats-users-file", filepath.Join(dir, "others.json"))
	if !strings.Contains(stderr, "there is no user team") || !hasConsumer(t, dir) {
		t.Errorf("the consumer of a user who is in another file was removed: %s", stderr)
	}
	stdout, _ := kondateIn(t, dir, exitOK, append([]string{"access", "nats", "remove", "team"}, settings...)...)
	if !strings.Contains(stdout, "team.nk") || hasConsumer(t, dir) {
		t.Errorf("the consumer of a user who was removed is there: %s", stdout)
	}
	// Its old seed is in the way of the next one, who is told.
	if _, stderr := kondateIn(t, dir, exitFailed, append(reader, settings...)...); !strings.Contains(stderr, "delete it") || !strings.Contains(stderr, "--seed-file") {
		t.Error(stderr)
	}
	if err := os.Remove(seed); err != nil {
		t.Fatal(err)
	}
	kondateIn(t, dir, exitOK, append(reader, settings...)...)
}

// Of a user who cannot be added, nothing stays.
func TestAddingIsUndone(t *testing.T) {
	t.Parallel()
	dir := makeLog(t)
	seed := filepath.Join(t.TempDir(), "team.nk")
	for name, args := range map[string][]string{
		"NoFolderForUsers": {"--nats-users-file", filepath.Join(dir, "no", "such", "users.json")},
		"NoFolderForSeed":  {"--seed-file", filepath.Join(dir, "no", "such", "team.nk")},
	} {
		kondateIn(t, dir, exitFailed, append([]string{"access", "nats", "add", "team", "--role", "reader", "--tenant", "public", "--seed-file", seed}, args...)...)
		if _, err := os.Stat(seed); err == nil {
			t.Errorf("%s: the seed of nobody is there", name)
		}
		if hasConsumer(t, dir) {
			t.Errorf("%s: the consumer of nobody is there", name)
		}
	}
	// A consumer that was there before is not ours to take.
	kept := filepath.Join(t.TempDir(), "kept.nk")
	add := []string{"access", "nats", "add", "team", "--role", "reader", "--tenant", "public", "--seed-file"}
	kondateIn(t, dir, exitOK, append(add, kept)...)
	kondateIn(t, dir, exitFailed, append(add, seed, "--nats-users-file", filepath.Join(dir, "no", "such", "users.json"))...)
	if !hasConsumer(t, dir) {
		t.Error("the consumer of another user was removed")
	}
}

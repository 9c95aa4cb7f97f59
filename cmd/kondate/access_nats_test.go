package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/streams"
	"kondate/streams/natstest"
)

// kondateIn runs a command with its own data dir and returns what it printed; want is its exit code.
func kondateIn(t *testing.T, dir string, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), environment{
		args: append(args, "--data-dir", dir), getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: &out, stderr: &errs,
	})
	if code != want {
		t.Fatalf("kondate %s: exit %d\n%s%s", strings.Join(args, " "), code, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// addUser makes a user and returns the option to connect as it.
func addUser(t *testing.T, dir, name string, args ...string) (seedFile string, user nats.Option) {
	t.Helper()
	seedFile = filepath.Join(t.TempDir(), name+".nk")
	kondateIn(t, dir, exitOK, append([]string{"access", "nats", "add", name, "--seed-file", seedFile}, args...)...)
	info, err := os.Stat(seedFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the seed: %v, %v", info, err)
	}
	if user, err = nats.NkeyOptionFromSeed(seedFile); err != nil {
		t.Fatal(err)
	}
	return seedFile, user
}

// A whole menu runs on a nats-server of one's own with users: kondate as server, a worker, and a reader, each with the
// rights of its role. Nothing is refused.
func TestMenuRunsWithNATSUsers(t *testing.T) {
	t.Parallel()
	dir, conf := t.TempDir(), t.TempDir()
	server, _ := addUser(t, dir, "kondate", "--role", "server")
	admin, _ := addUser(t, dir, "ops", "--role", "admin")
	_, worker := addUser(t, dir, "their-worker", "--role", "worker", "--stage", "allergen")
	accounts := filepath.Join(conf, "kondate-accounts.conf")
	write := func() {
		text, _ := kondateIn(t, dir, exitOK, "access", "nats", "config")
		if err := os.WriteFile(accounts, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	ns := natstest.Configured(t, conf, "accounts { include ./kondate-accounts.conf }\n")

	logged := &syncBuffer{}
	log := slog.New(slog.NewTextHandler(logged, nil))
	s := startLogged(t, log, allRoles(), nil, "--nats-url", "nats://127.0.0.1:1,"+ns.ClientURL(), "--nats-credentials", server,
		"--stages-allergen-provider", "external", "--processing-retry-delay", "200ms", "--processing-retry-attempts", "50")
	startWorker(t, ns.ClientURL(), worker)
	external := []string{"--nats-url", ns.ClientURL(), "--nats-credentials", admin}
	_, reader := addUser(t, dir, "team", append([]string{"--role", "reader", "--tenant", "public"}, external...)...)
	write()
	for range 2 {
		if err := ns.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := s.client().submit(t.Context(), body(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := follow(t.Context(), s.client(), "/v1/sessions/"+answer.SessionID+"/events"); err != nil {
		t.Fatal(err)
	}
	checkRows(t, s.client(), answer.SessionID, logOf(t, s.log(), answer.SessionID))
	if err := s.client().call(t.Context(), "POST", "/v1/menus/"+string(answer.Items[0].MenuID)+"/image", nil, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	awaitOnStream(t, s.client(), answer.StreamURL, menu.ImageCompleted{}.Type())
	kondateIn(t, s.cfg.DataDir, exitOK, "stages", "list")
	kondateIn(t, s.cfg.DataDir, exitOK, "stages", "pause", "task8")
	kondateIn(t, s.cfg.DataDir, exitOK, "stages", "resume", "task8")
	out, _ := kondateIn(t, s.cfg.DataDir, exitOK, "events", "replay", "--session", answer.SessionID)
	kondateIn(t, s.cfg.DataDir, exitOK, "stages", "conform", "allergen")

	nc, err := nats.Connect(ns.ClientURL(), reader)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.Consumer(t.Context(), streams.EventStream, streams.TeamConsumer("team"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Count(out, "\n")
	batch, err := consumer.Fetch(want, jetstream.FetchMaxWait(patience/4)) // a minute is the most that the consumer takes
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for range batch.Messages() {
		got++
	}
	if got != want || want < 10 {
		t.Errorf("the reader got %d events of %d: %v", got, want, batch.Error())
	}
	if err := s.client().call(t.Context(), "DELETE", "/v1/sessions/"+answer.SessionID, nil, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	kondateIn(t, dir, exitOK, append([]string{"access", "nats", "remove", "team"}, external...)...)
	if _, err := consumer.Info(t.Context()); err == nil {
		t.Error("the consumer of a reader who was removed is still there")
	}
	if text := logged.String(); strings.Contains(text, "NATS says") || strings.Contains(strings.ToLower(text), "permissions violation") {
		t.Errorf("something was refused:\n%s", text)
	}
}

// The NATS inside serve takes the users of the data dir, and changes of them while it runs. Commands beside it need none.
func TestEmbeddedNATSUsers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "users.json")
	_, admin := addUser(t, t.TempDir(), "ops", "--role", "admin", "--nats-users-file", file)
	s := startSystem(t, nil, "--nats-listen", "0.0.0.0:0", "--nats-users-file", file)
	url := strings.Replace(s.broker.URL(), "0.0.0.0", "127.0.0.1", 1)
	if _, err := nats.Connect(url); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("nobody connected: %v", err)
	}
	nc, err := nats.Connect(url, admin)
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	seedFile, reader := addUser(t, s.cfg.DataDir, "team", "--role", "reader", "--tenant", "public")
	waitFor(t, func() bool {
		nc, err := nats.Connect(url, reader)
		if err != nil {
			return false
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		_, err = js.Consumer(t.Context(), streams.EventStream, streams.TeamConsumer("team"))
		return err == nil
	})
	out, _ := kondateIn(t, s.cfg.DataDir, exitOK, "access", "nats", "list", "--json")
	var listed []streams.User
	for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); {
		var u streams.User
		if err := dec.Decode(&u); err != nil {
			t.Fatal(err)
		}
		listed = append(listed, u)
	}
	if len(listed) != 2 || listed[1].Name != "team" || listed[1].Role != streams.RoleReader {
		t.Errorf("the users are %+v", listed)
	}
	seed, err := os.ReadFile(seedFile)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(file); err != nil || bytes.Contains(raw, bytes.TrimSpace(seed)) {
		t.Errorf("the file of users holds a seed: %v", err)
	}
	kondateIn(t, s.cfg.DataDir, exitOK, "access", "nats", "remove", "team")
	waitFor(t, func() bool {
		nc, err := nats.Connect(url, reader)
		if err == nil {
			nc.Close()
		}
		return errors.Is(err, nats.ErrAuthorization)
	})
	answer, err := s.client().submit(t.Context(), body(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	awaitOnStream(t, s.client(), answer.StreamURL, menu.Completed{}.Type())
}

func TestNATSUserErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addUser(t, dir, "ops", "--role", "admin")
	open := filepath.Join(t.TempDir(), "users.json")
	if err := os.WriteFile(open, []byte(`{"users":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o622); err != nil {
		t.Fatal(err)
	}
	there := filepath.Join(t.TempDir(), "there.nk")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"ReaderOfNobody":  {[]string{"add", "x", "--role", "reader"}, exitUsage, "--tenant '*'"},
		"WorkerOfNothing": {[]string{"add", "x", "--role", "worker"}, exitUsage, "stage"},
		"AdminOfATenant":  {[]string{"add", "x", "--role", "admin", "--tenant", "public"}, exitUsage, "takes neither"},
		"BadName":         {[]string{"add", "x.y", "--role", "admin"}, exitUsage, "A-Z a-z 0-9"},
		"Twice":           {[]string{"add", "ops", "--role", "admin"}, exitFailed, "already"},
		"SeedIsThere":     {[]string{"add", "x", "--role", "admin", "--seed-file", there}, exitFailed, "--seed-file"},
		"WritableFile":    {[]string{"list", "--nats-users-file", open}, exitFailed, "chmod 600"},
		"NobodyToRemove":  {[]string{"remove", "y", "--nats-url", "nats://127.0.0.1:1"}, exitFailed, "there is no user y"},
		"NoUsers":         {[]string{"config", "--nats-users-file", there + ".json"}, exitFailed, "access nats add"},
	} {
		_, stderr := kondateIn(t, dir, c.code, append([]string{"access", "nats"}, c.args...)...)
		if !strings.Contains(stderr, c.want) {
			t.Errorf("%s: %s", name, stderr)
		}
	}
	if _, err := os.Stat(there + ".json"); err == nil {
		t.Error("a file of users was made by looking at it")
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kondate/projections/pgtest"
)

// The folder of the log is gone. One command brings the log back, and the server goes on: old sessions are there, new
// ones are taken, a cursor of the lost log gets its reset.
func TestRestoreCommand(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	p := startProcess(t, dir)
	answer, err := p.client().submit(t.Context(), body(t, 20))
	if err != nil {
		t.Fatal(err)
	}
	before, err := follow(t.Context(), p.client(), answer.StreamURL)
	if err != nil {
		t.Fatal(err)
	}
	client := &follower{client: p.client(), url: answer.StreamURL, out: func(string, ...any) {}}
	if err := client.run(t.Context(), func(frame) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := p.kondate("restore"); code != exitFailed || !strings.Contains(stderr, "stop every kondate serve first") {
		t.Errorf("restore beside a running server: %d\n%s", code, stderr)
	}
	p.end()
	if err := os.RemoveAll(filepath.Join(dir, "nats")); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := p.kondate("restore", "--nats-max-bytes", "1GiB")
	if code != exitOK || !strings.Contains(stdout, "All is as the log says.") {
		t.Fatalf("restore: %d\n%s%s", code, stdout, stderr)
	}
	if code, stdout, _ := p.kondate("restore"); code != exitOK || !strings.Contains(stdout, "nothing is to be restored") {
		t.Errorf("a second restore: %d\n%s", code, stdout)
	}

	p = startProcess(t, dir)
	after, err := follow(t.Context(), p.client(), answer.StreamURL)
	if err != nil {
		t.Fatal(err)
	}
	if len(after) != len(before) {
		t.Errorf("the session's stream has %d events, it had %d", len(after), len(before))
	}
	var events []string
	client.client = p.client() // it comes with its cursor of the lost log
	err = client.run(t.Context(), func(f frame) error {
		if f.event == "reset" && !strings.Contains(f.data, `"reason":"other_incarnation"`) {
			t.Errorf("reset says %s", f.data)
		}
		events = append(events, f.event)
		return nil
	})
	if err != nil || events[0] != "reset" || events[1] != "menu.submitted" {
		t.Errorf("a client with a cursor of the lost log gets %v: %v", events, err)
	}
	checkSession(t, p, answer, 20)
	later, err := p.client().submit(t.Context(), body(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	checkSession(t, p, later, 3)
}

// The log has lost its end: the server refuses to start, and says which events and what to do. After that it goes on.
func TestLostEndIsRefused(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	p := startProcess(t, dir)
	answer, err := p.client().submit(t.Context(), body(t, 20))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := follow(t.Context(), p.client(), answer.StreamURL); err != nil {
		t.Fatal(err)
	}
	p.end()
	store := filepath.Join(dir, "nats", "jetstream", "$G", "streams", "MENU_EVENTS", "msgs")
	info, err := os.Stat(filepath.Join(store, "1.blk"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(store, "1.blk"), info.Size()-100); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(store, "index.db")); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := p.refused("serve", "--http-addr", "127.0.0.1:0")
	if code != exitFailed || !strings.Contains(stderr, "the log has lost events ") || !strings.Contains(stderr, "kondate restore") {
		t.Fatalf("serve: %d\n%s", code, stderr)
	}
	code, stdout, stderr := p.kondate("restore")
	if code != exitOK || !strings.Contains(stdout, "All is as the log says.") {
		t.Fatalf("restore: %d\n%s%s", code, stdout, stderr)
	}
	p = startProcess(t, dir)
	checkSession(t, p, answer, 20)
}

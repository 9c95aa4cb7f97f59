package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kondate/domain/menu"
	"kondate/projections/pgtest"
	"kondate/projections/postgres"
	"kondate/streams"
	"kondate/streams/natstest"
)

// procedure is a block of commands of docs/operations.md.
func procedure(t *testing.T, name string) string {
	t.Helper()
	block := regexp.MustCompile("(?s)<!-- " + name + " -->\n```sh\n(.*?)```\n").FindSubmatch(readDeploy(t, "docs/operations.md"))
	if block == nil {
		t.Fatalf("docs/operations.md has no block %s", name)
	}
	return string(block[1])
}

// shell runs commands as an operator would: kondate is on the path, and the settings are in the environment.
func shell(t *testing.T, dir, commands string, env ...string) {
	t.Helper()
	bin := t.TempDir()
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(bin, "kondate")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", commands)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), asProgram+"=1", "PATH="+bin+":"+os.Getenv("PATH")), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, commands, out)
	}
}

// stores are a broker and a Postgres, new and empty.
type stores struct {
	broker   *natstest.Server
	database *postgres.Server
}

func newStores(t *testing.T) stores {
	t.Helper()
	db, err := postgres.Start(t.Context(), postgres.Config{Dir: pgtest.Dir(t), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Stop(context.Background()) }) // the test may have stopped it
	return stores{natstest.NewWith(t, streams.ServerConfig{Listen: "127.0.0.1:0"}), db}
}

func (s stores) serve(t *testing.T) *process {
	t.Helper()
	return startProcess(t, pgtest.Dir(t), "--nats-url", s.broker.URL(), "--database-url", s.database.URL())
}

func (s stores) env() []string {
	return []string{
		"KONDATE_NATS_URL=" + s.broker.URL(), "KONDATE_DATABASE_URL=" + s.database.URL(), "KONDATE_NATS_MAX_BYTES=1GiB",
	}
}

// rowsOf reads a session's dishes, without the places of events in the log: a restored one numbers them anew.
func rowsOf(t *testing.T, cl *client, session string) string {
	t.Helper()
	rows, err := cl.rows(t.Context(), session, 0)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, r := range rows {
		for stage, state := range r.Stages {
			state.Seq = 0
			r.Stages[stage] = state
		}
		fmt.Fprintf(&text, "%s %d %s %v %v %v %s %v\n", r.ID, r.Position, r.Name, deref(r.Price), deref(r.Translation), deref(r.Description), r.ProcessingStatus, r.Stages)
		for _, stage := range menu.Stages() {
			if column := r.Columns[stage]; column != nil {
				fmt.Fprintf(&text, "  %s %s\n", stage, *column)
			}
		}
	}
	return text.String()
}

// TestBackupAndRestore runs what docs/operations.md says, on a running system, and loses both stores.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	old, dir := newStores(t), t.TempDir()
	p := old.serve(t)
	finished := submitted(t, p, 30)
	erased := submitted(t, p, 3)
	for _, s := range []accepted{finished, erased} {
		if _, err := follow(t.Context(), p.client(), s.StreamURL); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.client().call(t.Context(), http.MethodDelete, "/v1/sessions/"+erased.SessionID, nil, new(any)); err != nil {
		t.Fatal(err)
	}
	dish := string(finished.Items[0].MenuID)
	if err := p.client().call(t.Context(), http.MethodPost, "/v1/menus/"+dish+"/image", nil, new(any)); err != nil {
		t.Fatal(err)
	}
	picture(t, p, dish)
	before := rowsOf(t, p.client(), finished.SessionID)
	events, err := follow(t.Context(), p.client(), finished.StreamURL)
	if err != nil {
		t.Fatal(err)
	}
	running := submitted(t, p, 40)
	eventually(t, "the projector to see the last menu", func() error {
		_, err := p.client().rows(t.Context(), running.SessionID, running.Seq)
		return err
	})
	shell(t, dir, procedure(t, "backup"), old.env()...)

	p.kill()
	old.broker.Stop()
	if err := old.database.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	fresh := newStores(t)
	shell(t, dir, procedure(t, "restore"), append(fresh.env(), "KONDATE_DATA_DIR="+t.TempDir())...)
	p = fresh.serve(t)
	if after := rowsOf(t, p.client(), finished.SessionID); after != before {
		t.Errorf("the rows were\n%s\nand are\n%s", before, after)
	}
	again, err := follow(t.Context(), p.client(), finished.StreamURL)
	if err != nil || len(again) != len(events) {
		t.Errorf("the stream has %d events, it had %d: %v", len(again), len(events), err)
	}
	if _, err := follow(t.Context(), p.client(), running.StreamURL); err != nil {
		t.Error(err)
	}
	checkRows(t, p.client(), running.SessionID, logOf(t, p.store(), running.SessionID)) // under new sequences
	if rows, err := p.client().rows(t.Context(), erased.SessionID, 0); err != nil || len(rows) > 0 {
		t.Errorf("the erased session has %d rows, want an answer without any: %v", len(rows), err)
	}
	if err := p.client().call(t.Context(), http.MethodGet, "/v1/menus/"+dish+"/image.png", nil, new(any)); statusOf(err) != http.StatusNotFound {
		t.Errorf("a picture that is in no dump is asked for: %v", err)
	}
	shell(t, dir, procedure(t, "pictures"), append(fresh.env(), "URL="+p.conn.HTTPURL, "KONDATE_KEY=none")...)
	picture(t, p, dish)
	shell(t, dir, "kondate projections verify", append(fresh.env(), "KONDATE_DATA_DIR="+t.TempDir())...)
}

// statusOf returns the status of a refusal; 0: it was none.
func statusOf(err error) int {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.Status
	}
	return 0
}

func submitted(t *testing.T, p *process, dishes int) accepted {
	t.Helper()
	answer, err := p.client().submit(t.Context(), body(t, dishes))
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// picture waits for a dish's picture.
func picture(t *testing.T, p *process, dish string) {
	t.Helper()
	eventually(t, "the picture", func() error {
		_, err := fetch(p.conn.HTTPURL+"/v1/menus/"+dish+"/image.png", "")
		return err
	})
}

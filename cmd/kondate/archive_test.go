package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/projections"
	"kondate/projections/pgtest"
	"kondate/streams"
)

// An archived session has left the log, which is smaller, and nothing else has changed: rows, stream and history are there,
// a repeated submission is not taken for a new one, rebuild and verify agree, and it can be erased.
func TestArchive(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	p := startProcess(t, dir, "--sse-event-history-ttl", "0")
	post := func(dishes int) accepted {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.conn.HTTPURL+"/v1/sessions", bytes.NewReader(body(t, dishes)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", "old")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close() //nolint:errcheck // it is read
		if res.StatusCode != http.StatusAccepted {
			t.Fatal(problemOf(res))
		}
		var answer accepted
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	old := post(20)
	before, err := follow(t.Context(), p.client(), old.StreamURL)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := p.client().rows(t.Context(), old.SessionID, before[len(before)-1])
	if err != nil {
		t.Fatal(err)
	}

	if code, stdout, stderr := p.kondate("archive", "--older-than", "0s", "--dry-run"); code != exitOK || !strings.Contains(stdout, "1 sessions with") {
		t.Fatalf("dry run: %d\n%s%s", code, stdout, stderr)
	}
	db, err := pgx.Connect(t.Context(), p.conn.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.WithoutCancel(t.Context())) })
	for _, harm := range []struct{ do, undo string }{
		{"update public.history set id = id || 'x' where seq = $1", "update public.history set id = left(id, -1) where seq = $1"},
		{"update public.history set seq = seq + 500000 where seq = $1", "update public.history set seq = seq - 500000 where seq = $1 + 500000"},
	} {
		for _, sql := range []string{harm.do, harm.undo} {
			if sql == harm.undo {
				if code, stdout, stderr := p.kondate("archive", "--older-than", "0s"); code != exitFailed || !strings.Contains(stderr, "history") {
					t.Errorf("after %q: %d\n%s%s", harm.do, code, stdout, stderr)
				}
				if left := logOf(t, p.store(), old.SessionID); len(left) != len(before) {
					t.Errorf("after %q: %d of %d events are left in the log", harm.do, len(left), len(before))
				}
			}
			if tag, err := db.Exec(t.Context(), sql, before[2]); err != nil || tag.RowsAffected() != 1 {
				t.Fatalf("%s: %s, %v", sql, tag, err)
			}
		}
	}
	if code, stdout, _ := p.kondate("archive", "--older-than", "1h"); code != exitOK || !strings.Contains(stdout, "nothing to archive") {
		t.Errorf("a young session: %d\n%s", code, stdout)
	}
	code, stdout, stderr := p.kondate("archive", "--older-than", "0s", "--json")
	var result struct {
		Archive archiveReport `json:"archive"`
		Freed   uint64        `json:"freed_bytes"`
	}
	if err := json.Unmarshal([]byte(stdout), &result); err != nil || code != exitOK {
		t.Fatalf("archive: %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if r := result.Archive; r.Sessions != 1 || r.Events != len(before) || r.LastSeq != before[len(before)-1] || result.Freed == 0 {
		t.Errorf("the archive is %+v, freed %d", r, result.Freed)
	}
	file, err := os.Open(result.Archive.File)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	n := 0
	for e, err := range eventstore.ReadArchive(file) {
		if err != nil || e.Err != nil || e.Seq != before[n] {
			t.Fatalf("event %d of the archive is %d: %v, %v", n, e.Seq, err, e.Err)
		}
		n++
	}
	if left := logOf(t, p.store(), old.SessionID); len(left) != 1 || left[0].Type != (menu.Completed{}).Type() {
		t.Errorf("the log holds %d events of the session, want its completion", len(left))
	}

	after, err := follow(t.Context(), p.client(), old.StreamURL)
	if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the stream gives %v, it gave %v: %v", after, before, err)
	}
	again, err := p.client().rows(t.Context(), old.SessionID, 0)
	if err != nil || len(again) != len(rows) {
		t.Errorf("%d rows, there were %d: %v", len(again), len(rows), err)
	}
	if repeat := post(20); repeat.SessionID != old.SessionID || len(repeat.Items) != 20 || repeat.Items[3] != old.Items[3] {
		t.Errorf("a repeated submission is %+v", repeat)
	}
	if left := logOf(t, p.store(), old.SessionID); len(left) != 1 {
		t.Errorf("a repeated submission brought %d events", len(left)-1)
	}
	var refused *problem
	err = p.client().call(t.Context(), http.MethodPost, "/v1/menus/"+string(rows[0].ID)+"/stages/allergen/retry", nil, &struct{}{})
	if !errors.As(err, &refused) || refused.Status != http.StatusConflict || refused.Title != "The session was archived" {
		t.Errorf("a retry: %v", err)
	}
	for _, command := range []string{"rebuild", "verify"} {
		if code, stdout, stderr := p.kondate("projections", command); code != exitOK {
			t.Errorf("%s: %d\n%s%s", command, code, stdout, stderr)
		}
	}
	if code, stdout, _ := p.kondate("archive", "--older-than", "0s"); code != exitOK || !strings.Contains(stdout, "nothing to archive") {
		t.Errorf("archived again: %d\n%s", code, stdout)
	}

	if err := p.client().call(t.Context(), http.MethodDelete, "/v1/sessions/"+old.SessionID, nil, &struct{}{}); err != nil {
		t.Error(err)
	}
	waitFor(t, func() bool {
		left := logOf(t, p.store(), old.SessionID)
		return len(left) == 1 && left[0].Type == (menu.Erased{}).Type()
	})
	if code, stdout, stderr := p.kondate("projections", "verify"); code != exitOK {
		t.Errorf("verify after the erasure: %d\n%s%s", code, stdout, stderr)
	}
}

// unreadable puts a message that nobody can read behind a session's events, and returns its sequence when the rows have it.
func (p *process) unreadable(key menu.Key) uint64 {
	p.t.Helper()
	ack, err := p.js().Publish(p.t.Context(), streams.EventSubject(key, "task6.completed"), []byte("x"))
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.client().rows(p.t.Context(), string(key.Session), ack.Sequence); err != nil {
		p.t.Fatal(err)
	}
	return ack.Sequence
}

// An archive that is killed leaves sessions that it has marked: one of which a part is gone, one that is whole, one that has
// moved on since, by a message that nobody can read, and one that was erased since. The next archive ends what was begun, and
// archives what has moved on as a whole.
func TestArchiveFinishesWhatWasBegun(t *testing.T) {
	t.Parallel()
	p := startProcess(t, pgtest.Dir(t), "--sse-event-history-ttl", "0")
	pool, err := pgxpool.New(t.Context(), p.conn.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	closed := func() projections.Archived {
		t.Helper()
		answer, err := p.client().submit(t.Context(), body(t, 3))
		if err != nil {
			t.Fatal(err)
		}
		seqs, err := follow(t.Context(), p.client(), answer.StreamURL)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.client().rows(t.Context(), answer.SessionID, seqs[len(seqs)-1]); err != nil {
			t.Fatal(err)
		}
		return projections.Archived{Key: menu.Key{Tenant: menu.DefaultTenant, Session: menu.SessionID(answer.SessionID)}, Seqs: seqs, File: "begun"}
	}
	sessions, erased := []projections.Archived{closed(), closed(), closed()}, closed()
	moved := len(sessions) - 1
	sessions[moved].Seqs = append(sessions[moved].Seqs, p.unreadable(sessions[moved].Key))
	last := len(sessions[moved].Seqs) - 1
	sessions[moved].Seqs = sessions[moved].Seqs[:last] // as if the last one had come after the mark
	for _, s := range append(sessions, erased) {
		if err := projections.MarkArchived(t.Context(), pool, s); err != nil {
			t.Fatal(err)
		}
	}
	begun := sessions[0].Seqs
	if err := p.store().Retire(t.Context(), sessions[0].Key, []uint64{begun[0], begun[len(begun)-1]}); err != nil {
		t.Fatal(err)
	}
	if held := logOf(t, p.store(), string(sessions[0].Key.Session)); len(held) != len(begun)-1 {
		t.Fatalf("the log holds %d events of the session that was begun, want %d", len(held), len(begun)-1)
	}
	if err := p.client().call(t.Context(), http.MethodDelete, "/v1/sessions/"+string(erased.Key.Session), nil, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(logOf(t, p.store(), string(erased.Key.Session))) == 1 })

	code, stdout, stderr := p.kondate("archive", "--older-than", "0s")
	if code != exitOK || !strings.HasPrefix(stdout, "3 sessions that an archive before this one") || !strings.Contains(stdout, fmt.Sprintf("\n1 sessions with %d events are in ", last+1)) {
		t.Errorf("archive: %d\n%s%s", code, stdout, stderr)
	}
	for i, s := range sessions {
		if held := logOf(t, p.store(), string(s.Key.Session)); len(held) != 1 || held[0].Type != (menu.Completed{}).Type() {
			t.Errorf("the log holds %d events of session %d, want its completion", len(held), i)
		}
	}
	if left, err := projections.Leaving(t.Context(), pool); err != nil || len(left) > 0 {
		t.Errorf("%d sessions are still leaving: %v", len(left), err)
	}
	if code, stdout, stderr := p.kondate("projections", "verify"); code != exitOK {
		t.Errorf("verify: %d\n%s%s", code, stdout, stderr)
	}
}

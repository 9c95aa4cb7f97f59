package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/projections/pgtest"
)

// stopBound is how long a stop with a session at work may take.
const stopBound = 10 * time.Second

// TestKillNine kills the program in the middle of a session, again and again on one data dir: every accepted session
// completes after the restart, what was acknowledged is in the log, and the rows are a fold of it.
func TestKillNine(t *testing.T) {
	t.Parallel()
	const rounds, dishes = 20, 200
	dir := pgtest.Dir(t)
	var sessions []accepted
	unanswered := 0 // rounds in which the kill found work at hand
	for round := range rounds {
		p := startProcess(t, dir, "--stages-ack-wait", "2s")
		answer, err := p.client().submit(t.Context(), body(t, dishes))
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, p.log)
		}
		sessions = append(sessions, answer)
		time.AfterFunc(time.Duration(rand.IntN(150))*time.Millisecond, p.kill)
		<-p.done

		p = startProcess(t, dir, "--stages-ack-wait", "2s")
		state := menu.Replay(recorded(logOf(t, p.store(), answer.SessionID)))
		if state.Unanswered() > 0 {
			unanswered++
		}
		checkSession(t, p, answer, dishes)
		p.kill()
	}
	t.Logf("the kill found work at hand in %d of %d rounds", unanswered, rounds)
	if unanswered == 0 {
		t.Error("no kill came in time: the test shows nothing")
	}
	p := startProcess(t, dir)
	for _, answer := range sessions {
		checkSession(t, p, answer, dishes)
	}
}

// checkSession waits for a session's end and holds answer, log, stream and rows against each other.
func checkSession(t *testing.T, p *process, answer accepted, dishes int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seqs, err := follow(ctx, p.client(), answer.StreamURL)
	if err != nil {
		t.Fatalf("session %s: %v\n%s", answer.SessionID, err, p.log)
	}
	entries := logOf(t, p.store(), answer.SessionID)
	var logged []uint64
	submitted := map[menu.DishID]bool{}
	for _, e := range entries {
		logged = append(logged, e.Seq)
		if s, ok := e.Event.(menu.Submitted); ok {
			for _, item := range s.Items {
				submitted[item.ID] = true
			}
		}
	}
	if !slices.Equal(seqs, logged) {
		t.Fatalf("session %s: the stream gave %v, the log holds %v", answer.SessionID, seqs, logged)
	}
	if !slices.Contains(logged, answer.Seq) {
		t.Fatalf("session %s was acknowledged at %d, the log has %v", answer.SessionID, answer.Seq, logged)
	}
	for _, item := range answer.Items {
		if !submitted[item.MenuID] {
			t.Fatalf("session %s: dish %s was acknowledged and is not in the log", answer.SessionID, item.MenuID)
		}
	}
	state := menu.Replay(recorded(entries))
	if state.Status != menu.SessionCompleted || state.Unanswered() != 0 || state.ItemCount != dishes {
		t.Fatalf("session %s: %s with %d dishes and %d answers missing", answer.SessionID, state.Status, state.ItemCount, state.Unanswered())
	}
	checkRows(t, p.client(), answer.SessionID, entries)
}

// TestStopWithWorkAtHand asks the program to stop in the middle of a session: it does within ten seconds, says nothing
// of an error, and the next start finishes the session.
func TestStopWithWorkAtHand(t *testing.T) {
	t.Parallel()
	const dishes = 200
	dir := pgtest.Dir(t)
	p := startProcess(t, dir)
	answer, err := p.client().submit(t.Context(), body(t, dishes))
	if err != nil {
		t.Fatal(err)
	}
	asked := time.Now()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("still running after %s\n%s", patience, p.log)
	}
	if took := time.Since(asked); took > stopBound {
		t.Errorf("the stop took %s, want at most %s\n%s", took, stopBound, p.log)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != exitOK {
		t.Fatalf("exit %d\n%s", code, p.log)
	}
	if _, err := os.Stat(connectionFile(dir)); !os.IsNotExist(err) {
		t.Errorf("the connection file outlived its process: %v", err)
	}
	checkSession(t, startProcess(t, dir), answer, dishes)
}

// A stop that comes before the parts have begun ends them too: the HTTP server must not begin after its own shutdown.
func TestStopAtOnce(t *testing.T) {
	t.Parallel()
	cfg, err := parseServe()
	if err != nil {
		t.Fatal(err)
	}
	cfg.DataDir = pgtest.Dir(t)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		a := &app{cfg: cfg, log: slog.New(slog.DiscardHandler)}
		served <- a.serve(ctx, allRoles(), func(running) { cancel() })
	}()
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("a server that was stopped at once still runs")
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/handlers/stage"
)

// always is a provider of all stages that a test scripts.
type always struct {
	answer func(ctx context.Context, r stage.Request) (menu.Result, error)
}

func (always) Name() string    { return "scripted" }
func (always) Version() string { return "1" }
func (a always) Answer(ctx context.Context, r stage.Request) (menu.Result, error) {
	return a.answer(ctx, r)
}

// everywhere puts one provider behind all stages.
func everywhere(p stage.Provider) map[menu.Stage]stage.Provider {
	providers := map[menu.Stage]stage.Provider{}
	for _, s := range menu.Stages() {
		providers[s] = p
	}
	return providers
}

func scriptedResult(r stage.Request) menu.Result {
	return menu.Result{Stage: r.Stage, Status: menu.StatusOK, Provider: "scripted", ProviderVersion: "1", Basis: menu.BasisExact, Confidence: 1, Data: []byte(`{}`)}
}

// kondate runs a command beside the system and returns its output.
func (s *system) kondate(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), environment{
		args: append(args, "--data-dir", s.cfg.DataDir), getenv: func(string) string { return "" },
		stdin: strings.NewReader(""), stdout: &out, stderr: &errs,
	})
	if code != exitOK {
		t.Fatalf("%v: exit %d: %s", args, code, errs.String())
	}
	return out.String()
}

func (s *system) stages(t *testing.T) []stageState {
	t.Helper()
	var got struct {
		Stages    []stageState `json:"stages"`
		Processes int          `json:"processes"`
	}
	if err := json.Unmarshal([]byte(s.kondate(t, "stages", "list", "--json")), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Stages) != menu.StageCount || got.Processes != 1 {
		t.Fatalf("%d stages, %d processes", len(got.Stages), got.Processes)
	}
	return got.Stages
}

// A paused stage takes nothing until somebody resumes it; the others go on. The list says what is going on.
func TestStagesPauseAndResume(t *testing.T) {
	t.Parallel()
	s := startSystem(t, everywhere(always{func(_ context.Context, r stage.Request) (menu.Result, error) {
		if r.Stage == menu.Task6 && r.Attempt == 1 {
			return menu.Result{}, errors.New("not now")
		}
		return scriptedResult(r), nil
	}}), "--processing-retry-delay", "1h")
	if out := s.kondate(t, "stages", "pause", "allergen"); !strings.Contains(out, "allergen is paused until kondate stages resume") {
		t.Error(out)
	}
	s.kondate(t, "stages", "pause", "task7", "--for", "1h")
	answer, err := s.client().submit(t.Context(), body(t, 10))
	if err != nil {
		t.Fatal(err)
	}
	key := menu.Key{Tenant: menu.DefaultTenant, Session: menu.SessionID(answer.SessionID)}
	s.waitFor(t, key, func(session menu.Session) bool {
		done, failed := 0, 0
		for _, d := range session.Dishes {
			for _, st := range d.Stages {
				if st.Answered() {
					done++
				}
				failed += min(st.Attempts, 1)
			}
		}
		return done == 10*(menu.StageCount-3) && failed == 10*(menu.StageCount-2)
	})
	states := s.stages(t)
	for _, st := range []menu.Stage{menu.Allergen, menu.Task7} {
		if got := states[st]; !got.Paused || got.Pending != 1 || got.PausedUntil.IsZero() != (st == menu.Allergen) || got.Calls != 0 {
			t.Errorf("%s: %+v", st, got)
		}
	}
	if got := states[menu.Translation]; got.Paused || got.Pending != 0 || got.Calls != 10 || got.Failed != 0 || got.P99 <= 0 || got.Providers != "scripted" {
		t.Errorf("translation: %+v", got)
	}
	if got := states[menu.Task6]; got.Waiting == 0 || got.Failed != 10 {
		t.Errorf("task6: %+v", got)
	}
	table := s.kondate(t, "stages", "list")
	t.Log("\n" + table)
	if !strings.Contains(table, "paused until") || !strings.Contains(table, "running") {
		t.Error(table)
	}
	s.kondate(t, "stages", "resume", "allergen")
	s.kondate(t, "stages", "resume", "task7")
	s.waitFor(t, key, func(session menu.Session) bool { return session.Unanswered() == 10 })
}

// waitFor follows a session's log until it is as wanted.
func (s *system) waitFor(t *testing.T, key menu.Key, wanted func(menu.Session) bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		session := menu.Replay(recorded(logOf(t, s.log(), string(key.Session))))
		if wanted(session) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("session %s: %d answers are missing", key, session.Unanswered())
		}
	}
}

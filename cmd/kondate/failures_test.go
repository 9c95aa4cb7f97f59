package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"kondate/domain/menu"
	"kondate/handlers/stage"
)

// What a provider refuses is parked and listed; it is retried one by one, by stage, by reason, all at once, and the
// session completes anew.
func TestFailuresAreListedAndRetried(t *testing.T) {
	t.Parallel()
	var mended atomic.Bool
	s := startSystem(t, everywhere(always{func(_ context.Context, r stage.Request) (menu.Result, error) {
		if r.Stage >= menu.Task6 && !mended.Load() {
			return menu.Result{}, &stage.Error{Reason: "refused_by_" + r.Stage.String(), Permanent: true}
		}
		return scriptedResult(r), nil
	}}))
	answer, err := s.client().submit(t.Context(), body(t, 5))
	if err != nil {
		t.Fatal(err)
	}
	key := menu.Key{Tenant: menu.DefaultTenant, Session: menu.SessionID(answer.SessionID)}
	completed := func(round int) {
		t.Helper()
		s.waitFor(t, key, func(session menu.Session) bool {
			return session.Round == round && session.Status == menu.SessionCompleted
		})
		session := menu.Replay(recorded(logOf(t, s.log(), answer.SessionID)))
		if _, err := s.client().rows(t.Context(), answer.SessionID, session.LastSeq); err != nil {
			t.Fatal(err)
		}
	}
	parked := func(args ...string) int {
		t.Helper()
		return strings.Count(s.kondate(t, append([]string{"failures", "list", "--json"}, args...)...), "\n")
	}
	completed(1)
	dish := string(answer.Items[2].MenuID)
	for want, args := range map[int][]string{15: nil, 5: {"--stage", "task7"}, 3: {dish}, 1: {dish, "--reason", "refused_by_task8"}} {
		if got := parked(args...); got != want {
			t.Errorf("%v: %d are parked, want %d", args, got, want)
		}
	}
	table := s.kondate(t, "failures", "list")
	if lines := strings.Split(strings.TrimSpace(table), "\n"); len(lines) != 16 || !strings.Contains(lines[1], "refused_by_task") {
		t.Errorf("\n%s", table)
	}
	if got := metric(t, s, `kondate_parked_dishes{reason="other",stage="task7"}`); got != "5" {
		t.Errorf("the metric of parked dishes is %q", got)
	}
	if got := metric(t, s, `kondate_stage_calls_total{outcome="failed",provider="scripted",stage="task6"}`); got != "5" {
		t.Errorf("the metric of failed calls is %q", got)
	}

	mended.Store(true)
	for i, step := range []struct {
		args []string
		want string
		left int
	}{
		{[]string{dish, "--stage", "task6"}, "1 parked stage is back at work.\n", 14},
		{[]string{dish}, "2 parked stages are back at work.\n", 12},
		{[]string{"--reason", "refused_by_task8"}, "4 parked stages are back at work.\n", 8},
		{[]string{"--all"}, "8 parked stages are back at work.\n", 0},
	} {
		if got := s.kondate(t, append([]string{"failures", "retry"}, step.args...)...); got != step.want {
			t.Errorf("%v: %q, want %q", step.args, got, step.want)
		}
		completed(i + 2)
		if got := parked(); got != step.left {
			t.Errorf("%v: %d are parked, want %d", step.args, got, step.left)
		}
	}
	if got := s.kondate(t, "failures", "retry", "--all"); got != "0 parked stages are back at work.\n" {
		t.Error(got)
	}
	if got := s.kondate(t, "failures", "list"); got != "Nothing is parked.\n" {
		t.Error(got)
	}
	checkRows(t, s.client(), answer.SessionID, logOf(t, s.log(), answer.SessionID))
}

// metric reads one line of /metrics.
func metric(t *testing.T, s *system, name string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.running.HTTPURL+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.client().http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	for line := range strings.Lines(string(raw)) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestFailuresRetryNeedsToKnowWhich(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"failures", "retry"}, {"failures", "retry", "--all", "--stage", "allergen"}} {
		var errs strings.Builder
		code := run(t.Context(), environment{args: args, getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: io.Discard, stderr: &errs})
		if code != exitUsage || !strings.Contains(errs.String(), "--all") {
			t.Errorf("%v: exit %d: %s", args, code, errs.String())
		}
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/sse/load"
	"kondate/projections/pgtest"
)

// benchSSE runs the command.
func benchSSE(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return runBench(t, append([]string{"sse"}, args...)...)
}

// runBench runs a measurement in a process of its own, as it runs others.
func runBench(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"bench"}, args...)...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func measuresOf(t *testing.T, args ...string) map[string]load.Measure {
	t.Helper()
	out, errs, code := benchSSE(t, append(args, "--json")...)
	if code != exitOK {
		t.Fatalf("exit %d\n%s\n%s", code, out, errs)
	}
	var measures []load.Measure
	if err := json.Unmarshal([]byte(out), &measures); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	byName := map[string]load.Measure{}
	for _, m := range measures {
		byName[m.Scenario+": "+m.Name] = m
	}
	return byName
}

func TestBenchSSEOnAServerOfItsOwn(t *testing.T) {
	t.Parallel()
	measures := measuresOf(t, "fanout", "replay", "idle", "--clients", "20", "--sessions", "5", "--rate", "50", "--duration", "500ms")
	for name, want := range map[string]struct{ deliveries, sessions int }{
		"fanout: many sessions":             {20 * (5 + 1), 5},
		"fanout: one session":               {20 * (5 + 1), 1},
		"fanout: full speed":                {20 * 10, 5},
		"replay: from memory, 5000 stored":  {20 * 1000, 5},
		"replay: from history, 5000 stored": {20 * 1000, 5},
		"idle: nothing happens":             {0, 5},
	} {
		m, ok := measures[name]
		if !ok || !m.Sound() || m.Clients != 20 || m.Sessions != want.sessions || m.Deliveries < want.deliveries {
			t.Errorf("%s: %v, %+v", name, ok, m)
		}
		if want.deliveries > 0 && (m.Ratio <= 0 || m.ServerCores <= 0) {
			t.Errorf("%s: the limit and the server's share are missing: %+v", name, m)
		}
	}
	if m := measures["fanout: many sessions"]; m.P50 <= 0 || m.P99 < m.P50 || m.RawP99 <= 0 {
		t.Errorf("latencies are %+v", m)
	}
}

// A server that runs is left as it was: also one whose stages would answer and so end the sessions.
func TestBenchSSEOnARunningServer(t *testing.T) {
	t.Parallel()
	p := startProcess(t, pgtest.Dir(t))
	measures := measuresOf(t, "fanout", "--data-dir", p.dir, "--clients", "10", "--sessions", "2", "--duration", "300ms")
	if m := measures["fanout: many sessions"]; !m.Sound() || m.Deliveries == 0 {
		t.Errorf("got %+v", m)
	}
	last, erased := lastTypes(t, p.store()), 0
	for session, typ := range last {
		if erased++; typ != (menu.Erased{}).Type() {
			t.Errorf("the last event of session %s is %s, want its tombstone", session, typ)
		}
	}
	if erased != 2+1+2 {
		t.Errorf("the log knows %d sessions of the measurement", erased)
	}
	resp, err := http.Get(p.conn.HTTPURL + "/metrics") //nolint:noctx // it answers at once
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Contains(text, []byte("\nkondate_streams_open 0\n")) || !bytes.Contains(text, []byte("\nkondate_streams_opened_total 30\n")) {
		t.Errorf("the metrics of streams are %v\n%s", err, text)
	}
}

// errAll says that a follower has seen all it waited for.
var errAll = errors.New("all are there")

// lastTypes returns the type of each session's newest event.
func lastTypes(t *testing.T, store *eventstore.JetStream) map[menu.SessionID]menu.Type {
	t.Helper()
	end, err := store.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	types := map[menu.SessionID]menu.Type{}
	err = store.Follow(t.Context(), 0, func(_ context.Context, page []eventstore.Entry) error {
		for _, e := range page {
			if types[e.Key.Session] = e.Type; e.Seq >= end {
				return errAll
			}
		}
		return nil
	})
	if !errors.Is(err, errAll) {
		t.Fatal(err)
	}
	return types
}

func TestBenchSSEUsage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"Help":       {[]string{"--help"}, exitOK, "Example: kondate bench sse"},
		"NoScenario": {[]string{"fanuot"}, exitUsage, "choose among fanout, replay, churn, slow, idle"},
		"NoLog":      {[]string{"--url", "http://127.0.0.1:1"}, exitUsage, "add --nats-url"},
		"Negative":   {[]string{"--clients=-1"}, exitUsage, "negative"},
		"NoServer":   {[]string{"--data-dir", t.TempDir()}, exitFailed, "no kondate serve runs on"},
	} {
		out, errs, code := benchSSE(t, test.args...)
		if code != test.code || !strings.Contains(out+errs, test.want) {
			t.Errorf("%s: exit %d\n%s%s", name, code, out, errs)
		}
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"kondate/projections"
)

// kondate runs a command on the data dir of a process and returns its exit code and output.
func (p *process) kondate(args ...string) (code int, stdout, stderr string) {
	p.t.Helper()
	var out, errs bytes.Buffer
	code = run(p.t.Context(), environment{
		args: append(args, "--data-dir", p.dir), getenv: func(string) string { return "" },
		stdin: strings.NewReader(""), stdout: &out, stderr: &errs,
	})
	return code, out.String(), errs.String()
}

// The commands work beside a running server whose broker opens no port, and the server goes on with the new version.
func TestProjectionsCommands(t *testing.T) {
	t.Parallel()
	p := startProcess(t, t.TempDir(), "--nats-listen", "")
	menuFile := "samples/izakaya.json"
	if code, _, stderr := p.kondate("submit", menuFile, "--follow"); code != exitOK {
		t.Fatal(stderr)
	}
	if code, stdout, stderr := p.kondate("projections", "verify"); code != exitOK || !strings.Contains(stdout, "All is as the log says.") {
		t.Fatalf("verify: %d\n%s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := p.kondate("projections", "rebuild"); code != exitOK || !strings.Contains(stdout, "Version 2 is live") {
		t.Fatalf("rebuild: %d\n%s%s", code, stdout, stderr)
	}
	if code, _, stderr := p.kondate("submit", menuFile, "--follow"); code != exitOK {
		t.Fatal(stderr)
	}
	code, stdout, stderr := p.kondate("projections", "status", "--json")
	var status projectionStatus
	if err := json.Unmarshal([]byte(stdout), &status); err != nil || code != exitOK {
		t.Fatalf("status: %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if v := status.Versions; len(v) != 2 || v[0].State != projections.VersionOld || v[1].State != projections.VersionLive || v[1].Seq != status.Last {
		t.Errorf("status is %+v", status)
	}

	beside, err := openBeside(t.Context(), p.storage(), newLogger(p.log, levelQuiet))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := beside.pool.Exec(t.Context(), "update v2.menus set name = 'tampered with' where position = 3"); err != nil {
		t.Fatal(err)
	}
	if err := beside.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr = p.kondate("projections", "verify")
	if code != exitFailed || strings.Count(stdout, "row differs: menus public/") != 2 || !strings.Contains(stderr, "projections rebuild") {
		t.Errorf("verify of damaged rows: %d\n%s%s", code, stdout, stderr)
	}
}

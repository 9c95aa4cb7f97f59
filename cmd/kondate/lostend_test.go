package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kondate/projections/pgtest"
)

// The log has lost events that it will not number again: the broker knows from its index how far it had come, or half a
// batch was left and removed. The server refuses to start and names them, a restore of the end refuses too, and a restore
// into a new log brings everything back.
func TestLostInsideIsRefused(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]struct {
		off     int64 // cut off the block; 0: the block is gone
		noIndex bool
		lost    string
	}{
		"CutBehindTheIndex": {off: 100, lost: "events 2 to 5"},
		"BlockIsGone":       {lost: "events 1 to 5"},
		"HalfABatch":        {off: 100, noIndex: true, lost: "events 2 to 5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := pgtest.Dir(t)
			p := startProcess(t, dir, "--roles", "api,projector") // no stage writes behind the batch
			var answer accepted
			for _, dishes := range []int{20, 350} { // one event, then a batch of four
				var err error
				if answer, err = p.client().submit(t.Context(), body(t, dishes)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := p.client().rows(t.Context(), answer.SessionID, answer.Seq); err != nil {
				t.Fatal(err)
			}
			p.end()
			store := filepath.Join(dir, "nats", "jetstream", "$G", "streams", "MENU_EVENTS", "msgs")
			block := filepath.Join(store, "1.blk")
			info, err := os.Stat(block)
			if err != nil {
				t.Fatal(err)
			}
			if damage.off == 0 {
				err = os.Remove(block)
			} else {
				err = os.Truncate(block, info.Size()-damage.off)
			}
			if err == nil && damage.noIndex {
				err = os.Remove(filepath.Join(store, "index.db"))
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{{"serve", "--http-addr", "127.0.0.1:0"}, {"restore"}} {
				code, stdout, stderr := p.refused(args...)
				if code != exitFailed || !strings.Contains(stderr, "the log has lost "+damage.lost) || !strings.Contains(stderr, "move the folder nats") {
					t.Fatalf("%s: %d\n%s%s", args[0], code, stdout, stderr)
				}
			}
			if err := os.Rename(filepath.Join(dir, "nats"), filepath.Join(dir, "nats.lost")); err != nil {
				t.Fatal(err)
			}
			if code, stdout, stderr := p.kondate("restore", "--nats-max-bytes", "1GiB"); code != exitOK || !strings.Contains(stdout, "All is as the log says.") {
				t.Fatalf("restore: %d\n%s%s", code, stdout, stderr)
			}
			checkSession(t, startProcess(t, dir), answer, 350)
		})
	}
}

// refused is kondate for a command that should end by itself: one that does not is stopped, and then has not failed.
func (p *process) refused(args ...string) (code int, stdout, stderr string) {
	ctx, cancel := context.WithTimeout(p.t.Context(), patience/4)
	defer cancel()
	var out, errs bytes.Buffer
	code = run(ctx, environment{
		args: append(args, "--data-dir", p.dir), getenv: func(string) string { return "" },
		stdin: strings.NewReader(""), stdout: &out, stderr: &errs,
	})
	return code, out.String(), errs.String()
}

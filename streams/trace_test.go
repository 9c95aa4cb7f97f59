package streams_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kondate/streams"
)

// With sync always, an event and a batch are written and fsynced before their acknowledgement goes out. What a program
// does is what its system calls say, so they are traced. This needs strace, which make test installs.
func TestFsyncBeforeAck(t *testing.T) {
	t.Parallel()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd, out := startChild(t, "trace", t.TempDir(), "strace", "-f", "-y", "-s", "256", "-e", "trace=write,writev,pwrite64,fsync,fdatasync", "-o", trace)
	for out.Scan() { // to its end
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("strace (apt-get install strace; it needs ptrace): %v", err)
	}
	raw, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	calls := strings.Split(string(raw), "\n")
	for _, what := range []struct{ name, from, to string }{{"a single event", "mark single", "mark batch"}, {"a batch", "mark batch", "mark end"}} {
		checkFsync(t, what.name, between(t, calls, what.from, what.to))
	}
}

// between returns the calls between two marks on standard output.
func between(t *testing.T, calls []string, from, to string) []string {
	t.Helper()
	first, last := -1, -1
	for i, call := range calls {
		switch {
		case strings.Contains(call, `"`+from+`\n"`):
			first = i
		case strings.Contains(call, `"`+to+`\n"`):
			last = i
		}
	}
	if first < 0 || last < first {
		t.Fatalf("the marks %q and %q are not in the trace of %d calls", from, to, len(calls))
	}
	return calls[first+1 : last]
}

// checkFsync looks for the last write into the log's block, one fsync of it after that, and then the acknowledgement.
func checkFsync(t *testing.T, what string, calls []string) {
	t.Helper()
	block := filepath.Join("streams", streams.EventStream, "msgs", "1.blk")
	written, synced, acked, syncs := -1, -1, -1, 0
	syncing := "" // the thread whose fsync is under way
	for i, call := range calls {
		// A call that another thread interrupts is shown where it began, and again where it returned.
		thread, _, _ := strings.Cut(call, " ")
		name, rest, _ := strings.Cut(call, "(")
		name = name[strings.LastIndexByte(name, ' ')+1:]
		file, _, _ := strings.Cut(rest, ",")
		switch {
		case strings.HasSuffix(name, "sync") && strings.Contains(rest, block):
			syncs++
			if strings.Contains(rest, "unfinished") {
				syncing = thread
			} else {
				synced = i
			}
		case thread == syncing && strings.Contains(call, "sync resumed>"):
			synced, syncing = i, ""
		case strings.Contains(file, block):
			written = i
		case strings.Contains(rest, `\"stream\":\"`+streams.EventStream) && acked < 0 && written >= 0:
			acked = i
		}
	}
	if written < 0 || synced < written || acked < synced {
		t.Errorf("%s: written at call %d, fsynced at %d, acknowledged at %d of\n%s", what, written, synced, acked, strings.Join(calls, "\n"))
	}
	if syncs != 1 {
		t.Errorf("%s: %d fsyncs of the block before the acknowledgement, want one", what, syncs)
	}
}

package streams_test

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"kondate/streams"
	"kondate/streams/natstest"
)

// kills is how often TestKilledInABatch kills a server.
var kills = flag.Int("kills", 12, "how often TestKilledInABatch kills a server")

// A server that is killed at any moment while it takes in batches shows each of them whole after the restart, or nothing of
// it; and every one that was acknowledged.
func TestKilledInABatch(t *testing.T) {
	t.Parallel()
	dir, acked, repaired := t.TempDir(), map[string]bool{}, 0
	for range *kills {
		cmd, out := startChild(t, "batches", dir)
		kill := time.Duration(rand.IntN(60)) * time.Millisecond
		for first := true; out.Scan(); first = false {
			if first {
				time.AfterFunc(kill, func() { _ = cmd.Process.Kill() }) // it may be dead already
			}
			acked[strings.TrimPrefix(out.Text(), "acked ")] = true
		}
		_ = cmd.Wait() // it was killed
		repaired += checkBatches(t, dir, acked)
	}
	t.Logf("%d batches acknowledged, %d kills, %d batches completed at the start", len(acked), *kills, repaired)
}

// The same at chosen moments: the tracer of system calls kills the server at its nth write or fsync.
func TestKilledAtASystemCall(t *testing.T) {
	t.Parallel()
	repaired, acknowledged := 0, 0
	for call, step := range map[string]int{"pwrite64": 17, "fsync": 1} {
		for n := 1; ; n += step {
			dir := t.TempDir()
			inject := fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n)
			cmd, out := startChild(t, "trace", dir, "strace", "-f", "-e", "trace="+call, "-e", inject, "-o", os.DevNull)
			acked := map[string]bool{}
			for out.Scan() {
				switch out.Text() {
				case "mark batch":
					acked["single"] = true
				case "mark end":
					acked["batch"] = true
					acknowledged++
				}
			}
			alive := cmd.Wait() == nil
			repaired += checkBatches(t, dir, acked)
			if alive {
				break // it makes no more calls than that
			}
		}
	}
	t.Logf("%d batches acknowledged, %d completed at the start", acknowledged, repaired)
	if repaired == 0 {
		t.Error("no kill left a batch to complete: the test shows nothing")
	}
}

// checkBatches starts a server on what a killed one left, holds its log against what was acknowledged, and returns how many
// batches the broker completed.
func checkBatches(t *testing.T, dir string, acked map[string]bool) (repaired int) {
	t.Helper()
	log := &natstest.LogBuffer{}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	server, err := streams.StartServer(t.Context(), streams.ServerConfig{StoreDir: dir, Sync: always(), Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, server)
	js := connect(t, server)
	if err := streams.EnsureStream(t.Context(), js, streams.Topology{Replicas: 1, MaxBytes: 1 << 30}); err != nil { // the kill may have come before it
		t.Fatal(err)
	}
	counts := sessions(t, js)
	for session, n := range counts {
		if session != "single" && session != "warm" && n != childBatch {
			t.Errorf("%d of %d messages of the batch %s are in the log\n%s", n, childBatch, session, log)
		}
	}
	for session := range acked {
		if counts[session] == 0 {
			t.Errorf("the acknowledged %s is lost\n%s", session, log)
		}
	}
	return strings.Count(log.String(), "Restoring partial batch write")
}

// sessions counts the messages of each session, through the broker's own reads.
func sessions(t *testing.T, js jetstream.JetStream) map[string]int {
	t.Helper()
	stream, err := js.Stream(t.Context(), streams.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(streams.AllEvents))
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for subject, n := range info.State.Subjects {
		key, _, err := streams.ParseEventSubject(subject)
		if err != nil {
			t.Fatal(err)
		}
		counts[string(key.Session)] += int(n)
	}
	return counts
}

// filled is the folder of a stopped server whose log ends with a batch, after single messages.
func filled(t *testing.T, singles int, batched bool) string {
	t.Helper()
	dir := t.TempDir()
	server := start(t, streams.ServerConfig{StoreDir: dir, Sync: always()})
	js := connect(t, server)
	if err := streams.EnsureStream(t.Context(), js, streams.Topology{Replicas: 1, MaxBytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	for n := range singles {
		if _, err := js.PublishMsg(t.Context(), kilobyte("single", n)); err != nil {
			t.Fatal(err)
		}
	}
	if batched {
		if _, err := jetstreamext.PublishMsgBatch(t.Context(), js, batch("batch")); err != nil {
			t.Fatal(err)
		}
	}
	stop(t, server)
	return dir
}

const messages = "jetstream/$G/streams/" + streams.EventStream + "/msgs"

// cutStore copies a store and cuts bytes off the end of its block, as a power cut may.
func cutStore(t *testing.T, from string, off int64) (dir string, size int64) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	block := filepath.Join(dir, messages, "1.blk")
	info, err := os.Stat(block)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(block, info.Size()-off); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, messages, "index.db")); err != nil { // it is written at an orderly stop
		t.Fatal(err)
	}
	return dir, info.Size()
}

// The broker's staging store is gone as well: half of a batch stands at the end of the log, and is removed at the start.
func TestHalfABatchIsRemoved(t *testing.T) {
	t.Parallel()
	from := filled(t, 3, true)
	for _, off := range []int64{1, 5_000, 50_000, 150_000} {
		t.Run(fmt.Sprint(off), func(t *testing.T) {
			t.Parallel()
			dir, _ := cutStore(t, from, off)
			log := &natstest.LogBuffer{}
			server, err := streams.StartServer(t.Context(), streams.ServerConfig{StoreDir: dir, Logger: slog.New(slog.NewTextHandler(log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer stop(t, server)
			js := connect(t, server)
			if counts := sessions(t, js); counts["batch"] != 0 || counts["single"] != 3 {
				t.Errorf("the log holds %v, want the three messages before the batch", counts)
			}
			if !strings.Contains(log.String(), "a batch without its end") {
				t.Errorf("the start says nothing of it:\n%s", log)
			}
			if _, err := jetstreamext.PublishMsgBatch(t.Context(), js, batch("again")); err != nil {
				t.Errorf("the log takes no batch: %v", err)
			}
		})
	}
}

// A block that was cut at any byte costs the messages behind the cut and no other.
func TestTornBlock(t *testing.T) {
	t.Parallel()
	const singles = 12
	from := filled(t, singles, false)
	_, size := cutStore(t, from, 0)
	record := size / singles // they are alike, but for a digit
	for _, off := range []int64{1, 2, 7, 8, 9, 100, record - 30, record - 1, record, record + 1, 2*record + 20, 3 * record, size - 10} {
		dir, _ := cutStore(t, from, off)
		server := start(t, streams.ServerConfig{StoreDir: dir})
		stream, err := connect(t, server).Stream(t.Context(), streams.EventStream)
		if err != nil {
			t.Fatal(err)
		}
		lost := uint64((off + record - 1) / record)
		if state := stream.CachedInfo().State; state.LastSeq+lost < singles || state.LastSeq >= singles || state.Msgs != state.LastSeq {
			t.Errorf("with %d bytes cut off, %d messages are there up to %d, want at least %d", off, state.Msgs, state.LastSeq, singles-lost)
		}
		for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
			msg, err := stream.GetMsg(t.Context(), seq)
			if err != nil || string(msg.Data) != fmt.Sprintf("%-1000d", seq-1) {
				t.Errorf("with %d bytes cut off, message %d is not what it was: %v", off, seq, err)
			}
		}
		stop(t, server)
	}
}

// A byte that turned in the middle of a block is noticed: what is shown is what was written, and the start names what
// is lost.
func TestFlippedByte(t *testing.T) {
	t.Parallel()
	const singles = 12
	dir, size := cutStore(t, filled(t, singles, false), 0)
	block := filepath.Join(dir, messages, "1.blk")
	raw, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	raw[size/2] ^= 0x40
	if err := os.WriteFile(block, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	log := &natstest.LogBuffer{}
	server, err := streams.StartServer(t.Context(), streams.ServerConfig{StoreDir: dir, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, server)
	stream, err := connect(t, server).Stream(t.Context(), streams.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	state := stream.CachedInfo().State
	t.Logf("%d messages, %d to %d\n%s", state.Msgs, state.FirstSeq, state.LastSeq, log)
	shown := 0
	for seq := uint64(1); seq <= singles; seq++ {
		msg, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			continue
		}
		if shown++; string(msg.Data) != fmt.Sprintf("%-1000d", seq-1) {
			t.Errorf("message %d is not what it was", seq)
		}
	}
	if shown == singles {
		t.Error("every message is there: the test turned no byte that matters")
	}
}

// A disk that is full refuses, the server says that it has to be started again, and then everything that was acknowledged
// is there and more is taken.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd, out := startChild(t, "full", dir)
	acked := map[uint64]int{}
	refused, watch := 0, ""
	for out.Scan() {
		var n int
		var seq uint64
		switch line := out.Text(); {
		case strings.HasPrefix(line, "acked"):
			if _, err := fmt.Sscanf(line, "acked %d %d", &n, &seq); err != nil {
				t.Fatal(err)
			}
			acked[seq] = n
		case strings.HasPrefix(line, "refused"):
			refused++
		default:
			watch = line
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if refused == 0 || len(acked) == 0 {
		t.Fatalf("%d acknowledged, %d refused: the disk was not full", len(acked), refused)
	}
	if !strings.Contains(watch, "make room on its disk and start again") {
		t.Errorf("the server says %q", watch)
	}
	js := connect(t, start(t, streams.ServerConfig{StoreDir: dir}))
	stream, err := js.Stream(t.Context(), streams.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	for seq, n := range acked {
		msg, err := stream.GetMsg(t.Context(), seq)
		if err != nil || string(msg.Data) != fmt.Sprintf("%-1000d", n) {
			t.Errorf("the acknowledged message %d is not there: %v", seq, err)
		}
	}
	if _, err := js.PublishMsg(t.Context(), kilobyte("room", 0)); err != nil {
		t.Errorf("after the start the log takes nothing: %v", err)
	}
}

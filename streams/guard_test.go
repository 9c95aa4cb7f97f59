package streams_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kondate/streams"
)

// A byte that turned in a block that was sealed long ago keeps the broker from loading the stream, and it removes all of its
// files. The start refuses, and the files are there: also after a start that was killed in between.
func TestFlippedByteInASealedBlock(t *testing.T) {
	t.Parallel()
	const singles = 20_000 // some blocks
	dir := t.TempDir()
	server := start(t, streams.ServerConfig{StoreDir: dir})
	js := connect(t, server)
	if err := streams.EnsureStream(t.Context(), js, streams.Topology{Replicas: 1, MaxBytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	for n := range singles {
		if _, err := js.PublishMsgAsync(kilobyte("single", n)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	stop(t, server)
	good := blocks(t, dir)
	if len(good) < 2 {
		t.Fatalf("the log has %d blocks, want some that are sealed", len(good))
	}
	first := filepath.Join(dir, messages, "1.blk")
	damaged := bytes.Clone(good["1.blk"])
	damaged[len(damaged)/2] ^= 0x40
	if err := os.WriteFile(first, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	refused := func(when string) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, messages, "index.db")); err != nil && !os.IsNotExist(err) && when != "killed while it loaded" {
			t.Fatal(err) // an orderly stop writes it, and a broker that has it reads the blocks later
		}
		s, err := streams.StartServer(t.Context(), streams.ServerConfig{StoreDir: dir, Logger: discard()})
		if err == nil {
			stop(t, s)
			t.Fatalf("%s: a server started without the stream", when)
		}
		if !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), "kondate restore") {
			t.Errorf("%s: %v", when, err)
		}
		left := blocks(t, dir)
		for name, raw := range good {
			if name != "1.blk" && !bytes.Equal(left[name], raw) {
				t.Errorf("%s: the block %s is not what it was", when, name)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "guard")); !os.IsNotExist(err) {
			t.Errorf("%s: the guard is left: %v", when, err)
		}
	}
	refused("a byte has turned")
	refused("a second time")

	// As if the program had been killed after the broker removed the stream: the guard is there, the stream is not.
	stored := filepath.Join(dir, "jetstream", "$G", "streams", streams.EventStream)
	if err := os.MkdirAll(filepath.Join(dir, "guard"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(stored, filepath.Join(dir, "guard", streams.EventStream)); err != nil {
		t.Fatal(err)
	}
	refused("killed while it loaded")

	if err := os.WriteFile(first, good["1.blk"], 0o600); err != nil { // a backup of the block is found
		t.Fatal(err)
	}
	stream, err := connect(t, start(t, streams.ServerConfig{StoreDir: dir})).Stream(t.Context(), streams.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	if state := stream.CachedInfo().State; state.Msgs != singles {
		t.Errorf("%d messages are there, want %d", state.Msgs, singles)
	}
}

// blocks reads the blocks of a log.
func blocks(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, messages, "*.blk"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]byte{}
	for _, name := range names {
		if found[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

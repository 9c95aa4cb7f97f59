package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBesideNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "no-such")
	_, err := openBeside(t.Context(), Storage{DataDir: dir, NATS: NATSConfig{Sync: "always"}}, slog.New(slog.DiscardHandler))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a data dir that does not exist: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data dir was made: %v", err)
	}
}

// A command finds the broker and the database of the serve that runs on its data dir, though that opens no port; beside
// none, it opens them itself.
func TestBeside(t *testing.T) {
	t.Parallel()
	for name, deep := range map[string]string{"Short": "", "PathTooLongForASocket": strings.Repeat("d", 100)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), deep)
			p := startProcess(t, dir, "--nats-listen", "")
			if p.conn.NATSURL != "" {
				t.Fatalf("the embedded NATS listens on %s", p.conn.NATSURL)
			}
			storage := p.storage()
			beside, err := openBeside(t.Context(), storage, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if beside.broker != nil || beside.private != nil {
				t.Error("a broker or a database was started beside the running ones")
			}
			if err := beside.pool.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			if err := beside.stop(t.Context()); err != nil {
				t.Error(err)
			}

			p.kill() // its connection file stays
			alone, err := openBeside(t.Context(), storage, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if alone.broker == nil || alone.private == nil {
				t.Error("a killed server's broker and database were taken for running ones")
			}
			if err := alone.stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

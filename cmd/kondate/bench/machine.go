package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats-server/v2/server"
)

// Machine is what figures were measured on.
type Machine struct {
	CPU      string  `json:"cpu"`
	Cores    int     `json:"cores"`
	Memory   uint64  `json:"memory_bytes"` // 0: unknown
	OS       string  `json:"os"`
	Fsync    Range   `json:"fsync_ms"` // of 4 KiB, in the folder that is measured in; the largest is the 99th percentile
	Go       string  `json:"go"`
	NATS     string  `json:"nats"`
	Postgres string  `json:"postgres"`
	Busy     float64 `json:"load_before"` // processes that wanted a processor in the last minute
}

// fsyncs is how often the disk is asked.
const fsyncs = 200

// LookAt describes the machine.
func LookAt(ctx context.Context, s Settings) (Machine, error) {
	m := Machine{
		CPU: "unknown", Cores: runtime.GOMAXPROCS(0), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), NATS: server.VERSION,
	}
	if model := field("/proc/cpuinfo", "model name"); model != "" {
		m.CPU = model
	}
	var kib uint64
	if _, err := fmt.Sscan(field("/proc/meminfo", "MemTotal"), &kib); err == nil {
		m.Memory = kib << 10
	}
	if raw, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(raw), &m.Busy) // 0: unknown
	}
	var err error
	if m.Fsync, err = fsyncLatency(s.Dir); err == nil {
		m.Postgres, err = postgresVersion(ctx, s)
	}
	return m, err
}

// postgresVersion asks the server that would be started: of several on the machine, only it knows which.
func postgresVersion(ctx context.Context, s Settings) (version string, err error) {
	db, err := startDatabase(ctx, s)
	if err != nil {
		return "", err
	}
	defer func() { err = closed(ctx, err, db) }()
	conn, err := pgx.Connect(ctx, db.url)
	if err != nil {
		return "", fmt.Errorf("connect to Postgres: %w", err)
	}
	defer conn.Close(ctx) //nolint:errcheck // it was only read
	if err := conn.QueryRow(ctx, "show server_version").Scan(&version); err != nil {
		return "", fmt.Errorf("ask Postgres for its version: %w", err)
	}
	return version, nil
}

// field reads a line "name : value" of a file of the kernel; empty if there is none.
func field(path, name string) string {
	f, err := os.Open(path) //nolint:gosec // one of the kernel's
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // it was only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func fsyncLatency(dir string) (r Range, err error) {
	f, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return r, fmt.Errorf("measure the disk: %w", err)
	}
	defer func() {
		_ = f.Close() // what it holds is of no worth
		_ = os.Remove(f.Name())
	}()
	block, took := make([]byte, 4<<10), make([]float64, fsyncs)
	for i := range took {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return r, fmt.Errorf("measure the disk: %w", err)
		}
		if err := f.Sync(); err != nil {
			return r, fmt.Errorf("measure the disk: %w", err)
		}
		took[i] = time.Since(began).Seconds() * 1000
	}
	return Range{Min: Quantile(took, 0), Median: Quantile(took, 0.5), Max: Quantile(took, 0.99)}, nil
}

// String is the head of a table.
func (m Machine) String() string {
	return fmt.Sprintf("%d cores of %s, %s, %s; fsync of 4 KiB %.2f ms (%.2f to %.2f)\n%s, NATS %s, Postgres %s; %.1f processes wanted a processor in the minute before",
		m.Cores, m.CPU, humanize.IBytes(m.Memory), m.OS, m.Fsync.Median, m.Fsync.Min, m.Fsync.Max, m.Go, m.NATS, m.Postgres, m.Busy)
}

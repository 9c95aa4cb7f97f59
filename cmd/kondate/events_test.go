package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
)

// The three formats hold the same events, and these are the session's stream.
func TestEventsReplay(t *testing.T) {
	t.Parallel()
	p := startProcess(t, t.TempDir(), "--nats-listen", "")
	answer, err := p.client().submit(t.Context(), body(t, 20))
	if err != nil {
		t.Fatal(err)
	}
	want, err := follow(t.Context(), p.client(), answer.StreamURL)
	if err != nil {
		t.Fatal(err)
	}
	reach := func(args ...string) (string, string) {
		t.Helper()
		code, stdout, stderr := p.kondate(append([]string{"events", "replay"}, args...)...)
		if code != exitOK {
			t.Fatalf("%v: %d\n%s", args, code, stderr)
		}
		return stdout, stderr
	}
	waitFor(t, func() bool { out, _ := reach(); return strings.Count(out, "\n") == len(want) })

	out, summary := reach("--session", answer.SessionID)
	var seqs []uint64
	data := map[uint64]string{}
	for line := range strings.Lines(out) {
		var e storedEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, e.Seq)
		data[e.Seq] = string(e.Data)
	}
	if !slices.Equal(seqs, want) || !strings.HasPrefix(summary, fmt.Sprintf("%d events, ", len(want))) {
		t.Errorf("replayed %v, want %v; %s", seqs, want, summary)
	}

	out, _ = reach("--format", "csv")
	cells, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(cells) != len(want)+1 {
		t.Fatalf("%d lines of CSV: %v", len(cells), err)
	}
	for i, row := range cells[1:] {
		if row[0] != strconv.FormatUint(want[i], 10) || row[6] != data[want[i]] || row[5] != answer.SessionID {
			t.Errorf("line %d is %v", i+2, row)
		}
	}

	file := filepath.Join(t.TempDir(), "events.parquet")
	reach("--format", "parquet", "--output", file)
	rows, err := parquet.ReadFile[parquetRow](file)
	if err != nil || len(rows) != len(want) {
		t.Fatalf("%d rows of Parquet: %v", len(rows), err)
	}
	for i, row := range rows {
		if row.Seq != int64(want[i]) || row.Data != data[want[i]] || row.Time.Location() != time.UTC && row.Time.UTC() != row.Time || row.Tenant != "public" {
			t.Errorf("row %d is %+v", i, row)
		}
	}
	if out, _ := reach("--type", "allergen.*", "--limit", "1"); strings.Count(out, "\n") != 1 || !strings.Contains(out, `"type":"allergen.completed"`) {
		t.Errorf("allergens: %s", out)
	}

	dir := t.TempDir()
	for _, args := range [][]string{
		{"--type", "allergen"},
		{"--since", "yesterday"},
		{"--session", "a.b"},
		{"--limit", "-1"},
		{"--format", "xml"},
		{"--output", filepath.Join(dir, "no-such-folder", "x")},
	} {
		if code, _, stderr := p.kondate(append([]string{"events", "replay"}, args...)...); code != exitUsage || stderr == "" {
			t.Errorf("%v: %d\n%s", args, code, stderr)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%d files are left of exports that failed: %v", len(left), err)
	}
}

// A tail writes what comes, from the next event on.
func TestEventsTail(t *testing.T) {
	t.Parallel()
	p := startProcess(t, t.TempDir(), "--nats-listen", "")
	if code, _, stderr := p.kondate("submit", "samples/izakaya.json", "--follow"); code != exitOK {
		t.Fatal(stderr)
	}
	ctx, stop := context.WithCancel(t.Context())
	var out, errs syncBuffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, environment{
			args: []string{"events", "tail", "--type", "menu.*", "--data-dir", p.dir}, getenv: func(string) string { return "" },
			stdin: strings.NewReader(""), stdout: &out, stderr: &errs,
		})
	}()
	var sessions []string
	waitFor(t, func() bool { // until it is there, sessions pass it by
		answer, err := p.client().submit(t.Context(), body(t, 1))
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, answer.SessionID)
		return strings.Contains(out.String(), `"menu.completed"`)
	})
	last := sessions[len(sessions)-1]
	waitFor(t, func() bool { return strings.Count(out.String(), last) == 2 }) // submitted, completed
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("exit %d: %s", code, errs.String())
	}
	for line := range strings.Lines(out.String()) {
		if !strings.Contains(line, `"type":"menu.`) {
			t.Errorf("a line that nobody asked for: %s", line)
		}
	}
}

// At the original speed an event waits as long as it did then, and what came before it is written meanwhile.
func TestPace(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	x := newExporter(formatNDJSON, &out)
	event := func(seq uint64) eventstore.Envelope {
		return eventstore.Envelope{Seq: seq, Type: "menu.completed", Version: 1, Data: []byte("{}")}
	}
	p := pace{original: true}
	start := menutest.Start()
	for i, at := range []time.Time{start, start.Add(-time.Hour), start.Add(-time.Hour)} { // a clock that is behind makes no pause
		if err := p.wait(t.Context(), at, x.flush); err != nil {
			t.Fatal(err)
		}
		if err := x.write(event(uint64(i))); err != nil {
			t.Fatal(err)
		}
	}
	if out.Len() > 0 {
		t.Error("lines are handed over one by one without a pause")
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- p.wait(ctx, start, func() error { defer stop(); return x.flush() }) // an hour later
	}()
	if err := <-ended; err == nil {
		t.Error("an hour passed at once")
	}
	if bytes.Count(out.Bytes(), []byte("\n")) != 3 {
		t.Errorf("before the pause %q was written", out.String())
	}
}

// BenchmarkParquet writes many events, short ones and those of long menus, and reports the memory that it took at most. Run
// one at a time: the memory is that of the process so far.
func BenchmarkParquet(b *testing.B) {
	for _, size := range []struct{ events, dishes int }{{10_000_000, 1}, {200_000, 40}} {
		b.Run(fmt.Sprintf("events=%d/dishes=%d", size.events, size.dishes), func(b *testing.B) {
			items := menutest.Items("0199c0de-7a3b-7c11-9d0e-1a7c3b9e", size.dishes)
			data, err := json.Marshal(menutest.Completed(menu.Allergen, menutest.IDs(items)...))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				benchParquet(b, data, uint64(size.events))
			}
			b.ReportMetric(float64(size.events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(peakMemory(b), "MiB-resident")
		})
	}
}

func benchParquet(b *testing.B, data []byte, events uint64) {
	b.Helper()
	file, err := os.Create(filepath.Join(b.TempDir(), "events.parquet"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // it was only written
	x := newExporter(formatParquet, file)
	for i := range events {
		body := bytes.Replace(data, []byte("0199c0de"), fmt.Appendf(nil, "%08x", i), 1) // no two bodies are alike
		if err := x.write(eventstore.Envelope{
			Seq: i + 1, ID: fmt.Sprintf("%08x-ef79-57a2-aa1c-%012x", i*2654435761%(1<<32), i), Type: "allergen.completed", Version: 1,
			Key: menutest.Key(fmt.Sprintf("0199c0de-7a3b-7c11-9d0e-%012x", i/20)), Time: menutest.Start().Add(time.Duration(i) * time.Millisecond), Data: body,
		}); err != nil {
			b.Fatal(err)
		}
	}
	if err := x.close(); err != nil {
		b.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB-file")
}

// peakMemory is the most memory that the process has had, in MiB.
func peakMemory(tb testing.TB) float64 {
	tb.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kib); n == 1 {
			return kib / 1024
		}
	}
	tb.Fatal("the system does not say how much memory the process had")
	return 0
}

package main

import (
	"bufio"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kondate/cmd/kondate/bench"
	"kondate/domain/menu"
	"kondate/projections/pgtest"
)

// nothingLeft checks that a measurement left no file in its folder, and no process that works there.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range commands {
		if raw, err := os.ReadFile(command); err == nil && strings.Contains(string(raw), dir) {
			t.Errorf("still running: %s", strings.ReplaceAll(string(raw), "\x00", " "))
		}
	}
}

// Every part has its figures, each beside its limit.
func TestBenchMeasuresEveryPart(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	out, errs, code := runBench(t, "--rounds=1", "--menus=2", "--nats-sync=100ms", "--writers=1,4", "--data-dir", dir, "--json")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var m measured
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if machine := m.Machine; machine.Cores < 1 || machine.Fsync.Median <= 0 || machine.Go == "" || machine.NATS == "" || machine.Postgres == "" {
		t.Errorf("the machine is %+v", machine)
	}
	rows := map[string]int{}
	for _, r := range m.Rows {
		rows[r.Part]++
		if r.Ours.Median <= 0 || r.Raw.Median <= 0 || r.Ratio.Median <= 0 || (r.Goal > 0) != (r.Verdict != "") {
			t.Errorf("not measured: %+v", r)
		}
	}
	if want := map[string]int{"append": 4, "stages": 1, "projection": 4, "sse": 3, "end-to-end": 4}; !maps.Equal(rows, want) {
		t.Errorf("rows %v, want %v", rows, want)
	}
	nothingLeft(t, dir)
}

func TestBenchPrintsATable(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	out, errs, code := runBench(t, "--only=append", "--rounds=2", "--menus=2", "--nats-sync=default", "--writers=3", "--data-dir", dir)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{"fsync of 4 KiB", "Postgres 1", "PART", "VERDICT", "3 writers, sync default: of publishing", "appends/s", "0.85", "2 rounds of 2 menus"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	nothingLeft(t, dir)
}

// What was added is what is counted: a menu of 20 dishes is ten events on ten subjects.
func TestBenchGrowth(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	out, errs, code := runBench(t, "growth", "--dishes=40,120", "--menu=20", "--long=150", "--provider=no-op", "--nats-sync=100ms", "--data-dir", dir, "--json")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var got struct {
		Sizes []growth `json:"sizes"`
		Long  longMenu `json:"long_menu"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Sizes) != 2 {
		t.Fatalf("%v: %s", err, out)
	}
	for i, s := range got.Sizes {
		menus := s.Added / 20
		subjects := s.After.Subjects - s.Before.Subjects
		if s.Dishes != []int{40, 120}[i] || s.Menus != s.Dishes/20 || subjects != uint64(menus*(2+menu.StageCount)) || s.After.Messages-s.Before.Messages < subjects {
			t.Errorf("%d dishes: %d menus added, %+v", s.Dishes, menus, s)
		}
		if s.After.LogBytes <= s.Before.LogBytes || s.After.Tables["menus"].Bytes == 0 || s.After.Tables["history"].Indexes == 0 || s.After.Consumers == 0 {
			t.Errorf("%d dishes: stored is %+v", s.Dishes, s.After)
		}
		for name, v := range map[string]float64{
			"step": s.Step.Seconds, "program": s.Step.ProgramCPU, "heap": float64(s.Broker.Heap), "resident": float64(s.ServerResident),
			"broker": s.Broker.Seconds, "restart": s.RestartSeconds, "append": s.AppendMS, "guarded": s.GuardedMS, "stream": s.StreamMS,
			"load": s.LoadMS, "rebuild": s.RebuildSeconds, "verify": s.VerifySeconds,
		} {
			if v <= 0 {
				t.Errorf("%d dishes: %s was not measured", s.Dishes, name)
			}
		}
	}
	if got.Long.Dishes != 150 || got.Long.Seconds <= 0 {
		t.Errorf("the long menu is %+v", got.Long)
	}
	var table strings.Builder
	if err := printGrowth(&table, got.Sizes, &got.Long); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"DISHES", "A MILLION MORE", "subjects of the log", "table menus", "rebuild", "A menu of 150 dishes"} {
		if want == "table menus" && got.Sizes[1].After.Tables["menus"].Bytes < 1<<20 {
			continue
		}
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, table.String())
		}
	}
	nothingLeft(t, dir)
}

// A signal ends a measurement wherever it is, with everything that it started.
func TestBenchStops(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"EndToEnd": {"bench", "--only=end-to-end", "--menus=100000"},
		"Growth":   {"bench", "growth", "--dishes=1000000"},
		"Soak":     {"bench", "soak"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := pgtest.Dir(t)
			cmd := exec.CommandContext(t.Context(), os.Args[0], append(args, "--data-dir", dir)...)
			cmd.Env = append(os.Environ(), asProgram+"=1", "KONDATE_PROCESSING_RETRY_DELAY=never") // which its server must not read
			errs, err := cmd.StderrPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(errs)
			atWork := false
			for !atWork && lines.Scan() {
				atWork = strings.HasSuffix(lines.Text(), "…")
			}
			waitFor(t, func() bool { found, _ := filepath.Glob(dir + "/*/*"); return len(found) > 0 })
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			var rest []string
			for lines.Scan() {
				rest = append(rest, lines.Text())
			}
			_ = cmd.Wait() // how it ends is below
			if code := cmd.ProcessState.ExitCode(); code != exitOK || time.Since(began) > patience/2 {
				t.Errorf("exit %d after %s: %s", code, time.Since(began), rest)
			}
			nothingLeft(t, dir)
		})
	}
}

func TestBenchUsage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"Help":       {[]string{"all", "--help"}, exitOK, "kondate bench --quick --json"},
		"Part":       {[]string{"--only=apend"}, exitUsage, "choose among append, stages, projection, sse, end-to-end"},
		"Sync":       {[]string{"--nats-sync=never"}, exitUsage, "never"},
		"Writers":    {[]string{"--writers=0"}, exitUsage, "needs a writer"},
		"Negative":   {[]string{"--rounds=-1"}, exitUsage, "cannot be negative"},
		"Folder":     {[]string{"--data-dir=/nowhere/at/all"}, exitFailed, "make a folder to measure in"},
		"SoakHelp":   {[]string{"soak", "--help"}, exitOK, "bench soak --duration 5m"},
		"Load":       {[]string{"soak", "--load=70"}, exitUsage, "more than 0, at most 1"},
		"Short":      {[]string{"soak", "--duration=100ms"}, exitUsage, "too short"},
		"GrowthHelp": {[]string{"growth", "--help"}, exitOK, "10,000 to 1,000,000 events"},
		"Sizes":      {[]string{"growth", "--dishes=100,10"}, exitUsage, "sizes that grow"},
		"Step":       {[]string{"growth", "--dishes=100,150"}, exitUsage, "less than a menu of 100"},
		"Menu":       {[]string{"growth", "--menu=20000"}, exitUsage, "1 to 10000 dishes"},
	} {
		out, errs, code := runBench(t, test.args...)
		if code != test.code || !strings.Contains(strings.Join(strings.Fields(out+errs), " "), test.want) {
			t.Errorf("%s: exit %d\n%s%s", name, code, out, errs)
		}
	}
}

func TestBenchRows(t *testing.T) {
	t.Parallel()
	more := bench.NewRow("p", "w", bench.AppendsPerSecond, []float64{80, 100, 90}, []float64{100, 100, 100}, 0.85)
	if more.Ratio != (bench.Range{Min: 0.8, Median: 0.9, Max: 1}) || more.Verdict != bench.Met {
		t.Errorf("a rate: %+v", more)
	}
	less := bench.NewRow("p", "w", bench.Milliseconds, []float64{20, 40}, []float64{10, 10}, 0.5)
	if less.Ratio != (bench.Range{Min: 0.25, Median: 0.375, Max: 0.5}) || less.Verdict != bench.Missed || less.Ours.Median != 30 {
		t.Errorf("a latency: %+v", less)
	}
	if within := less.Within(30); within.Verdict != bench.Met || !within.GoalOurs {
		t.Errorf("a goal for a latency: %+v", within)
	}
	if none := bench.NewRow("p", "w", bench.Seconds, []float64{1}, []float64{0}, 0); none.Verdict != "" {
		t.Errorf("a limit that was not measured: %+v", none)
	}
	if _, err := json.Marshal(bench.NewRow("p", "w", bench.AppendsPerSecond, []float64{1}, []float64{0}, 0)); err != nil {
		t.Errorf("a ratio to nothing: %v", err)
	}
	names := []string{}
	for _, p := range (benchAllCommand{}).parts(environment{}) {
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"append", "stages", "projection", "sse", "end-to-end"}) {
		t.Errorf("parts are %v", names)
	}
}

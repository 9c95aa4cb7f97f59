package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/dustin/go-humanize/english"
)

type doctorCommand struct {
	Config `embed:""`

	Processes      int           `default:"1" help:"How many kondate serve share the database, for the sum of their connections."`
	NATSMonitoring []string      `name:"nats-monitoring" placeholder:"URL" help:"HTTP monitoring of each server of your own NATS, such as http://10.0.0.1:8222: what its clients cannot see, its sync setting above all."`
	Timeout        time.Duration `default:"30s" help:"How long all checks may take."`
	JSON           bool          `help:"Print JSON."`
}

// Help is shown below the flags.
func (doctorCommand) Help() string {
	return "It changes nothing. Give it the settings of serve, in the same way. Beside a running serve on the same data dir it looks at that one's log and rows; " +
		"an embedded NATS or Postgres that does not run is not started. Exit 1 if there is a problem; warnings are 0.\n\n" +
		"Example: kondate doctor"
}

// errUnwell is the outcome of a look that found a problem.
var errUnwell = errors.New("there are problems")

// Run examines the system and prints what it found.
func (c doctorCommand) Run(ctx context.Context, env environment, line *kong.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	d := &doctor{cfg: c.Config, processes: c.Processes, monitoring: c.NATSMonitoring, now: time.Now}
	for _, flag := range line.Flags() {
		path, ok := line.FlagValue(flag).(string)
		if group, key, cut := strings.Cut(flag.Name, "-"); ok && cut && path != "" && (key == "tls-cert" || key == "tls-ca") {
			d.certificates = append(d.certificates, certificateFile{group + "." + strings.ReplaceAll(key, "-", "_"), path})
		}
	}
	err := d.examine(ctx)
	if err == nil && c.JSON {
		err = printJSON(env.stdout, map[string]any{"findings": d.findings, "problems": d.count(levelProblem), "warnings": d.count(levelWarning)})
	} else if err == nil {
		d.print(env.stdout)
	}
	if err == nil && d.count(levelProblem) > 0 {
		err = errUnwell
	}
	return err
}

// level says how much a finding matters.
type level string

const (
	levelOK      level = "ok"
	levelWarning level = "warning" // works, and may not for ever, or says less than it seems
	levelProblem level = "problem" // something does not work, or can be lost
)

// finding is what a check found.
type finding struct {
	Check string `json:"check"` // "postgres.fsync"
	Level level  `json:"level"`
	Found string `json:"found"`
	Do    string `json:"do,omitempty"` // what to change
}

// certificateFile is one that a setting names.
type certificateFile struct{ setting, path string }

// doctor examines a system.
type doctor struct {
	cfg        Config
	processes  int
	monitoring []string
	now        func() time.Time

	found        connection // of the serve that runs on the data dir; zero if none does
	certificates []certificateFile
	free         uint64 // disk under the data dir; 0: unknown
	findings     []finding
}

func (d *doctor) ok(check, format string, args ...any) {
	d.findings = append(d.findings, finding{check, levelOK, fmt.Sprintf(format, args...), ""})
}

func (d *doctor) add(l level, check, do, format string, args ...any) {
	d.findings = append(d.findings, finding{check, l, fmt.Sprintf(format, args...), do})
}

// expect adds a finding that is fine, or else of a level with an advice.
func (d *doctor) expect(fine bool, otherwise level, check, do, format string, args ...any) {
	if fine {
		otherwise, do = levelOK, ""
	}
	d.add(otherwise, check, do, format, args...)
}

func (d *doctor) count(l level) (n int) {
	for _, f := range d.findings {
		if f.Level == l {
			n++
		}
	}
	return n
}

// examine makes all checks. What is away is a finding.
func (d *doctor) examine(ctx context.Context) error {
	a, found, err := lookBeside(d.cfg.Storage, slog.New(slog.DiscardHandler))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil { // there is not even a data dir
		a = &app{log: slog.New(slog.DiscardHandler)}
	}
	a.cfg, d.found = d.cfg, found
	d.checkServe()
	d.checkOpenFiles()
	d.checkDisk()
	d.checkAuth()
	for _, c := range d.certificates {
		d.checkCertificateFile(c.setting, c.path)
	}
	d.checkBroker(ctx, a)
	for _, url := range d.monitoring {
		d.checkMonitoring(ctx, url)
	}
	d.checkDatabase(ctx, a)
	return a.stop(ctx)
}

func (d *doctor) checkServe() {
	if d.found == (connection{}) {
		const do = "start it with kondate serve, or name its folder with --data-dir"
		d.expect(d.external(), levelWarning, "serve", do, "none runs on %s", d.cfg.DataDir)
		return
	}
	d.ok("serve", "process %d serves on %s", d.found.PID, d.cfg.DataDir)
}

// external says whether both stores are the user's own, so that they can be looked at without a serve.
func (d *doctor) external() bool { return d.cfg.NATS.URL != "" && d.cfg.Database.URL != "" }

func (d *doctor) print(out io.Writer) {
	var widest int
	for _, f := range d.findings {
		widest = max(widest, len(f.Check))
	}
	for _, f := range d.findings {
		fmt.Fprintf(out, "%-8s %-*s  %s\n", f.Level, widest, f.Check, printable(f.Found))
		if f.Do != "" {
			fmt.Fprintf(out, "%-8s %-*s  → %s\n", "", widest, "", printable(f.Do))
		}
	}
	fmt.Fprintf(out, "%s, %s, %d checks are fine.\n", english.Plural(d.count(levelProblem), "problem", ""), english.Plural(d.count(levelWarning), "warning", ""), d.count(levelOK))
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"kondate/projections"
	"kondate/streams"
)

// projectionsCommand groups what is done to the read models.
type projectionsCommand struct {
	Status  statusCommand  `cmd:"" help:"Show the versions of the read models, and how far behind the log they are."`
	Rebuild rebuildCommand `cmd:"" help:"Make the read models anew from the log, beside the live ones, and change over when they have caught up."`
	Verify  verifyCommand  `cmd:"" help:"Fold the log again and compare every row, and every event with its copy in history; exit 1 if something differs."`
}

type statusCommand struct {
	Storage `embed:""`

	JSON bool `help:"Print JSON."`
}

// Help is shown below the flags.
func (statusCommand) Help() string { return "Example: kondate projections status" }

// projectionStatus is the answer of projections status.
type projectionStatus struct {
	Last     uint64                `json:"last_seq"` // of the log
	Stream   string                `json:"stream"`
	Versions []projections.Version `json:"versions"`
}

// Run shows the versions.
func (c statusCommand) Run(ctx context.Context, env environment) error {
	return beside(ctx, env, c.Storage, func(a *app) (err error) {
		var s projectionStatus
		store, _, err := a.openStore("status")
		if err != nil {
			return err
		}
		if s.Last, err = store.Last(ctx); err != nil {
			return err
		}
		if s.Stream, err = streams.Identity(ctx, a.js); err != nil {
			return err
		}
		if s.Versions, err = projections.Versions(ctx, a.pool); err != nil {
			return err
		}
		if c.JSON {
			return printJSON(env.stdout, s)
		}
		fmt.Fprintf(env.stdout, "The log (stream %s) ends at event %d.\n", s.Stream, s.Last)
		w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "VERSION\tSTATE\tAT EVENT\tBEHIND\tDISHES (ABOUT)\tSIZE\tMADE\tLIVE SINCE")
		for _, v := range s.Versions {
			live := "-"
			if v.LiveAt != nil {
				live = v.LiveAt.Local().Format(time.DateTime)
			}
			dishes := "-"
			if v.Dishes >= 0 {
				dishes = strconv.FormatInt(v.Dishes, 10)
			}
			fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", v.Version, v.State, v.Seq, s.Last-min(v.Seq, s.Last), dishes,
				humanize.IBytes(uint64(v.Bytes)), v.CreatedAt.Local().Format(time.DateTime), live) //nolint:gosec // a size
		}
		return w.Flush()
	})
}

type rebuildCommand struct {
	Storage `embed:""`

	Fresh       bool `help:"Begin at the first event, even if an earlier rebuild was stopped on its way."`
	SkipUnknown bool `help:"Pass over events of a type or version that this program does not know, instead of stopping at them."`
	JSON        bool `help:"Print JSON."`
}

// Help is shown below the flags.
func (rebuildCommand) Help() string {
	return "The version before is kept until the next rebuild. Ctrl-C stops it; the next one goes on from there.\n\nExample: kondate projections rebuild"
}

// Run rebuilds.
func (c rebuildCommand) Run(ctx context.Context, env environment) error {
	return beside(ctx, env, c.Storage, func(a *app) error {
		operations, err := a.operations()
		if err != nil {
			return err
		}
		bar := newBar(env.stderr, "rebuild", c.JSON)
		began := time.Now()
		version, err := operations.Rebuild(ctx, projections.RebuildOptions{Fresh: c.Fresh, SkipUnknown: c.SkipUnknown, Progress: bar.show})
		bar.end()
		if ctx.Err() != nil {
			return errors.New("stopped: readers see what they saw before, and the same command goes on from here")
		}
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(env.stdout, map[string]any{"version": version, "events": bar.last.Seq, "seconds": time.Since(began).Seconds()})
		}
		fmt.Fprintf(env.stdout, "Version %d is live: %d events in %s. The version before is kept until the next rebuild.\n",
			version, bar.last.Seq, time.Since(began).Round(time.Millisecond))
		return nil
	})
}

type verifyCommand struct {
	Storage `embed:""`

	JSON bool `help:"Print JSON."`
}

// Help is shown below the flags.
func (verifyCommand) Help() string { return "Example: kondate projections verify" }

// errDifferent is the outcome of a verification that found something.
var errDifferent = errors.New("log, history and rows differ: kondate projections rebuild makes the rows anew; events that the log lacks come back with a restore into a new log (docs/durability.md)")

// Run verifies.
func (c verifyCommand) Run(ctx context.Context, env environment) error {
	return beside(ctx, env, c.Storage, func(a *app) error {
		operations, err := a.operations()
		if err != nil {
			return err
		}
		bar := newBar(env.stderr, "verify", c.JSON)
		report, err := operations.Verify(ctx, bar.show)
		bar.end()
		if err != nil {
			return err
		}
		if c.JSON {
			err = printJSON(env.stdout, report)
		} else {
			printReport(env.stdout, report)
		}
		if err == nil && report.Different > 0 {
			err = errDifferent
		}
		return err
	})
}

func printReport(out io.Writer, r projections.Report) {
	fmt.Fprintf(out, "At event %d: %d sessions, %d dishes and %d events compared.\n", r.Seq, r.Sessions, r.Dishes, r.Events)
	if r.Different == 0 {
		fmt.Fprintln(out, "All is as the log says.")
		return
	}
	fmt.Fprintf(out, "Differences: %d\n", r.Different)
	for _, d := range r.Differences {
		fmt.Fprintln(out, "  "+printable(d.String()))
	}
	if more := r.Different - int64(len(r.Differences)); more > 0 {
		fmt.Fprintf(out, "  and %d more\n", more)
	}
}

// beside runs fn on the log and the rows of a data dir.
func beside(ctx context.Context, env environment, storage Storage, fn func(*app) error) error {
	a, err := openBeside(ctx, storage, newLogger(env.stderr, slog.LevelWarn))
	if err != nil {
		return err
	}
	return errors.Join(fn(a), a.stop(ctx))
}

// operations returns the operations on the read models.
func (a *app) operations() (*projections.Operations, error) {
	store, _, err := a.openStore("operations")
	if err != nil {
		return nil, err
	}
	return projections.NewOperations(a.pool, store, a.projectorConfig()), nil
}

func (a *app) projectorConfig() projections.ProjectorConfig {
	return projections.ProjectorConfig{
		Identity: func(ctx context.Context) (string, error) { return streams.Identity(ctx, a.js) },
		Logger:   a.log,
	}
}

// bar shows the progress of an operation on a terminal, with its rate and the time it still needs.
type bar struct {
	*progressbar.ProgressBar

	last    projections.Progress
	newline io.Writer // where the line that the bar stands on has to end; nil if it is invisible
}

// newBar returns a bar; it stays invisible where nobody looks at it.
func newBar(out io.Writer, what string, hidden bool) *bar {
	file, isFile := out.(*os.File)
	visible := !hidden && isFile && term.IsTerminal(int(file.Fd()))
	b := &bar{}
	if visible {
		b.newline = out
	}
	b.ProgressBar = progressbar.NewOptions64(
		-1,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetVisibility(visible),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetItsString("events"),
		progressbar.OptionShowIts(),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionFullWidth(),
		progressbar.OptionThrottle(100*time.Millisecond),
	)
	return b
}

func (b *bar) show(p projections.Progress) {
	b.last = p
	b.ChangeMax64(int64(p.Target)) //nolint:gosec // sequences stay below 2^63
	_ = b.Set64(int64(p.Seq))      //nolint:gosec // as above; a terminal that is gone is no reason to stop
}

func (b *bar) end() {
	_ = b.Exit() // a terminal that is gone is no reason to stop
	if b.newline != nil {
		fmt.Fprintln(b.newline)
	}
}

func printJSON(out io.Writer, value any) error {
	if err := json.NewEncoder(out).Encode(value); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

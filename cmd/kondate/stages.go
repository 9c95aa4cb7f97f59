package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"kondate/domain/menu"
	"kondate/handlers/stage"
	"kondate/streams"
)

// stagesCommand groups what is done to the stages.
type stagesCommand struct {
	List    stagesListCommand   `cmd:"" help:"Show what each stage has before it and what it does."`
	Pause   stagesPauseCommand  `cmd:"" help:"Stop a stage in all processes; what it has in hand is finished, what comes waits."`
	Resume  stagesResumeCommand `cmd:"" help:"Let a paused stage go on."`
	Conform conformCommand      `cmd:"" help:"Try out another team's worker: does it keep the contract of docs/workers.md? Exit 1 if not."`
}

type stagesListCommand struct {
	Storage `embed:""`

	JSON bool `help:"Print JSON."`
}

// Help is shown below the flags.
func (stagesListCommand) Help() string {
	return "PENDING are messages (a chunk of a menu, or a retry) that nobody has taken yet, IN HAND those that a process works on or has handed back for later, " +
		"WAITING failed attempts that wait for their time, IN FLIGHT dishes at the provider. P50 and P99 are how long its calls took in the last ten minutes; " +
		"FAILED counts since the processes began.\n\nExample: kondate stages list"
}

// stageState is one stage in all processes together.
type stageState struct {
	streams.Backlog

	Providers string  `json:"provider"`
	Circuits  string  `json:"circuit,omitempty"`
	InFlight  int     `json:"in_flight"` // dishes at the provider
	Queued    int     `json:"queued"`    // dishes in hand that wait for a slot
	Rate      float64 `json:"calls_per_second"`
	Calls     uint64  `json:"calls"`
	Failed    uint64  `json:"failed"`
	Cached    uint64  `json:"cached"`
	SetAside  uint64  `json:"set_aside"`
	P50       float64 `json:"p50_seconds"` // of the slowest process
	P99       float64 `json:"p99_seconds"`
}

// rateWindow is how long the calls are counted for a rate.
const rateWindow = time.Second

// Run shows the stages.
func (c stagesListCommand) Run(ctx context.Context, env environment) error {
	return besideLog(ctx, env, c.Storage, func(a *app) error {
		states, processes, err := a.stageStates(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(env.stdout, map[string]any{"stages": states, "processes": processes})
		}
		w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(w, "STAGE\tPROVIDER\tSTATE\tPENDING\tIN HAND\tWAITING\tIN FLIGHT\tCALLS/S\tP50\tP99\tFAILED\t")
		for _, s := range states {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%.1f\t%s\t%s\t%d of %d\t\n", s.Stage, cmp.Or(s.Providers, "-"), s.state(processes),
				s.Pending, s.InHand, s.Waiting, s.InFlight, s.Rate, seconds(s.P50), seconds(s.P99), s.Failed, s.Calls)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if processes == 0 {
			fmt.Fprintln(env.stdout, "\nNo process runs stages: start one with kondate serve.")
		}
		return nil
	})
}

func (s stageState) state(processes int) string {
	switch {
	case s.Paused && s.PausedUntil.IsZero():
		return "paused"
	case s.Paused:
		return "paused until " + s.PausedUntil.Local().Format(time.TimeOnly)
	case processes == 0:
		return "not run"
	case s.Circuits != "" && s.Circuits != stage.CircuitClosed:
		return "provider " + s.Circuits
	}
	return "running"
}

func seconds(s float64) string {
	if s == 0 {
		return "-"
	}
	return time.Duration(s * float64(time.Second)).Round(10 * time.Microsecond).String()
}

// processReport is what one process says of its stages.
type processReport struct {
	Process string         `json:"process"`
	Stages  []stage.Report `json:"stages"`
}

// stageStates asks the broker and every process; it takes a second, for a rate needs one.
func (a *app) stageStates(ctx context.Context) ([]stageState, int, error) {
	before, err := a.stageReports(ctx)
	if err != nil {
		return nil, 0, err
	}
	began := time.Now()
	if len(before) > 0 {
		select {
		case <-time.After(rateWindow):
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		}
	}
	after, err := a.stageReports(ctx)
	if err != nil {
		return nil, 0, err
	}
	window := time.Since(began).Seconds()
	backlogs, err := streams.Backlogs(ctx, a.js)
	if err != nil {
		return nil, 0, err
	}
	states := make([]stageState, len(backlogs))
	for i, b := range backlogs {
		states[i].Backlog = b
	}
	for name, reports := range after {
		for i, r := range reports {
			s := &states[r.Stage]
			if !strings.Contains(s.Providers, r.Provider) {
				s.Providers = strings.TrimPrefix(s.Providers+", "+r.Provider, ", ")
			}
			if r.Circuit != stage.CircuitClosed || s.Circuits == "" {
				s.Circuits = r.Circuit
			}
			s.InFlight += r.InFlight
			s.Queued += r.Waiting
			s.Calls += r.Calls
			s.Failed += r.Failed
			s.Cached += r.Cached
			s.SetAside += r.SetAside
			s.P50, s.P99 = max(s.P50, r.P50), max(s.P99, r.P99)
			if earlier := before[name]; i < len(earlier) {
				s.Rate += float64(r.Calls-earlier[i].Calls) / window
			}
		}
	}
	return states, len(after), nil
}

func (a *app) stageReports(ctx context.Context) (map[string][]stage.Report, error) {
	bodies, err := streams.AskReports(ctx, a.js.Conn())
	if err != nil {
		return nil, err
	}
	reports := map[string][]stage.Report{}
	for _, body := range bodies {
		var r processReport
		if err := json.Unmarshal(body, &r); err != nil || len(r.Stages) != menu.StageCount {
			a.log.WarnContext(ctx, "a process gives an answer about its stages that cannot be read", "error", err)
			continue
		}
		reports[r.Process] = r.Stages
	}
	return reports, nil
}

type stagesPauseCommand struct {
	Storage `embed:""`

	Stage menu.Stage    `arg:"" help:"Stage: translation, description, allergen, ingredient, search_engine, task6, task7 or task8."`
	For   time.Duration `help:"How long; without it until kondate stages resume."`
}

// Help is shown below the flags.
func (stagesPauseCommand) Help() string {
	return "The pause holds for all processes and outlives restarts. No attempt is used up by it; sessions may expire meanwhile.\n\nExample: kondate stages pause allergen --for 30m"
}

// Run pauses a stage.
func (c stagesPauseCommand) Run(ctx context.Context, env environment) error {
	if c.For < 0 {
		return usage(fmt.Errorf("--for is %s, it must be above 0", c.For))
	}
	return besideLog(ctx, env, c.Storage, func(a *app) error {
		if err := streams.PauseStage(ctx, a.js, c.Stage, c.For); err != nil {
			return err
		}
		until := "until kondate stages resume " + c.Stage.String()
		if c.For > 0 {
			until = "for " + c.For.String()
		}
		fmt.Fprintf(env.stdout, "Stage %s is paused %s.\n", c.Stage, until)
		return nil
	})
}

type stagesResumeCommand struct {
	Storage `embed:""`

	Stage menu.Stage `arg:"" help:"Stage: translation, description, allergen, ingredient, search_engine, task6, task7 or task8."`
}

// Help is shown below the flags.
func (stagesResumeCommand) Help() string { return "Example: kondate stages resume allergen" }

// Run resumes a stage.
func (c stagesResumeCommand) Run(ctx context.Context, env environment) error {
	return besideLog(ctx, env, c.Storage, func(a *app) error {
		if err := streams.ResumeStage(ctx, a.js, c.Stage); err != nil {
			return err
		}
		fmt.Fprintf(env.stdout, "Stage %s goes on.\n", c.Stage)
		return nil
	})
}

// besideLog opens the log for a command that needs nothing else.
func besideLog(ctx context.Context, env environment, storage Storage, fn func(*app) error) error {
	a, err := openLogBeside(ctx, storage, newLogger(env.stderr, slog.LevelWarn))
	if err != nil {
		return err
	}
	return errors.Join(fn(a), a.stop(ctx))
}

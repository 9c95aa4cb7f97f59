package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"kondate/cmd/kondate/bench"
	"kondate/streams"
)

// benchCommand groups measurements.
type benchCommand struct {
	All    benchAllCommand    `cmd:"" name:"all" default:"withargs" help:"Measure every part beside the limit of this machine: what bench alone does (see bench all --help)."`
	SSE    benchSSECommand    `cmd:"" name:"sse" help:"Measure session streams: latency, deliveries a second, replay, reconnects, slow clients, memory."`
	Growth benchGrowthCommand `cmd:"" help:"Measure what dishes cost as they become more: disk, memory, processor, time of everything that reads them."`
	Soak   benchSoakCommand   `cmd:"" help:"Work at an even load for half an hour, and say whether memory, goroutines, files and consumers stay where they are."`

	Raw    benchRawCommand    `cmd:"" hidden:"" help:"Serve the limit that streams are measured against (bench starts it by itself)."`
	Serve  benchServeCommand  `cmd:"" hidden:"" help:"Run a server that is measured (bench starts it by itself)."`
	Broker benchBrokerCommand `cmd:"" hidden:"" help:"Run a broker alone (bench growth starts it by itself)."`
}

// Help is shown below the flags.
func (benchCommand) Help() string { return "Example: kondate bench --quick" }

type benchAllCommand struct {
	Only     []string `placeholder:"PART" help:"What to measure: append, stages, projection, sse, end-to-end; nothing: all."`
	Quick    bool     `help:"Measure less, and with the first nats.sync only: half a minute."`
	DataDir  string   `placeholder:"DIR" help:"Folder on the disk to measure on: a folder is made in it, and removed. Empty: the system's temporary one." type:"path"`
	NATSSync []string `name:"nats-sync" default:"always,100ms" help:"Values of nats.sync to measure with."`
	Writers  []int    `default:"1,64" help:"Writers that append at once."`
	Rounds   int      `help:"How often ours and the limit take turns; 0: 3, with --quick 2."`
	Menus    int      `help:"Menus of 20 dishes in a round, and a fifth of the streams' clients; 0: 200, with --quick 40."`
	Profile  string   `placeholder:"DIR" help:"Existing folder for CPU and allocation profiles of the servers in end-to-end." type:"existingdir"`
	JSON     bool     `help:"Print JSON."`
}

// Help is shown below the flags.
func (benchAllCommand) Help() string {
	return "Every figure stands beside what the machine does in the same run with nothing of ours between: publishes, consumers, upserts, sockets. " +
		"Both take turns; RATIO is the share of the limit that is reached, and behind a figure stand its smallest and largest. " +
		"Compare ratios, not figures, between machines, and do not judge by a run with a wide range.\n\n" +
		"It takes about four minutes and leaves nothing behind.\n\n" +
		"Examples:\n  kondate bench\n  kondate bench --quick --json\n  kondate bench --only append --writers 1,8,64,512 --nats-sync always\n" +
		"  kondate bench --only end-to-end --profile /tmp && go tool pprof -top /tmp/local-always-cpu.pprof"
}

const (
	partSSE      = "sse"
	partEndToEnd = "end-to-end"
)

// parts returns what can be measured, in order.
func (c benchAllCommand) parts(env environment) []bench.Part {
	return append(
		bench.Parts(),
		bench.Part{Name: partSSE, Run: func(ctx context.Context, s bench.Settings, report func(bench.Row)) error {
			return benchStreams(ctx, env, s, c.Quick, report)
		}},
		bench.Part{Name: partEndToEnd, Run: func(ctx context.Context, s bench.Settings, report func(bench.Row)) error {
			return benchEndToEnd(ctx, env, s, c.Profile, report)
		}},
	)
}

// Validate refuses what could not be measured. kong calls it.
func (c benchAllCommand) Validate() error {
	var names []string
	for _, p := range c.parts(environment{}) {
		names = append(names, p.Name)
	}
	for _, name := range c.Only {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no part %q: choose among %s", name, strings.Join(names, ", "))
		}
	}
	for _, sync := range c.NATSSync {
		if _, err := streams.ParseSync(sync); err != nil {
			return err
		}
	}
	if len(c.NATSSync) == 0 || len(c.Writers) == 0 {
		return errors.New("nothing is left to measure: name a nats.sync and a number of writers")
	}
	if c.Rounds < 0 || c.Menus < 0 || slices.ContainsFunc(c.Writers, func(n int) bool { return n < 1 }) {
		return errors.New("rounds and menus cannot be negative, and an append needs a writer")
	}
	return nil
}

// measured is a whole run.
type measured struct {
	Machine bench.Machine `json:"machine"`
	Began   time.Time     `json:"began"`
	Seconds float64       `json:"seconds"`
	Rounds  int           `json:"rounds"`
	Menus   int           `json:"menus"`
	Rows    []bench.Row   `json:"rows"`
}

// Run measures.
func (c benchAllCommand) Run(ctx context.Context, env environment) (err error) {
	dir, err := benchDir(c.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := bench.Settings{Dir: dir, Syncs: c.NATSSync, Writers: c.Writers, Rounds: 3, Menus: 200, Logger: newLogger(env.stderr, levelQuiet)}
	if c.Quick {
		s.Rounds, s.Menus, s.Syncs = 2, 40, s.Syncs[:1]
	}
	if c.Rounds > 0 {
		s.Rounds = c.Rounds
	}
	if c.Menus > 0 {
		s.Menus = c.Menus
	}
	m := measured{Began: time.Now(), Rounds: s.Rounds, Menus: s.Menus, Rows: []bench.Row{}}
	if m.Machine, err = bench.LookAt(ctx, s); err != nil {
		return err
	}
	for _, p := range c.parts(env) {
		if len(c.Only) > 0 && !slices.Contains(c.Only, p.Name) {
			continue
		}
		fmt.Fprintf(env.stderr, "%s …\n", p.Name)
		if err := p.Run(ctx, s, func(r bench.Row) { m.Rows = append(m.Rows, r) }); err != nil {
			return fmt.Errorf("measure %s: %w", p.Name, err)
		}
	}
	m.Seconds = time.Since(m.Began).Seconds()
	if c.JSON {
		return printJSON(env.stdout, m)
	}
	return m.print(env.stdout)
}

func (m measured) print(out io.Writer) error {
	fmt.Fprintf(out, "%s\n\n", m.Machine)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PART\tWHAT\tOURS\tLIMIT\tUNIT\tRATIO\tGOAL\tVERDICT")
	for _, r := range m.Rows {
		goal := "-"
		switch {
		case r.GoalOurs:
			goal = fmt.Sprintf("%s %s", figure(r.Goal), r.Unit)
		case r.Goal > 0:
			goal = fmt.Sprintf("%.2f", r.Goal)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Part, r.What, between(r.Ours, figure), between(r.Raw, figure), r.Unit,
			between(r.Ratio, func(v float64) string { return fmt.Sprintf("%.2f", v) }), goal, dashed(r.Verdict))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the figures: %w", err)
	}
	fmt.Fprintf(out, "\nThe middle of %d rounds of %d menus of %d dishes, and in brackets the smallest and the largest; %.0f s in all.\n", m.Rounds, m.Menus, bench.Dishes, m.Seconds)
	return nil
}

// between writes a range; one that was not measured is a dash.
func between(r bench.Range, format func(float64) string) string {
	switch {
	case r.Max == 0:
		return "-"
	case r.Min == r.Max:
		return format(r.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", format(r.Median), format(r.Min), format(r.Max))
}

// figure writes a number with about three digits.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func dashed(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
)

// cost is a line of the table of growth.
type cost struct {
	name  string
	value func(growth) float64
	// each is what one dish more costs, by the step to a size from the one before (nil for the first). Nil: the value does
	// not depend on how much there is.
	each   func(before *growth, s growth) float64
	format func(float64) string
}

func bytesOf(v float64) string {
	if v < 0 {
		return "-" + bytesOf(-v)
	}
	return humanize.IBytes(uint64(v))
}

func count(v float64) string { return humanize.Comma(int64(v)) }

func inSeconds(v float64) string { return fmt.Sprintf("%.1f s", v) }

func inMilliseconds(v float64) string { return fmt.Sprintf("%.1f ms", v) }

// kept is a cost of what is stored: what the step added.
func kept(name string, format func(float64) string, of func(stored) float64) cost {
	return cost{name, func(s growth) float64 { return of(s.After) }, func(_ *growth, s growth) float64 {
		return (of(s.After) - of(s.Before)) / float64(s.Added)
	}, format}
}

// whole is a cost of everything there is: what it takes more than at the size before.
func whole(name string, format func(float64) string, of func(growth) float64) cost {
	return cost{name, of, func(before *growth, s growth) float64 {
		if before == nil {
			return 0
		}
		return (of(s) - of(*before)) / float64(s.Dishes-before.Dishes)
	}, format}
}

// stepped is a cost of the step itself.
func stepped(name string, of func(spent) float64) cost {
	return cost{name, func(s growth) float64 { return of(s.Step) }, func(_ *growth, s growth) float64 { return of(s.Step) / float64(s.Added) }, inSeconds}
}

// costs returns the lines of the table.
func costs(sizes []growth) []cost {
	lines := []cost{
		kept("messages of the log", count, func(s stored) float64 { return float64(s.Messages) }),
		kept("subjects of the log", count, func(s stored) float64 { return float64(s.Subjects) }),
		kept("consumers", count, func(s stored) float64 { return float64(s.Consumers) }),
		kept("bytes of the log", bytesOf, func(s stored) float64 { return float64(s.LogBytes) }),
		kept("  on disk", bytesOf, func(s stored) float64 { return float64(s.LogDisk) }),
	}
	for _, name := range slices.Sorted(maps.Keys(sizes[len(sizes)-1].After.Tables)) {
		if t := sizes[len(sizes)-1].After.Tables[name]; t.Bytes+t.Indexes < 1<<20 {
			continue // of no weight
		}
		lines = append(lines,
			kept("table "+name, bytesOf, func(s stored) float64 { return float64(s.Tables[name].Bytes) }),
			kept("  its indexes", bytesOf, func(s stored) float64 { return float64(s.Tables[name].Indexes) }))
	}
	return append(
		lines,
		whole("memory of broker alone, heap", bytesOf, func(s growth) float64 { return float64(s.Broker.Heap) }),
		// What the runtime has not given back yet is in these, so that they tell nothing of a million more.
		cost{"  resident after its start", func(s growth) float64 { return float64(s.Broker.Resident) }, nil, bytesOf},
		cost{"memory of the program at work", func(s growth) float64 { return float64(s.ServerResident) }, nil, bytesOf},
		stepped("processor of the step, program", func(s spent) float64 { return s.ProgramCPU }),
		stepped("  Postgres", func(s spent) float64 { return s.PostgresCPU }),
		stepped("time of the step", func(s spent) float64 { return s.Seconds }),
		whole("start of broker alone", inSeconds, func(s growth) float64 { return s.Broker.Seconds }),
		whole("start of the program", inSeconds, func(s growth) float64 { return s.RestartSeconds }),
		whole("rebuild", inSeconds, func(s growth) float64 { return s.RebuildSeconds }),
		whole("verification", inSeconds, func(s growth) float64 { return s.VerifySeconds }),
		cost{"append", func(s growth) float64 { return s.AppendMS }, nil, inMilliseconds},
		cost{"guarded append", func(s growth) float64 { return s.GuardedMS }, nil, inMilliseconds},
		cost{"stream of an old session", func(s growth) float64 { return s.StreamMS }, nil, inMilliseconds},
		cost{"load of an old session", func(s growth) float64 { return s.LoadMS }, nil, inMilliseconds},
	)
}

const million = 1_000_000

func printGrowth(out io.Writer, sizes []growth, long *longMenu) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "DISHES")
	for _, s := range sizes {
		fmt.Fprint(w, "\t"+humanize.Comma(int64(s.Dishes)))
	}
	fmt.Fprintln(w, "\tA MILLION MORE\tGROWTH")
	for _, c := range costs(sizes) {
		fmt.Fprint(w, c.name)
		for _, s := range sizes {
			fmt.Fprint(w, "\t"+c.format(c.value(s)))
		}
		more, factor := c.trend(sizes)
		fmt.Fprintf(w, "\t%s\t%s\n", more, factor)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the figures: %w", err)
	}
	if long != nil {
		fmt.Fprintf(out, "\nA menu of %s dishes on top: %.1f s from the POST to menu.completed, %.1f s of processor in the program and %.1f s in Postgres.\n",
			humanize.Comma(int64(long.Dishes)), long.Seconds, long.ProgramCPU, long.PostgresCPU)
	}
	return nil
}

// trend says what a million dishes more take, and how much more a dish costs in the last step than in the one before it.
func (c cost) trend(sizes []growth) (more, factor string) {
	more, factor = "-", "-"
	last := len(sizes) - 1
	now, before := 0.0, 0.0
	switch {
	case last == 0 && c.each != nil:
		now = c.each(nil, sizes[0])
	case last > 0 && c.each == nil:
		now, before = c.value(sizes[last]), c.value(sizes[last-1])
	case last > 0:
		var earlier *growth
		if last > 1 {
			earlier = &sizes[last-2]
		}
		now, before = c.each(&sizes[last-1], sizes[last]), c.each(earlier, sizes[last-1])
	}
	if c.each != nil && now != 0 {
		more = c.format(now * million)
	}
	if now > 0 && before > 0 {
		factor = fmt.Sprintf("%.2f", now/before)
	}
	return more, factor
}

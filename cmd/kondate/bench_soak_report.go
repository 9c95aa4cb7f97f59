package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"kondate/cmd/kondate/bench"
	"kondate/handlers/sse/load"
)

// soakReport is a whole soak.
type soakReport struct {
	Capacity float64  `json:"capacity_dishes_per_second"`
	Load     float64  `json:"load"`
	Dishes   float64  `json:"dishes_per_second"` // that were completed
	Seconds  float64  `json:"seconds"`
	Menus    int      `json:"menus"`
	Resumed  int      `json:"resumed"` // streams that were cut
	Parked   int      `json:"parked"`  // pairs of a dish and a stage that ended without a result
	NATSSync string   `json:"nats_sync"`
	Looks    []soaked `json:"looks"`
	Flat     []flat   `json:"flat"`
	Grown    []string `json:"grown"` // names of what is not flat
}

// flat compares what was held in the second quarter with what was held in the last one, medians both. The first quarter
// is when pools and caches fill.
type flat struct {
	Name   string  `json:"name"`
	Second int     `json:"second_quarter"`
	Last   int     `json:"last_quarter"`
	Most   float64 `json:"most"` // that the last one may be, as a share of the second
}

func (f flat) grew() bool { return float64(f.Last) > float64(f.Second)*f.Most }

const (
	// soakGrowth is how much more than before a server under an even load may hold.
	soakGrowth = 1.1
	quarters   = 4
)

// held is something that a server holds.
type held struct {
	name string
	most float64 // see [flat]
	of   func(load.Held) int
}

// soakHeld is what a soak judges.
func soakHeld() []held {
	return []held{
		{"resident memory, bytes", soakGrowth, func(h load.Held) int { return h.Resident }},
		{"Go's heap, bytes", soakGrowth, func(h load.Held) int { return h.Heap }},
		{"goroutines", soakGrowth, func(h load.Held) int { return h.Goroutines }},
		{"open files and sockets", soakGrowth, func(h load.Held) int { return h.Handles }},
		{"consumers of the log", 1, func(h load.Held) int { return h.Consumers }},
	}
}

// known returns an error if a server did not show all that it holds: an unknown number would look flat.
func known(h load.Held) error {
	for _, held := range soakHeld() {
		if held.of(h) < 0 {
			return fmt.Errorf("%w: %s", errUnknown, held.name)
		}
	}
	return nil
}

var errUnknown = errors.New("the server does not show what it holds (of a process, only Linux tells)")

func newSoakReport(s *soak, capacity float64, c benchSoakCommand) soakReport {
	r := soakReport{Capacity: capacity, Load: c.Load, Resumed: s.resumed, Parked: s.parked, NATSSync: c.NATSSync, Looks: s.looks, Grown: []string{}}
	for _, l := range s.looks {
		r.Menus += l.Menus
	}
	if n := len(s.looks); n > 0 {
		r.Seconds = s.looks[n-1].Seconds
		r.Dishes = float64(r.Menus*bench.Dishes) / r.Seconds
	}
	for _, held := range soakHeld() {
		of := func(l soaked) int { return held.of(l.Held) }
		f := flat{held.name, median(portion(r.Looks, 1, quarters), of), median(portion(r.Looks, quarters-1, quarters), of), held.most}
		if r.Flat = append(r.Flat, f); f.grew() {
			r.Grown = append(r.Grown, f.Name)
		}
	}
	return r
}

// portion is the i-th of n equal parts.
func portion(looks []soaked, i, n int) []soaked { return looks[i*len(looks)/n : (i+1)*len(looks)/n] }

func median[N int | float64](looks []soaked, of func(soaked) N) N {
	var values []N
	for _, l := range looks {
		values = append(values, of(l))
	}
	return bench.Quantile(values, 0.5)
}

func (r soakReport) print(out io.Writer) error {
	fmt.Fprintf(out, "%.0f dishes/s for %s, %.0f %% of the %.0f/s that the server can do, sync %s: %d menus, each followed to its end; %d clients were cut and resumed; %d times a stage gave up a dish.\n\n",
		r.Dishes, inTime(r.Seconds), 100*r.Dishes/r.Capacity, r.Capacity, r.NATSSync, r.Menus, r.Resumed, r.Parked)
	const rows = 10
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "UNTIL\tMENUS\tP50\tP99\tIN FLIGHT\tRESIDENT\tHEAP\tGOROUTINES\tFILES\tCONSUMERS\tSUBJECTS")
	for i := range rows {
		looks := portion(r.Looks, i, rows)
		menus := 0
		for _, l := range looks {
			menus += l.Menus
		}
		ofInt := func(of func(soaked) int) int { return median(looks, of) }
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d\t%s\t%s\t%d\t%d\t%d\t%s\n", inTime(looks[len(looks)-1].Seconds), menus,
			inMilliseconds(median(looks, func(l soaked) float64 { return l.P50 })), inMilliseconds(median(looks, func(l soaked) float64 { return l.P99 })),
			ofInt(func(l soaked) int { return l.InFlight }), bytesOf(float64(ofInt(func(l soaked) int { return l.Resident }))),
			bytesOf(float64(ofInt(func(l soaked) int { return l.Heap }))), ofInt(func(l soaked) int { return l.Goroutines }),
			ofInt(func(l soaked) int { return l.Handles }), ofInt(func(l soaked) int { return l.Consumers }),
			count(float64(ofInt(func(l soaked) int { return int(l.Subjects) })))) //nolint:gosec // subjects stay below 2^63
	}
	fmt.Fprintln(w, "\nHELD\tSECOND QUARTER\tLAST QUARTER\tRATIO\tAT MOST\tVERDICT")
	for _, f := range r.Flat {
		verdict := "flat"
		if f.grew() {
			verdict = "GREW"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.2f\t%.2f\t%s\n", f.Name, count(float64(f.Second)), count(float64(f.Last)), float64(f.Last)/float64(f.Second), f.Most, verdict)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the figures: %w", err)
	}
	return nil
}

func inTime(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

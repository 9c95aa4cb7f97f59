// Package bench measures the parts of Kondate on the machine it runs on, each beside the raw limit of the same run: the
// same messages published, the same events consumed, the same rows upserted, with nothing of ours between. Ours and the
// limit take turns, so that whatever else the machine does meets both, and every figure comes with its smallest and its
// largest value.
package bench

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
)

// Dishes is the size of a menu that is measured.
const Dishes = 20

// Settings say how much is measured, and where.
type Settings struct {
	Dir     string   // an existing folder that everybody may pass through; what is made in it is removed
	Syncs   []string // values of nats.sync
	Writers []int    // that append at once
	Rounds  int      // how often ours and the limit take turns
	Menus   int      // of [Dishes] dishes, in a round
	Logger  *slog.Logger
}

// Range is what the rounds measured.
type Range struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

// RangeOf sums up values.
func RangeOf(values []float64) Range {
	if len(values) == 0 {
		return Range{}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + median) / 2
	}
	return Range{Min: sorted[0], Median: median, Max: sorted[len(sorted)-1]}
}

// Unit is what a figure counts.
type Unit string

// The units of figures. Of milliseconds less is better, of everything else more.
const (
	AppendsPerSecond    Unit = "appends/s"
	DishesPerSecond     Unit = "dishes/s"
	EventsPerSecond     Unit = "events/s"
	DeliveriesPerSecond Unit = "deliveries/s"
	Milliseconds        Unit = "ms"
	Seconds             Unit = "s"
)

func (u Unit) lessIsBetter() bool { return u == Milliseconds || u == Seconds }

// The verdicts of a figure that has a goal.
const (
	Met    = "met"
	Missed = "missed"
)

// Row is one figure beside its limit.
type Row struct {
	Part  string `json:"part"`
	What  string `json:"what"`
	Unit  Unit   `json:"unit"`
	Ours  Range  `json:"ours"`
	Raw   Range  `json:"raw"`
	Ratio Range  `json:"ratio"` // how much of the limit is reached, round by round: 1 is all of it
	// Goal is the ratio that is wanted, or with GoalOurs the figure itself; 0: none.
	Goal     float64 `json:"goal,omitempty"`
	GoalOurs bool    `json:"goal_is_of_ours,omitempty"`
	Verdict  string  `json:"verdict,omitempty"`
}

// NewRow compares what rounds measured of ours and of the limit, round by round. A goal of 0 is none.
func NewRow(part, what string, unit Unit, ours, raw []float64, goal float64) Row {
	r := Row{Part: part, What: what, Unit: unit, Ours: RangeOf(ours), Raw: RangeOf(raw), Goal: goal}
	var ratios []float64
	for i := range min(len(ours), len(raw)) {
		ratio := ours[i] / raw[i]
		if unit.lessIsBetter() {
			ratio = raw[i] / ours[i]
		}
		if !math.IsNaN(ratio) && !math.IsInf(ratio, 0) { // a limit that was not measured
			ratios = append(ratios, ratio)
		}
	}
	r.Ratio = RangeOf(ratios)
	return r.judge(r.Ratio.Median >= goal)
}

// Within gives a row a goal for its own figure instead of the ratio.
func (r Row) Within(goal float64) Row {
	r.Goal, r.GoalOurs = goal, true
	if r.Unit.lessIsBetter() {
		return r.judge(r.Ours.Median <= goal)
	}
	return r.judge(r.Ours.Median >= goal)
}

func (r Row) judge(met bool) Row {
	switch {
	case r.Goal == 0:
		r.Verdict = ""
	case met:
		r.Verdict = Met
	default:
		r.Verdict = Missed
	}
	return r
}

// Part measures one part of the program and reports its rows.
type Part struct {
	Name string
	Run  func(ctx context.Context, s Settings, report func(Row)) error
}

// Parts returns those that need no server, in the order in which they run.
func Parts() []Part {
	return []Part{{"append", appends}, {"stages", stages}, {"projection", projection}}
}

// Takes is one way of doing something; it returns a figure.
type Takes func(ctx context.Context) (float64, error)

// InTurn lets several ways of doing something take turns, rounds times each, and returns the figures of each.
func InTurn(ctx context.Context, rounds int, ways ...Takes) ([][]float64, error) {
	figures := make([][]float64, len(ways))
	for round := range rounds {
		for i, way := range ways {
			if err := ctx.Err(); err != nil {
				return nil, context.Cause(ctx)
			}
			figure, err := way(ctx)
			if err != nil {
				return nil, fmt.Errorf("round %d: %w", round+1, err)
			}
			figures[i] = append(figures[i], figure)
		}
	}
	return figures, nil
}

// Quantile returns one of the values, which need not be sorted; 0 of none.
func Quantile[N cmp.Ordered](values []N, q float64) N {
	var none N
	if len(values) == 0 {
		return none
	}
	return slices.Sorted(slices.Values(values))[int(math.Ceil(q*float64(len(values)-1)))]
}

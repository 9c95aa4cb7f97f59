//go:build linux

package torture_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// What a campaign does beside breaking processes and links; see campaign.
const (
	faultCopies   = "copies"    // recorded events are published again, in the wrong order too
	faultPoison   = "poison"    // messages that nobody can read, or that lie
	faultFullLog  = "full log"  // the log takes nothing more
	faultFullDisk = "full disk" // one broker's disk takes nothing more
)

// fault is one thing that a campaign does.
type fault struct {
	At   time.Duration // since the campaign's begin
	Kind string
	On   string        // a process, or a link between two
	For  time.Duration // until it is mended
	Seed uint64        // of what else it decides
}

func (f fault) String() string {
	return fmt.Sprintf("%7.1fs  %-9s  %-24s  for %.1fs", f.At.Seconds(), f.Kind, f.On, f.For.Seconds())
}

// kinds are the faults with how often each comes among a hundred, and how long it lasts at most.
var kinds = []struct {
	name string
	per  int
	most time.Duration
}{
	{faultKill, 24, time.Second},
	{faultStop, 8, time.Second},
	{faultPause, 16, 6 * time.Second},
	{faultCut, 10, 5 * time.Second},
	{faultHole, 12, 6 * time.Second},
	{faultSlow, 6, 8 * time.Second},
	{faultCopies, 11, 0},
	{faultPoison, 11, 0},
	{faultFullLog, 1, 3 * time.Second},
	{faultFullDisk, 1, 3 * time.Second},
}

const (
	// meanPause lies between two faults: ten minutes have 240.
	meanPause = 2500 * time.Millisecond
	// rest is how long a process is let alone after a fault.
	rest = 3 * time.Second
	// diskOf is the broker whose disk can be full.
	diskOf = "nats-3"
	// onLog stands for faults that are no process's.
	onLog = "the log"
)

// plan returns the faults of a campaign. They follow from the seed alone: the same seed and names give the same plan, and
// a longer campaign begins as a shorter one does.
func plan(seed uint64, duration time.Duration, brokers, members []string, database string) []fault {
	r := rand.New(rand.NewPCG(seed, 0))
	busy := map[string]time.Duration{} // until when a process has its fault, and its rest
	var faults []fault
	for at := meanPause; ; at += meanPause/2 + time.Duration(r.Int64N(int64(meanPause))) {
		f := draw(r, at, brokers, members, database)
		if f.At+f.For > duration {
			return faults
		}
		others := slices.ContainsFunc(brokers, func(b string) bool { return b != f.On && busy[b] > at })
		switch {
		case busy[f.On] > at: // its turn goes to the log
			f.Kind, f.On, f.For = faultCopies, onLog, 0
		case slices.Contains(brokers, f.On) && others && r.IntN(8) > 0: // two brokers of three at once are rare
			f.Kind, f.On, f.For = faultPoison, onLog, 0
		}
		if f.On != onLog {
			busy[f.On] = at + f.For + rest
		}
		faults = append(faults, f)
	}
}

func draw(r *rand.Rand, at time.Duration, brokers, members []string, database string) fault {
	f := fault{At: at, Seed: r.Uint64(), On: onLog}
	n := r.IntN(100)
	for _, k := range kinds {
		if n >= 0 && n < k.per {
			f.Kind = k.name
			if k.most > 0 {
				f.For = k.most/4 + time.Duration(r.Int64N(int64(k.most)*3/4))
			}
		}
		n -= k.per
	}
	switch f.Kind {
	case faultCopies, faultPoison, faultFullLog:
	case faultFullDisk:
		f.On = diskOf
	case faultCut, faultHole, faultSlow:
		if r.IntN(2) == 0 { // one way of one process
			f.On = linkName(members[r.IntN(len(members))], append(slices.Clone(brokers), database)[r.IntN(len(brokers)+1)])
			break
		}
		fallthrough
	default:
		f.On = slices.Concat(members, brokers, []string{database})[r.IntN(len(members)+len(brokers)+1)]
	}
	return f
}

func linkName(from, to string) string { return from + " → " + to }

// The plan follows from the seed, has every kind on every process in ten minutes, and more than 200 faults.
func TestPlan(t *testing.T) {
	t.Parallel()
	brokers, members := []string{"nats-1", "nats-2", "nats-3"}, []string{"api-1", "api-2", "stages-1", "projector-1"}
	of := func(seed uint64, d time.Duration) []fault { return plan(seed, d, brokers, members, "postgres") }
	if !slices.Equal(of(7, time.Hour), of(7, time.Hour)) {
		t.Error("one seed gives two plans")
	}
	if slices.Equal(of(7, time.Hour), of(8, time.Hour)) {
		t.Error("two seeds give one plan")
	}
	for seed := range uint64(20) {
		faults := of(seed, 10*time.Minute)
		if len(faults) < 200 {
			t.Errorf("seed %d gives %d faults", seed, len(faults))
		}
		until := map[string]time.Duration{}
		for _, f := range faults {
			if f.On != onLog && f.At < until[f.On] {
				t.Errorf("seed %d: %s comes while %s has its fault", seed, f, f.On)
			}
			until[f.On] = f.At + f.For
		}
	}
	seen := map[string]bool{}
	for _, f := range of(1, time.Hour) {
		seen[f.Kind+" "+f.On] = true
	}
	for _, name := range slices.Concat(brokers, members, []string{"postgres"}) {
		for _, kind := range []string{faultKill, faultStop, faultPause, faultCut, faultHole, faultSlow} {
			if !seen[kind+" "+name] {
				t.Errorf("an hour has no %s of %s", kind, name)
			}
		}
	}
	if short := of(1, time.Minute); !slices.Equal(short, of(1, time.Hour)[:len(short)]) {
		t.Errorf("a longer campaign begins in another way:\n%s", strings.Trim(fmt.Sprint(short), "[]"))
	}
}

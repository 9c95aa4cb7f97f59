package projections_test

import (
	"math"
	"testing"
	"time"

	"kondate/projections"
)

// BenchmarkRebuild reports how fast a rebuild and a verification go through a log, beside the projector that took it in
// in the same run. The fastest round of each counts.
func BenchmarkRebuild(b *testing.B) {
	log := benchLog(b)
	projected, rebuilt, verified := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	for b.Loop() {
		b.StopTimer()
		f := newFixture(b)
		f.log = log
		projected = min(projected, f.benchProjected(benchAtOnce*9))
		b.StartTimer()
		begin := time.Now()
		f.rebuild(projections.RebuildOptions{})
		rebuilt = min(rebuilt, time.Since(begin))
		begin = time.Now()
		f.sound()
		verified = min(verified, time.Since(begin))
		f.pool.Close()
	}
	b.ReportMetric(benchEvents/projected.Seconds(), "projected-events/s")
	b.ReportMetric(benchEvents/rebuilt.Seconds(), "rebuilt-events/s")
	b.ReportMetric(benchEvents/verified.Seconds(), "verified-events/s")
	b.ReportMetric(benchEvents*benchDishes/rebuilt.Seconds(), "rebuilt-results/s")
}

package stage

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"kondate/domain/menu"
)

// latencyWindow is how far back the quantiles of a stage's calls look.
const latencyWindow = 10 * time.Minute

// stats counts what a stage of this process does.
type stats struct {
	calls    *prometheus.CounterVec // by outcome: a result's status, or "failed"
	latency  prometheus.Summary     // of the calls that ended, in seconds
	inFlight prometheus.Gauge
	cached   prometheus.Counter
	paused   prometheus.Counter
	setAside prometheus.Counter
}

// outcomeFailed is how a call ends that has no result.
const outcomeFailed = "failed"

func newStats(stage menu.Stage, provider string) *stats {
	labels := prometheus.Labels{"stage": stage.String(), "provider": provider}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels})
	}
	return &stats{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kondate_stage_calls_total", Help: "Calls of a stage's provider that ended, by outcome.", ConstLabels: labels,
		}, []string{"outcome"}),
		latency: prometheus.NewSummary(prometheus.SummaryOpts{
			Name: "kondate_stage_call_seconds", Help: "How long a stage's provider took.", ConstLabels: labels,
			Objectives: map[float64]float64{0.5: 0.02, 0.99: 0.001}, MaxAge: latencyWindow,
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kondate_stage_in_flight", Help: "Calls of a stage's provider that run.", ConstLabels: labels,
		}),
		cached:   counter("kondate_stage_cached_total", "Dishes that a stored result answered."),
		paused:   counter("kondate_stage_paused_total", "Calls that were not made because the provider takes none."),
		setAside: counter("kondate_stage_set_aside_total", "Messages that no attempt would ever make sense of."),
	}
}

func (s *stats) collectors() []prometheus.Collector {
	return []prometheus.Collector{s.calls, s.latency, s.inFlight, s.cached, s.paused, s.setAside}
}

// begin counts a call; end counts how it ended.
func (s *stats) begin() time.Time {
	s.inFlight.Inc()
	return time.Now()
}

func (s *stats) end(since time.Time, result menu.Result, err error) {
	s.inFlight.Dec()
	s.latency.Observe(time.Since(since).Seconds())
	outcome := string(result.Status)
	if err != nil || outcome == "" {
		outcome = outcomeFailed
	}
	s.calls.WithLabelValues(outcome).Inc()
}

// Report is what a stage of this process does at the moment, and has done since the process began.
type Report struct {
	Stage    menu.Stage `json:"stage"`
	Provider string     `json:"provider"`
	Circuit  string     `json:"circuit,omitempty"` // "closed", "open", "half-open", "paused"; empty: none
	InFlight int        `json:"in_flight"`         // dishes at the provider
	Waiting  int        `json:"waiting"`           // dishes in hand that wait for a slot
	Calls    uint64     `json:"calls"`             // that ended
	Failed   uint64     `json:"failed"`            // those without a result
	Cached   uint64     `json:"cached"`            // dishes that a stored result answered
	SetAside uint64     `json:"set_aside"`         // messages that make no sense
	P50      float64    `json:"p50_seconds"`       // of the last ten minutes' calls; 0: none
	P99      float64    `json:"p99_seconds"`
}

// Describe and Collect make an engine a collector of its stages' metrics.
func (e *Engine) Describe(out chan<- *prometheus.Desc) {
	for _, s := range e.stages {
		for _, c := range s.stats.collectors() {
			c.Describe(out)
		}
	}
}

// Collect is described at [Engine.Describe].
func (e *Engine) Collect(out chan<- prometheus.Metric) {
	for _, s := range e.stages {
		for _, c := range s.stats.collectors() {
			c.Collect(out)
		}
	}
}

// Reports says what the eight stages do.
func (e *Engine) Reports() []Report {
	reports := make([]Report, len(e.stages))
	for i, s := range e.stages {
		reports[i] = s.report()
	}
	return reports
}

// SetAside returns how many messages a stage has set aside because no attempt would ever make sense of them.
func (e *Engine) SetAside(s menu.Stage) uint64 { return uint64(value(e.stages[s].stats.setAside)) }

func (s *stage) report() Report {
	r := Report{
		Stage: s.stage, Provider: s.provider.Name(), Circuit: s.guard.state(), Waiting: s.waiting(),
		InFlight: int(value(s.stats.inFlight)), Cached: uint64(value(s.stats.cached)), SetAside: uint64(value(s.stats.setAside)),
		Failed: uint64(value(s.stats.calls.WithLabelValues(outcomeFailed))),
	}
	if summary := read(s.stats.latency).GetSummary(); summary.GetSampleCount() > 0 {
		r.Calls = summary.GetSampleCount()
		for _, q := range summary.GetQuantile() {
			switch v := q.GetValue(); {
			case v != v: // nothing within the window
			case q.GetQuantile() == 0.5:
				r.P50 = v
			default:
				r.P99 = v
			}
		}
	}
	return r
}

func read(m prometheus.Metric) *dto.Metric {
	var out dto.Metric
	_ = m.Write(&out) // a counter, gauge or summary has nothing that could fail
	return &out
}

func value(m prometheus.Metric) float64 {
	out := read(m)
	return out.GetCounter().GetValue() + out.GetGauge().GetValue()
}

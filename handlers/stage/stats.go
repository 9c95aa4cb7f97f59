package stage

import (
	"cmp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"kondate/domain/menu"
	"kondate/streams"
)

// latencyWindow is how far back the quantiles of a stage's calls look.
const latencyWindow = 10 * time.Minute

// stats counts what a stage of this process does.
type stats struct {
	calls    *prometheus.CounterVec // by outcome: a result's status, or "failed"
	latency  prometheus.Summary     // of the calls that ended, in seconds
	duration prometheus.Histogram   // the same, to be added up over processes
	recorded *prometheus.CounterVec // dishes, by the event that tells of them
	failures *prometheus.CounterVec // dishes whose attempt failed, by class of reason
	inFlight prometheus.Gauge
	cached   prometheus.Counter
	paused   prometheus.Counter
	setAside prometheus.Counter

	watched []prometheus.Collector // what is read from the stage itself
}

// outcomeFailed is how a call ends that has no result.
const outcomeFailed = "failed"

func newStats(stage menu.Stage, provider string) *stats {
	labels := prometheus.Labels{"stage": stage.String(), "provider": provider}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels})
	}
	s := &stats{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kondate_stage_calls_total", Help: "Calls of a stage's provider that ended, by outcome.", ConstLabels: labels,
		}, []string{"outcome"}),
		latency: prometheus.NewSummary(prometheus.SummaryOpts{
			Name: "kondate_stage_call_seconds", Help: "How long a stage's provider took.", ConstLabels: labels,
			Objectives: map[float64]float64{0.5: 0.02, 0.99: 0.001}, MaxAge: latencyWindow,
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kondate_stage_call_duration_seconds", Help: "How long a stage's provider took.", ConstLabels: labels,
			Buckets: []float64{.0001, .001, .005, .025, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}),
		recorded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kondate_stage_dishes_total", Help: "Dishes that a stage recorded something of, by event.", ConstLabels: labels,
		}, []string{"event"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kondate_stage_failures_total", Help: "Dishes whose attempt failed, by class of reason.", ConstLabels: labels,
		}, []string{"reason"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kondate_stage_in_flight", Help: "Calls of a stage's provider that run.", ConstLabels: labels,
		}),
		cached:   counter("kondate_stage_cached_total", "Dishes that a stored result answered."),
		paused:   counter("kondate_stage_paused_total", "Calls that were not made because the provider takes none."),
		setAside: counter("kondate_stage_set_aside_total", "Messages that no attempt would ever make sense of."),
	}
	for _, event := range []menu.Event{menu.StageCompleted{}, menu.StageAttemptFailed{}, menu.StageFailed{}} {
		s.recorded.WithLabelValues(event.Type().Name()) // a rate needs the zero that it begins with
	}
	return s
}

func (s *stats) collectors() []prometheus.Collector {
	return append([]prometheus.Collector{s.calls, s.latency, s.duration, s.recorded, s.failures, s.inFlight, s.cached, s.paused, s.setAside}, s.watched...)
}

// watch adds the gauges that are read from the stage when they are asked for.
func (s *stage) watch() {
	gauge := func(name, help string, labels prometheus.Labels, of func() float64) {
		labels["stage"], labels["provider"] = s.stage.String(), s.provider.Name()
		s.stats.watched = append(s.stats.watched, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, of))
	}
	gauge("kondate_stage_queued", "Dishes in hand that wait for a slot.", prometheus.Labels{}, func() float64 { return float64(s.waiting()) })
	for _, state := range []string{CircuitClosed, CircuitOpen, CircuitHalfOpen, CircuitPaused} {
		gauge("kondate_stage_circuit", "1 for the state that the way to the provider is in.", prometheus.Labels{"state": state}, func() float64 {
			if cmp.Or(s.guard.state(), CircuitClosed) == state {
				return 1
			}
			return 0
		})
	}
}

// record counts the dishes of an event of the stage's that is in the log.
func (s *stats) record(event menu.Event) {
	dishes, reason := 0, ""
	switch e := event.(type) {
	case menu.StageCompleted:
		dishes = len(e.Results)
	case menu.StageAttemptFailed:
		dishes, reason = len(e.IDs), e.Reason
	case menu.StageFailed:
		dishes, reason = len(e.IDs), e.Reason
	case menu.Submitted, menu.StageRetryRequested, menu.Completed, menu.Expired, menu.Erased, menu.ImageRequested, menu.ImageCompleted, menu.ImageFailed:
		return // no stage records these
	}
	s.recorded.WithLabelValues(event.Type().Name()).Add(float64(dishes))
	if reason != "" {
		s.failures.WithLabelValues(ReasonClass(reason)).Add(float64(dishes))
	}
}

// begin counts a call; end counts how it ended.
func (s *stats) begin() time.Time {
	s.inFlight.Inc()
	return time.Now()
}

func (s *stats) end(since time.Time, result menu.Result, err error) {
	s.inFlight.Dec()
	took := time.Since(since).Seconds()
	s.latency.Observe(took)
	s.duration.Observe(took)
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
	for _, c := range e.collectors() {
		c.Describe(out)
	}
}

// Collect is described at [Engine.Describe].
func (e *Engine) Collect(out chan<- prometheus.Metric) {
	for _, c := range e.collectors() {
		c.Collect(out)
	}
}

func (e *Engine) collectors() (all []prometheus.Collector) {
	for _, s := range e.stages {
		all = append(all, s.stats.collectors()...)
	}
	for _, g := range e.guards {
		all = append(all, g.waits, g.waited)
	}
	return all
}

// Reports says what the eight stages do.
func (e *Engine) Reports() []Report {
	reports := make([]Report, len(e.stages))
	for i, s := range e.stages {
		reports[i] = s.report()
	}
	return reports
}

// Pulls returns how the pulls of the stages' consumers go, by the consumers' names.
func (e *Engine) Pulls() map[string]streams.Pull { return e.subscriber.Pulls() }

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

package main

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"kondate/eventstore"
	"kondate/streams"
)

// appendMetrics counts the appends of this process. Each part has a store of its own.
type appendMetrics struct {
	answers   *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	events    *prometheus.HistogramVec
	bytes     *prometheus.CounterVec
	readBacks *prometheus.CounterVec
}

// durations are the buckets of what usually takes milliseconds and may take the time-out of an append.
func durations() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

func newAppendMetrics() *appendMetrics {
	part := []string{"part"}
	return &appendMetrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kondate_log_appends_total", Help: "Appends to the log, by answer."}, []string{"part", "answer"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kondate_log_append_seconds", Help: "How long an append took until its answer.", Buckets: durations(),
		}, part),
		events: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kondate_log_append_events", Help: "Events of one append.", Buckets: []float64{1, 2, 5, 10, 20, 50, 100},
		}, part),
		bytes:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kondate_log_appended_bytes_total", Help: "Bytes of the events that appends committed."}, part),
		readBacks: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kondate_log_read_backs_total", Help: "Appends whose end had to be looked up in the log."}, part),
	}
}

func (m *appendMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.answers, m.seconds, m.events, m.bytes, m.readBacks}
}

// of returns what a part's store tells of each append.
func (m *appendMetrics) of(part string) func(eventstore.Appended) {
	if m == nil {
		return nil // a command
	}
	answers := m.answers.MustCurryWith(prometheus.Labels{"part": part})
	for _, a := range eventstore.Answers() {
		answers.WithLabelValues(string(a)) // a rate needs the zero that it begins with
	}
	seconds, events, bytes, readBacks := m.seconds.WithLabelValues(part), m.events.WithLabelValues(part), m.bytes.WithLabelValues(part), m.readBacks.WithLabelValues(part)
	return func(a eventstore.Appended) {
		answers.WithLabelValues(string(a.Answer)).Inc()
		seconds.Observe(a.Took.Seconds())
		events.Observe(float64(a.Events))
		if a.Answer == eventstore.AnswerCommitted {
			bytes.Add(float64(a.Bytes))
		}
		if a.ReadBack {
			readBacks.Inc()
		}
	}
}

// logInfo says where the log is and when it is synced.
func (a *app) logInfo() prometheus.Collector {
	labels := prometheus.Labels{"broker": "embedded", "sync": a.cfg.NATS.Sync}
	if a.broker == nil {
		labels = prometheus.Labels{"broker": "external", "sync": ""}
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "kondate_log_info", Help: "1; the labels say whose the broker is, and when an embedded one syncs.", ConstLabels: labels})
	g.Set(1)
	return g
}

// newLogCollector tells how the stream of the log is.
func newLogCollector(js jetstream.JetStream, log *slog.Logger) prometheus.Collector {
	type looked struct {
		streams.LogState

		err error
	}
	c := newSnapshot("the log", log, func(ctx context.Context) (looked, error) {
		state, err := streams.LookAtLog(ctx, js)
		return looked{state, err}, nil
	})
	gauge := func(name, help string, of func(streams.LogState) float64) {
		c.gauges("kondate_log_"+name, help, nil, func(l looked) []sample {
			if l.err != nil {
				return nil // nobody knows
			}
			return []sample{{value: of(l.LogState)}}
		})
	}
	c.gauge("kondate_log_up", "Whether the stream of the log answers and has a leader.", func(l looked) float64 { return one(l.err == nil) })
	gauge("messages", "Events in the log.", func(s streams.LogState) float64 { return float64(s.Messages) })
	gauge("last_sequence", "Sequence of the log's newest event.", func(s streams.LogState) float64 { return float64(s.LastSeq) })
	gauge("bytes", "Size of the log.", func(s streams.LogState) float64 { return float64(s.Bytes) })
	gauge("max_bytes", "Size at which the log takes no more.", func(s streams.LogState) float64 { return float64(s.MaxBytes) })
	gauge("subjects", "Subjects in the log.", func(s streams.LogState) float64 { return float64(s.Subjects) })
	gauge("max_subjects", "Subjects above which the broker gets slow.", func(streams.LogState) float64 { return streams.MaxSubjects })
	gauge("consumers", "Consumers of the log.", func(s streams.LogState) float64 { return float64(s.Consumers) })
	gauge("max_consumers", "Consumers that the log may have.", func(s streams.LogState) float64 { return float64(s.MaxConsumers) })
	gauge("replicas", "Copies of the log that are configured.", func(s streams.LogState) float64 { return float64(s.Replicas) })
	gauge("replicas_offline", "Copies whose server is away.", func(s streams.LogState) float64 { return float64(len(s.Offline)) })
	gauge("replicas_lagging", "Copies that are not up to date.", func(s streams.LogState) float64 { return float64(len(s.Lagging)) })
	return c
}

// connected is one of the process' connections to NATS.
type connected struct {
	purpose string
	conn    *nats.Conn
}

// newConnectionsCollector tells how the connections to NATS are.
func newConnectionsCollector(a *app) prometheus.Collector {
	c := newSnapshot("the connections to NATS", a.log, func(context.Context) ([]connected, error) { return a.connections, nil })
	each := func(of func(*nats.Conn) float64) func([]connected) []sample {
		return func(all []connected) (samples []sample) {
			for _, c := range all {
				samples = append(samples, sample{of(c.conn), []string{c.purpose}})
			}
			return samples
		}
	}
	label := []string{"connection"}
	c.gauges("kondate_nats_connected", "Whether a connection to NATS stands.", label, each(func(nc *nats.Conn) float64 { return one(nc.IsConnected()) }))
	c.add(prometheus.CounterValue, "kondate_nats_reconnects_total", "How often a connection to NATS was made again.", label,
		each(func(nc *nats.Conn) float64 { return float64(nc.Stats().Reconnects) }))
	return c
}

// newPoolCollector tells how busy the connections to Postgres are.
func newPoolCollector(pool *pgxpool.Pool, log *slog.Logger) prometheus.Collector {
	c := newSnapshot("the connections to Postgres", log, func(context.Context) (*pgxpool.Stat, error) { return pool.Stat(), nil })
	c.gauges("kondate_postgres_connections", "Connections to Postgres in the pool.", []string{"state"}, func(s *pgxpool.Stat) []sample {
		return []sample{{float64(s.AcquiredConns()), []string{"in_use"}}, {float64(s.IdleConns()), []string{"idle"}}}
	})
	c.gauge("kondate_postgres_max_connections", "Connections that the pool may have.", func(s *pgxpool.Stat) float64 { return float64(s.MaxConns()) })
	c.counter("kondate_postgres_waits_total", "Requests that had to wait for a connection to Postgres.", func(s *pgxpool.Stat) float64 { return float64(s.EmptyAcquireCount()) })
	c.counter("kondate_postgres_wait_seconds_total", "How long requests waited for a connection to Postgres.", func(s *pgxpool.Stat) float64 { return s.EmptyAcquireWaitTime().Seconds() })
	return c
}

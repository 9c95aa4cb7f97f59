package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout bounds the look at a part for one scrape.
const scrapeTimeout = 5 * time.Second

// snapshot is a collector whose metrics all come from one look at a part, at the time of the scrape.
type snapshot[S any] struct {
	of      string // the part, for the log
	look    func(context.Context) (S, error)
	log     *slog.Logger
	metrics []snapshotMetric[S]
}

type snapshotMetric[S any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(S) []sample
}

// sample is a value with those of its labels.
type sample struct {
	value  float64
	labels []string
}

func newSnapshot[S any](of string, log *slog.Logger, look func(context.Context) (S, error)) *snapshot[S] {
	return &snapshot[S]{of: of, look: look, log: log}
}

func (c *snapshot[S]) gauge(name, help string, read func(S) float64) {
	c.add(prometheus.GaugeValue, name, help, nil, func(s S) []sample { return []sample{{value: read(s)}} })
}

func (c *snapshot[S]) counter(name, help string, read func(S) float64) {
	c.add(prometheus.CounterValue, name, help, nil, func(s S) []sample { return []sample{{value: read(s)}} })
}

// gauges is gauge with labels.
func (c *snapshot[S]) gauges(name, help string, labels []string, read func(S) []sample) {
	c.add(prometheus.GaugeValue, name, help, labels, read)
}

func (c *snapshot[S]) add(kind prometheus.ValueType, name, help string, labels []string, read func(S) []sample) {
	c.metrics = append(c.metrics, snapshotMetric[S]{prometheus.NewDesc(name, help, labels, nil), kind, read})
}

// Describe is [prometheus.Collector]'s.
func (c *snapshot[S]) Describe(out chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		out <- m.desc
	}
}

// Collect is [prometheus.Collector]'s.
func (c *snapshot[S]) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	s, err := c.look(ctx)
	if err != nil {
		c.log.WarnContext(ctx, "metrics are missing", "of", c.of, "error", err)
		out <- prometheus.NewInvalidMetric(c.metrics[0].desc, err)
		return
	}
	for _, m := range c.metrics {
		for _, v := range m.read(s) {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, v.value, v.labels...)
		}
	}
}

func one(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}

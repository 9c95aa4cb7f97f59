package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"kondate/handlers/sse"
)

// streamsCollector tells what the session streams of this process do.
type streamsCollector struct {
	stats   func() sse.Stats
	numbers []streamsNumber
}

type streamsNumber struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(sse.Stats) float64
}

func newStreamsCollector(hub *sse.Hub) *streamsCollector {
	c := &streamsCollector{stats: hub.Stats}
	add := func(kind prometheus.ValueType, name, help string, of func(sse.Stats) float64) {
		c.numbers = append(c.numbers, streamsNumber{prometheus.NewDesc("kondate_streams_"+name, help, nil, nil), kind, of})
	}
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	add(gauge, "open", "Streams that are open.", func(s sse.Stats) float64 { return float64(s.Open) })
	add(counter, "opened_total", "Streams that began.", func(s sse.Stats) float64 { return float64(s.Opened) })
	add(counter, "refused_total", "Streams over a limit, or while none were taken.", func(s sse.Stats) float64 { return float64(s.Refused) })
	add(counter, "stalled_total", "Streams cut because their client took nothing.", func(s sse.Stats) float64 { return float64(s.Stalled) })
	add(counter, "failed_total", "Streams that ended by an error of the server's.", func(s sse.Stats) float64 { return float64(s.Failed) })
	add(counter, "resets_total", "Cursors that could not be honoured.", func(s sse.Stats) float64 { return float64(s.Resets) })
	add(counter, "events_total", "Events written to clients.", func(s sse.Stats) float64 { return float64(s.Events) })
	add(counter, "replayed_total", "Events read from the history or the log because memory did not reach back far enough.", func(s sse.Stats) float64 { return float64(s.Replayed) })
	add(gauge, "head", "Sequence up to which the log was followed.", func(s sse.Stats) float64 { return float64(s.Head) })
	add(gauge, "window_events", "Events held in memory.", func(s sse.Stats) float64 { return float64(s.WindowEvents) })
	add(gauge, "window_bytes", "Bytes of these.", func(s sse.Stats) float64 { return float64(s.WindowBytes) })
	return c
}

// Describe is [prometheus.Collector]'s.
func (c *streamsCollector) Describe(out chan<- *prometheus.Desc) {
	for _, n := range c.numbers {
		out <- n.desc
	}
}

// Collect is [prometheus.Collector]'s.
func (c *streamsCollector) Collect(out chan<- prometheus.Metric) {
	stats := c.stats()
	for _, n := range c.numbers {
		out <- prometheus.MustNewConstMetric(n.desc, n.kind, n.of(stats))
	}
}

package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"kondate/handlers/sse"
)

// newStreamsCollector tells what the session streams of this process do.
func newStreamsCollector(hub *sse.Hub, log *slog.Logger) prometheus.Collector {
	c := newSnapshot("streams", log, func(context.Context) (sse.Stats, error) { return hub.Stats(), nil })
	gauge := func(name, help string, of func(sse.Stats) float64) { c.gauge("kondate_streams_"+name, help, of) }
	counter := func(name, help string, of func(sse.Stats) int64) {
		c.counter("kondate_streams_"+name, help, func(s sse.Stats) float64 { return float64(of(s)) })
	}
	gauge("open", "Streams that are open.", func(s sse.Stats) float64 { return float64(s.Open) })
	gauge("max", "Streams that may be open.", func(s sse.Stats) float64 { return float64(s.Max) })
	gauge("behind", "Streams that have something to write at the moment.", func(s sse.Stats) float64 { return float64(s.Behind) })
	counter("opened_total", "Streams that began.", func(s sse.Stats) int64 { return s.Opened })
	counter("resumed_total", "Streams that began where a client had stopped.", func(s sse.Stats) int64 { return s.Resumed })
	c.add(prometheus.CounterValue, "kondate_streams_refused_total", "Streams that were not begun, by class of status: 5xx without a place for any, 4xx over a limit of the client's.",
		[]string{"code"}, func(s sse.Stats) []sample {
			return []sample{{float64(s.Refused), []string{"5xx"}}, {float64(s.Limited), []string{"4xx"}}}
		})
	counter("stalled_total", "Streams cut because their client took nothing.", func(s sse.Stats) int64 { return s.Stalled })
	counter("failed_total", "Streams that ended by an error of the server's.", func(s sse.Stats) int64 { return s.Failed })
	counter("resets_total", "Cursors that could not be honoured.", func(s sse.Stats) int64 { return s.Resets })
	counter("events_total", "Events written to clients.", func(s sse.Stats) int64 { return s.Events })
	counter("sent_bytes_total", "Bytes written by streams that have ended.", func(s sse.Stats) int64 { return s.Bytes })
	counter("replayed_total", "Events read from the history or the log because memory did not reach back far enough.", func(s sse.Stats) int64 { return s.Replayed })
	counter("live_refused_total", "Live messages with a reserved name or above the size limit.", func(s sse.Stats) int64 { return s.LiveRefused })
	counter("live_lost_total", "Live messages that made room for newer ones before every reader came round.", func(s sse.Stats) int64 { return s.LiveLost })
	gauge("head", "Sequence up to which the log was followed.", func(s sse.Stats) float64 { return float64(s.Head) })
	gauge("window_events", "Events held in memory.", func(s sse.Stats) float64 { return float64(s.WindowEvents) })
	gauge("window_bytes", "Bytes of these.", func(s sse.Stats) float64 { return float64(s.WindowBytes) })
	return c
}

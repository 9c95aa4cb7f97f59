package main

import (
	"context"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"kondate/streams"
)

// newConsumersCollector tells what the stages' consumers have before them, in all processes together.
func newConsumersCollector(js jetstream.JetStream, log *slog.Logger) prometheus.Collector {
	c := newSnapshot("the stages' consumers", log, func(ctx context.Context) ([]streams.Backlog, error) { return streams.Backlogs(ctx, js) })
	gauge := func(name, help string, of func(streams.ConsumerBacklog) float64) {
		c.gauges("kondate_stage_consumer_"+name, help, []string{"stage", "consumer"}, func(all []streams.Backlog) (samples []sample) {
			for _, b := range all {
				for _, consumer := range b.Consumers {
					kind := "log"
					switch consumer.Name {
					case streams.RequestConsumer(b.Stage):
						kind = "request"
					case streams.RetryConsumer(b.Stage):
						kind = "retry"
					}
					samples = append(samples, sample{of(consumer), []string{b.Stage.String(), kind}})
				}
			}
			return samples
		})
	}
	gauge("pending", "Messages that nobody has taken yet.", func(b streams.ConsumerBacklog) float64 { return float64(b.Pending) })
	gauge("ack_pending", "Messages that were delivered and are not answered.", func(b streams.ConsumerBacklog) float64 { return float64(b.InHand) })
	gauge("redelivered", "Of these, messages that were delivered before.", func(b streams.ConsumerBacklog) float64 { return float64(b.Redelivered) })
	gauge("paused", "Whether somebody paused the stage.", func(b streams.ConsumerBacklog) float64 { return one(b.Paused) })
	c.gauges("kondate_stage_retries_waiting", "Failed attempts that wait for their time.", []string{"stage"}, func(all []streams.Backlog) (samples []sample) {
		for _, b := range all {
			samples = append(samples, sample{float64(b.Waiting), []string{b.Stage.String()}})
		}
		return samples
	})
	return c
}

package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kondate/handlers/openapi"
	"kondate/projections"
)

// newMetrics returns a registry with the metrics of the process itself.
func newMetrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// serveMetrics answers GET /metrics.
func serveMetrics(router fiber.Router, registry *prometheus.Registry) {
	// A part that cannot be read, such as a database that is away, does not hide the others.
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	router.Get("/metrics", adaptor.HTTPHandler(handler))
}

// metricsOperation describes it.
func metricsOperation() openapi.Operation {
	return openapi.Operation{
		Method: http.MethodGet, Path: "/metrics", ID: "metrics", Tag: "service", Summary: "Metrics, for Prometheus",
		Answers: []openapi.Answer{openapi.Media(http.StatusOK, "text/plain", "In Prometheus' text format.")},
	}
}

// parkedTimeout bounds the look at the database for one scrape.
const parkedTimeout = 5 * time.Second

// parkedCollector tells how much is parked, as the rows say at the time of the scrape.
type parkedCollector struct {
	parked func(context.Context) ([]projections.ParkedCount, error)
	log    *slog.Logger
	dishes *prometheus.Desc
	oldest *prometheus.Desc
}

func newParkedCollector(queries *projections.Queries, log *slog.Logger) *parkedCollector {
	return &parkedCollector{
		parked: queries.Parked, log: log,
		dishes: prometheus.NewDesc("kondate_parked_dishes", "Dishes for which a stage is parked.", []string{"stage", "reason"}, nil),
		oldest: prometheus.NewDesc("kondate_parked_oldest_seconds", "Age of the stage that is parked for the longest time.", []string{"stage", "reason"}, nil),
	}
}

// Describe is [prometheus.Collector]'s.
func (c *parkedCollector) Describe(out chan<- *prometheus.Desc) { out <- c.dishes; out <- c.oldest }

// Collect is [prometheus.Collector]'s.
func (c *parkedCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), parkedTimeout)
	defer cancel()
	counts, err := c.parked(ctx)
	if err != nil {
		c.log.WarnContext(ctx, "the metrics of parked stages are missing", "error", err)
		out <- prometheus.NewInvalidMetric(c.dishes, err)
		return
	}
	for _, n := range counts {
		out <- prometheus.MustNewConstMetric(c.dishes, prometheus.GaugeValue, float64(n.Dishes), n.Stage.String(), n.Reason)
		out <- prometheus.MustNewConstMetric(c.oldest, prometheus.GaugeValue, time.Since(n.Oldest).Seconds(), n.Stage.String(), n.Reason)
	}
}

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kondate/handlers/openapi"
	"kondate/handlers/stage"
	"kondate/projections"
)

// openMetrics makes the registry, with the metrics that every process has.
func (a *app) openMetrics(roles []string) error {
	certificates, err := newCertificatesCollector(a.log, a.cfg.HTTP.tls(), a.cfg.NATS.Access.tls())
	if err != nil {
		return err
	}
	a.metrics, a.appends = prometheus.NewRegistry(), newAppendMetrics()
	return a.register("the process", append(
		[]prometheus.Collector{
			collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
			buildInfo(), rolesInfo(roles), a.logInfo(), newLogCollector(a.js, a.log), newConnectionsCollector(a), newPoolCollector(a.pool, a.log), certificates,
		}, a.appends.collectors()...)...)
}

// register adds the metrics of a part.
func (a *app) register(of string, all ...prometheus.Collector) error {
	for _, c := range all {
		if err := a.metrics.Register(c); err != nil {
			return fmt.Errorf("register the metrics of %s: %w", of, err)
		}
	}
	return nil
}

// buildInfo says which program this is.
func buildInfo() prometheus.Collector {
	labels := prometheus.Labels{"version": "unknown", "revision": "unknown", "goversion": "unknown"}
	if info, ok := debug.ReadBuildInfo(); ok {
		labels["version"], labels["goversion"] = info.Main.Version, info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				labels["revision"] = s.Value
			}
		}
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "kondate_build_info", Help: "1; the labels say which program this is.", ConstLabels: labels})
	g.Set(1)
	return g
}

func rolesInfo(roles []string) prometheus.Collector {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kondate_role", Help: "1 for each role of the process."}, []string{"role"})
	for _, r := range roles {
		g.WithLabelValues(r).Set(1)
	}
	return g
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

// newParkedCollector tells how much is parked, as the rows say. Reasons that another team's worker gives are put together:
// there may be any number of them.
func newParkedCollector(queries *projections.Queries, log *slog.Logger) prometheus.Collector {
	type group struct{ stage, reason string }
	type parked struct {
		dishes int
		oldest time.Time
	}
	c := newSnapshot("parked stages", log, func(ctx context.Context) (map[group]parked, error) {
		counts, err := queries.Parked(ctx)
		if err != nil {
			return nil, err
		}
		all := map[group]parked{}
		for _, n := range counts {
			key := group{n.Stage.String(), stage.ReasonClass(n.Reason)}
			p := all[key]
			if p.dishes += n.Dishes; p.oldest.IsZero() || n.Oldest.Before(p.oldest) {
				p.oldest = n.Oldest
			}
			all[key] = p
		}
		return all, nil
	})
	labels := []string{"stage", "reason"}
	each := func(of func(parked) float64) func(map[group]parked) []sample {
		return func(all map[group]parked) (samples []sample) {
			for key, p := range all {
				samples = append(samples, sample{of(p), []string{key.stage, key.reason}})
			}
			return samples
		}
	}
	c.gauges("kondate_parked_dishes", "Dishes for which a stage is parked.", labels, each(func(p parked) float64 { return float64(p.dishes) }))
	c.gauges("kondate_parked_oldest_seconds", "Age of the stage that is parked for the longest time.", labels, each(func(p parked) float64 { return time.Since(p.oldest).Seconds() }))
	return c
}

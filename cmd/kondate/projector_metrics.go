package main

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"kondate/eventstore"
	"kondate/projections"
)

// pageMetrics counts the projector's transactions.
type pageMetrics struct{ events, seconds prometheus.Histogram }

func newPageMetrics() pageMetrics {
	return pageMetrics{
		events: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kondate_projector_page_events", Help: "Events that one transaction of the projector took in.", Buckets: []float64{1, 2, 5, 10, 25, 50, 100, 200, 256},
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kondate_projector_page_seconds", Help: "How long one transaction of the projector took.", Buckets: durations(),
		}),
	}
}

func (m pageMetrics) written(p projections.Page) {
	m.events.Observe(float64(p.Events))
	m.seconds.Observe(p.Took.Seconds())
}

// projectorWatch looks at the projector of this process, and at the rows, which may be another one's work.
type projectorWatch struct {
	projector *projections.Projector
	pool      *pgxpool.Pool
	log       *eventstore.JetStream
}

// lag is how far the rows are behind the log.
type lag struct {
	checkpoint uint64 // the last event that the rows reflect
	events     uint64 // after it
	age        time.Duration
	rebuild    []projections.Version // that are being built
}

// lag asks Postgres for the checkpoint, and the log for what is after it.
func (w projectorWatch) lag(ctx context.Context) (lag, error) {
	var l lag
	versions, err := projections.Versions(ctx, w.pool)
	if err != nil {
		return l, err
	}
	for _, v := range versions {
		switch v.State {
		case projections.VersionLive:
			l.checkpoint = v.Seq
		case projections.VersionBuilding:
			l.rebuild = append(l.rebuild, v)
		case projections.VersionChecking, projections.VersionOld:
		}
	}
	last, err := w.log.Last(ctx)
	if err != nil || last <= l.checkpoint {
		return l, err
	}
	// What was erased or purged at the log's end is not waited for.
	first, found, err := w.log.FirstAfter(ctx, l.checkpoint)
	if err != nil || !found {
		return l, err
	}
	l.events, l.age = last-l.checkpoint, max(0, time.Since(first.Time))
	return l, nil
}

// status is read from the projector itself: it is there when Postgres is not.
func (w projectorWatch) status(log *slog.Logger) prometheus.Collector {
	c := newSnapshot("the projector", log, func(context.Context) (projections.ProjectorStatus, error) { return w.projector.Status(), nil })
	c.counter("kondate_projector_completions_total", "Sessions whose menu.completed the projector appended.", func(s projections.ProjectorStatus) float64 { return float64(s.Completions) })
	c.counter("kondate_projector_errors_total", "How often the projection, or work beside it, failed.", func(s projections.ProjectorStatus) float64 { return float64(s.Errors) })
	c.gauge("kondate_projector_last_error_timestamp_seconds", "When that was for the last time; 0: never.", func(s projections.ProjectorStatus) float64 {
		if s.ErrAt.IsZero() {
			return 0
		}
		return float64(s.ErrAt.UnixMilli()) / 1000
	})
	return c
}

// active is 0 when Postgres does not answer: nobody works then.
func (w projectorWatch) active(log *slog.Logger) prometheus.Collector {
	c := newSnapshot("the projector", log, func(ctx context.Context) (bool, error) {
		leads, err := w.projector.Leads(ctx)
		return leads && err == nil, nil
	})
	c.gauge("kondate_projector_active", "1 if this process keeps the rows in step with the log, 0 if it stands by or cannot.", one)
	return c
}

// lags is the same at every projector of a database, active or not.
func (w projectorWatch) lags(log *slog.Logger) prometheus.Collector {
	c := newSnapshot("the projector's lag", log, w.lag)
	c.gauge("kondate_projector_checkpoint", "Sequence of the last event that the rows reflect.", func(l lag) float64 { return float64(l.checkpoint) })
	c.gauge("kondate_projector_lag_events", "Events that the rows do not reflect yet.", func(l lag) float64 { return float64(l.events) })
	c.gauge("kondate_projector_lag_seconds", "Age of the first of them.", func(l lag) float64 { return l.age.Seconds() })
	c.gauges("kondate_projector_rebuild_checkpoint", "How far a rebuild of the rows has come.", []string{"version"}, func(l lag) (samples []sample) {
		for _, v := range l.rebuild {
			samples = append(samples, sample{float64(v.Seq), []string{strconv.Itoa(v.Version)}})
		}
		return samples
	})
	return c
}

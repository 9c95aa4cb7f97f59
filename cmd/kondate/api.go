package main

import (
	"context"
	"fmt"
	"time"

	"kondate/handlers/access"
	"kondate/handlers/console"
	"kondate/handlers/httpapi"
	"kondate/handlers/sse"
	"kondate/projections"
	"kondate/streams"
)

// api puts everything that the role serves on the HTTP server. It returns the parts that this needs, and what ends the
// streams and exports.
func (a *app) api(ctx context.Context, door door, roles []string) (parts []part, end func(context.Context) error, err error) {
	store, reads, err := a.openStore("api")
	if err != nil {
		return nil, nil, err
	}
	incarnation, err := streams.Identity(ctx, a.js)
	if err != nil {
		return nil, nil, err
	}
	queries := projections.NewQueries(a.pool)
	hub, err := sse.NewHub(store, queries, streams.NewChannel(reads.Conn(), a.cfg.SSE.ChannelPrefix), sse.Config{
		MaxConnections:           a.cfg.SSE.MaxConnections,
		MaxConnectionsPerSession: a.cfg.SSE.MaxConnectionsPerSession,
		MaxConnectionsPerAddress: a.cfg.SSE.MaxConnectionsPerAddress,
		KeepaliveInterval:        a.cfg.SSE.KeepaliveInterval,
		EventHistoryTTL:          a.cfg.SSE.EventHistoryTTL,
		MaxEventSize:             int(a.cfg.SSE.MaxEventSize),
		ReconnectInterval:        a.cfg.SSE.Reconnect.ReconnectInterval,
		MaxReconnectAttempts:     a.cfg.SSE.Reconnect.MaxReconnectAttempts,
		Incarnation:              incarnation,
		Tenant:                   door.tenant,
		Now:                      time.Now,
		Logger:                   a.log,
	})
	if err != nil {
		return nil, nil, err
	}
	a.checks = append(a.checks, httpapi.Check{Name: "streams", Look: streamsWatch{hub, store.Newest}.check})
	messages, err := describeMessages(a.cfg.SSE.ChannelPrefix)
	if err != nil {
		return nil, nil, err
	}
	api, err := httpapi.New(httpapi.Config{
		Log: store, Rows: queries, History: queries, Failures: queries, Reservations: projections.NewReservations(a.pool, store),
		Tenant: door.tenant, OnlySession: door.onlySession, StreamToken: door.streamToken,
		Images:    streams.NewImages(reads),
		Readiness: a.readiness(roles),
		BatchSize: a.cfg.Processing.BatchSize, RequestTimeout: min(a.cfg.Database.PoolTimeout, httpapi.MaxRequestTimeout), Now: time.Now, Logger: a.log, Tracer: a.tracer,
		Client: access.KeyID, RateLimit: a.cfg.HTTP.rateLimit(), RateBurst: a.cfg.HTTP.RateBurst, CORSOrigins: a.cfg.HTTP.CORSOrigins,
		AsyncAPI: messages, Elsewhere: append(append(sse.Operations(), console.Operations()...), metricsOperation()),
	})
	if err != nil {
		return nil, nil, err
	}
	api.Use(a.web)
	door.use(a.web)
	api.Routes(a.web)
	if err := a.register("the API", newParkedCollector(queries, a.log), newStreamsCollector(hub, a.log)); err != nil {
		return nil, nil, err
	}
	serveMetrics(a.web, a.metrics)
	sse.NewHandler(hub, queries).Register(a.web)
	if err := console.Routes(a.web); err != nil {
		return nil, nil, err
	}
	return []part{{"streams", hub.Run}}, func(ctx context.Context) error {
		api.Close()
		if err := hub.Close(ctx); err != nil {
			return fmt.Errorf("end the streams: %w", err)
		}
		return nil
	}, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/httpapi"
	"kondate/handlers/stage"
	"kondate/projections"
	"kondate/projections/postgres"
	"kondate/streams"
)

// app is the program's parts and what they share.
type app struct {
	cfg Config
	log *slog.Logger

	dial       func(...nats.Option) (*nats.Conn, error) // to the broker
	js         jetstream.JetStream                      // what appends and answers requests
	natsURL    string                                   // for other programs; empty if the embedded broker opens no port
	broker     *streams.Server                          // nil with a broker of the user's
	socket     streams.Socket                           // of broker
	users      watched                                  // file of the users of broker
	durability string

	pool        *pgxpool.Pool
	private     *postgres.Server // nil with a database of the user's
	databaseURL string
	psql        string

	connections []connected          // to NATS
	metrics     *prometheus.Registry // of this process; nil in a command
	appends     *appendMetrics       // among them
	tracer      trace.Tracer         // nil: nobody wants traces

	checks   []httpapi.Check // of /readyz, of the parts that are open
	web      *fiber.App
	localKey string // API key of the commands beside this process; empty in mode none

	providers map[menu.Stage]stage.Provider // instead of the configured ones; for tests and benchmarks

	closers []func(context.Context) error // what close ends, in the order of opening
}

func (a *app) onClose(fn func(context.Context) error) { a.closers = append(a.closers, fn) }

// close ends what was opened, the last one first.
func (a *app) close(ctx context.Context) error {
	var errs []error
	for _, end := range slices.Backward(a.closers) {
		errs = append(errs, end(ctx))
	}
	return errors.Join(errs...)
}

// openLog connects to the broker of serve, or starts one in the process, and makes sure of the streams.
func (a *app) openLog(ctx context.Context) error {
	if err := a.openBroker(ctx, a.admitOthers); err != nil {
		return err
	}
	topology := a.topology()
	topology.AckWait = a.cfg.Stages.AckWait
	return streams.Ensure(ctx, a.js, topology)
}

func (a *app) topology() streams.Topology {
	return streams.Topology{Replicas: a.cfg.NATS.Replicas, MaxBytes: int64(a.cfg.NATS.MaxBytes), StoreDir: a.cfg.DataDir}
}

// openBroker connects to the broker, or starts one in the process, which is for the process alone but for what more says.
func (a *app) openBroker(ctx context.Context, more ...func(*streams.ServerConfig) error) error {
	sync, err := streams.ParseSync(a.cfg.NATS.Sync)
	if err != nil {
		return err
	}
	if a.cfg.NATS.URL != "" {
		a.dial = func(o ...nats.Option) (*nats.Conn, error) {
			return a.cfg.NATS.Access.dial(a.cfg.NATS.URL, a.log, o...)
		}
		a.durability = fmt.Sprintf("copies of the log: %d; when the broker syncs them to disk is its own setting", a.cfg.NATS.Replicas)
	} else {
		cfg := streams.ServerConfig{StoreDir: a.dir("nats"), Sync: sync, Logger: a.log}
		for _, configure := range more {
			if err := configure(&cfg); err != nil {
				return err
			}
		}
		if a.broker, err = streams.StartServer(ctx, cfg); err != nil {
			return err
		}
		a.onClose(a.broker.Shutdown)
		a.dial = a.broker.Connect
		a.natsURL, a.durability = a.broker.URL(), streams.Durability(1, sync)
	}
	if a.js, err = a.connect("append"); err != nil {
		return err
	}
	if a.cfg.NATS.URL != "" {
		a.natsURL = a.js.Conn().ConnectedUrlRedacted()
	}
	return nil
}

// connect opens a connection for one purpose.
func (a *app) connect(purpose string) (jetstream.JetStream, error) {
	nc, err := a.dial(nats.Name("kondate "+purpose), refusals(a.log))
	if err != nil {
		return nil, err
	}
	a.onClose(func(context.Context) error { nc.Close(); return nil })
	a.connections = append(a.connections, connected{purpose, nc})
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	return js, nil
}

// openStore returns the log as one part uses it: all append on one connection, each reads on its own.
func (a *app) openStore(purpose string) (store *eventstore.JetStream, reads jetstream.JetStream, err error) {
	if reads, err = a.connect(purpose); err != nil {
		return nil, nil, err
	}
	return eventstore.NewJetStream(a.js, eventstore.Config{
		MaxEventSize: int(a.cfg.SSE.MaxEventSize), Logger: a.log, Reads: reads, Tracer: a.tracer, Appended: a.appends.of(purpose),
	}), reads, nil
}

// openDatabase connects to Postgres, or starts a private one, and brings its schema up to date.
func (a *app) openDatabase(ctx context.Context) error {
	a.databaseURL, a.psql = a.cfg.Database.URL, "psql '"+a.cfg.Database.URL+"'"
	if a.databaseURL == "" {
		db, err := postgres.Start(ctx, postgres.Config{Dir: a.dir("postgres"), Logger: a.log})
		if err != nil {
			return err
		}
		a.onClose(db.Stop)
		a.private = db
		a.databaseURL, a.psql = db.URL(), db.PsqlCommand()
	}
	if err := projections.Migrate(ctx, a.databaseURL); err != nil {
		return err
	}
	return a.openPool(ctx)
}

func (a *app) openPool(ctx context.Context) error {
	cfg, err := a.cfg.Database.poolConfig(a.databaseURL, a.log)
	if err != nil {
		return err
	}
	if a.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	a.onClose(func(context.Context) error { a.pool.Close(); return nil })
	return nil
}

// database is the part that notices the end of the private Postgres: without it every request would fail, one by one.
func (a *app) database() part {
	return part{"postgres", func(ctx context.Context) error {
		select {
		case <-a.private.Done():
			return fmt.Errorf("the private Postgres ended by itself, start again to recover it: %w", a.private.Err())
		case <-ctx.Done():
			return nil
		}
	}}
}

func (a *app) projector() (part, error) {
	store, reads, err := a.openStore("projector")
	if err != nil {
		return part{}, err
	}
	channel := streams.NewChannel(reads.Conn(), a.cfg.SSE.ChannelPrefix)
	cfg := a.projectorConfig()
	cfg.Tracer = a.tracer
	cfg.SessionTTL, cfg.ProgressInterval = a.cfg.Processing.SessionTTL, a.cfg.Processing.ProgressUpdateInterval
	cfg.Pictures = streams.NewImages(a.js)
	cfg.Progress = func(key menu.Key, body []byte) error { return channel.Publish(key, progressMessage, body) }
	metrics := newPageMetrics()
	cfg.Written = metrics.written
	p := projections.NewProjector(a.pool, store, cfg)
	w := projectorWatch{projector: p, pool: a.pool, log: store}
	a.checks = append(a.checks, httpapi.Check{Name: "projector", Look: w.check})
	if err := a.register("the projector", metrics.events, metrics.seconds, w.status(a.log), w.active(a.log), w.lags(a.log)); err != nil {
		return part{}, err
	}
	return part{"projector", p.Run}, nil
}

func (a *app) stages() (part, error) {
	providers := a.providers
	if providers == nil {
		var err error
		if providers, err = a.configuredProviders(); err != nil {
			return part{}, err
		}
	}
	store, deliveries, err := a.openStore("stages")
	if err != nil {
		return part{}, err
	}
	consumer := func(ctx context.Context, name string) (jetstream.Consumer, error) {
		return streams.OpenConsumer(ctx, deliveries, name)
	}
	engine, err := stage.New(store, streams.NewRetries(a.js), consumer, stage.Config{
		Providers:        providers,
		MaxParallelTasks: a.cfg.Processing.MaxParallelTasks,
		TaskTimeout:      a.cfg.Processing.TaskTimeout,
		RetryAttempts:    a.cfg.Processing.RetryAttempts,
		RetryDelay:       a.cfg.Processing.RetryDelay,
		AckWait:          a.cfg.Stages.AckWait,
		Limits:           a.cfg.providerLimits(),
		Cache:            projections.NewResultCache(a.pool, int64(a.cfg.Cache.MaxBytes)),
		Cached:           a.cfg.cachedProviders(),
		Overdue:          projections.NewQueries(a.pool).OverdueRetries,
		Clock:            time.Now,
		Logger:           a.log,
		Tracer:           a.tracer,
	})
	if err != nil {
		return part{}, err
	}
	a.checks = append(a.checks, httpapi.Check{Name: "stages", Look: stagesWatch{engine, deliveries}.check})
	if err := a.register("the stages", engine, newConsumersCollector(deliveries, a.log)); err != nil {
		return part{}, err
	}
	process := uuid.NewString()
	return part{"stages", func(ctx context.Context) error {
		stop, err := streams.AnswerReports(deliveries.Conn(), func() any { return processReport{Process: process, Stages: engine.Reports()} })
		if err != nil {
			return err
		}
		return errors.Join(engine.Run(ctx), stop())
	}}, nil
}

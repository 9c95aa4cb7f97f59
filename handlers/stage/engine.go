package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/streams"
)

// errEnded says that the router stopped though nobody told it to.
var errEnded = errors.New("the deliveries ended, is the connection closed?")

// Engine runs the eight stages.
type Engine struct {
	subscriber *streams.Subscriber
	cfg        Config
	retries    Retries
	consumer   func(ctx context.Context, name string) (jetstream.Consumer, error)
	consumers  map[string]jetstream.Consumer // of the run, by name
	stages     [menu.StageCount]*stage
	guards     map[string]*guard // by provider
}

// New returns an engine that works on the deliveries of the stages' consumers, records the answers in log and lets
// attempts wait in retries. consumer finds a stage's consumer by the name that [streams.StageConsumer] or
// [streams.RetryConsumer] gives it. New fails if the configuration is not valid.
func New(log Log, retries Retries, consumer func(ctx context.Context, name string) (jetstream.Consumer, error), cfg Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, retries: retries, consumer: consumer, consumers: map[string]jetstream.Consumer{}, guards: map[string]*guard{}}
	e.subscriber = streams.NewSubscriber(streams.SubscriberConfig{
		Consumer: func(_ context.Context, name string) (jetstream.Consumer, error) { return e.consumers[name], nil },
		InFlight: inHand, AckWait: cfg.AckWait, Drain: drain, Logger: cfg.Logger,
	})
	for _, s := range menu.Stages() {
		provider := cfg.Providers[s]
		name := provider.Name()
		if e.guards[name] == nil {
			e.guards[name] = newGuard(name, cfg.Limits[name], cfg.Logger)
		}
		e.stages[s] = &stage{
			stage: s, provider: provider, guard: e.guards[name], stats: newStats(s, name), log: log, retries: retries, cfg: cfg,
			reads: newReads(log, s.Lane()), cached: cfg.Cache != nil && slices.Contains(cfg.Cached, name),
			logger: cfg.Logger.With(slog.String("stage", s.String()), slog.String("provider", name)),
		}
		e.stages[s].watch()
	}
	return e, nil
}

// Run works until ctx ends, then stops in order: nothing new is fetched, dishes that wait are not begun, those that
// run get a second, what is finished is recorded, and every delivery with open dishes is handed back. It returns nil
// after such a stop, an error if the deliveries ended by themselves. An Engine runs once.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.find(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // it was stopped before it began
		}
		return fmt.Errorf("run the stages: %w", err)
	}
	base := context.WithoutCancel(ctx)
	calls, cut := context.WithCancelCause(base) // of the providers' calls
	defer cut(errStopped)
	records, abandon := context.WithCancelCause(base) // of reading and appending
	defer abandon(errStopped)

	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTimeout}, routerLogger(e.cfg.Logger))
	if err != nil {
		return fmt.Errorf("make the router of the stages: %w", err)
	}
	for _, s := range e.stages {
		pool := newPool(calls, s)
		defer pool.halt(errStopped)
		s.pool.Store(pool)
		for _, consumer := range s.consumerNames() {
			router.AddConsumerHandler(consumer, consumer, e.subscriber, s.handler(records)).
				AddMiddleware(s.later(), middleware.Recoverer) //nolint:contextcheck // it logs in the message's context
		}
	}
	var beside sync.WaitGroup
	defer beside.Wait()
	looking, look := context.WithCancel(ctx)
	defer look()
	beside.Go(func() { e.remember(looking) })
	ended := make(chan error, 1)
	go func() { ended <- router.Run(base) }()
	select {
	case err = <-ended:
		err = errors.Join(errEnded, err)
	case <-ctx.Done():
	}

	for _, s := range e.stages {
		s.pool.Load().stop()
	}
	defer time.AfterFunc(grace, func() { cut(errStopped) }).Stop()
	defer time.AfterFunc(recordGrace, func() { abandon(errStopped) }).Stop()
	if err == nil {
		select { // a router that is closed while it starts waits for handlers that never begin
		case <-router.Running():
		case err = <-ended:
			err = errors.Join(errEnded, err)
		}
	}
	if err == nil {
		if err = router.Close(); err == nil {
			err = <-ended
		}
	}
	for _, s := range e.stages {
		select {
		case <-s.pool.Load().quiet:
		case <-records.Done():
			s.logger.LogAttrs(base, slog.LevelWarn, "a provider ignores the end of its context; the stop does not wait for it")
		}
	}
	if err != nil {
		return fmt.Errorf("run the stages: %w", err)
	}
	return nil
}

// find looks the consumers of the stages up. A broker that is busy at the start of many processes is asked again.
func (e *Engine) find(ctx context.Context) error {
	for _, s := range e.stages {
		for _, name := range s.consumerNames() {
			consumer, err := backoff.Retry(ctx, func() (jetstream.Consumer, error) {
				consumer, err := e.consumer(ctx, name)
				if err != nil && !streams.Busy(err) {
					err = backoff.Permanent(err)
				}
				return consumer, err
			}, backoff.WithBackOff(backoff.NewExponentialBackOff()), backoff.WithMaxElapsedTime(startPatience))
			if err != nil {
				return fmt.Errorf("look for consumer %s: %w", name, err)
			}
			e.consumers[name] = consumer
		}
	}
	return nil
}

// consumerNames are those of the stage's consumers.
func (s *stage) consumerNames() []string {
	return []string{streams.StageConsumer(s.stage), streams.RequestConsumer(s.stage), streams.RetryConsumer(s.stage)}
}

// routerLogger takes the router's news of every start and stop down to debug.
func routerLogger(logger *slog.Logger) watermill.LoggerAdapter {
	return watermill.NewSlogLoggerWithLevelMapping(logger, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})
}

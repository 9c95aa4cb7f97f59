package bench

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/eventstore"
	"kondate/handlers/stage"
	"kondate/streams"
)

// stagesGoal is the share of eight raw consumers that the stages have to reach.
const stagesGoal = 0.5

// stages measures menus through all eight stages with a provider that costs nothing, beside eight raw consumers that
// answer each submission with one message that was encoded before. The menus are in the log when the clock starts.
func stages(ctx context.Context, s Settings, report func(Row)) error {
	for _, sync := range s.Syncs {
		b, err := startBroker(ctx, s, sync)
		if err != nil {
			return err
		}
		site := &site{b, s, made{prefix: "stages"}}
		figures, err := InTurn(ctx, s.Rounds, site.ours, site.raw)
		if err := closed(ctx, err, b); err != nil {
			return err
		}
		report(NewRow("stages", "eight stages, no-op provider, sync "+sync, DishesPerSecond, figures[0], figures[1], stagesGoal))
	}
	return nil
}

// site is the broker on which stages work.
type site struct {
	*broker

	settings Settings
	menus    made
}

func (s *site) ours(ctx context.Context) (float64, error) {
	a := &answerer{js: s.js}
	if err := s.submit(ctx, a); err != nil {
		return 0, err
	}
	engine, err := stage.New(
		eventstore.NewJetStream(s.js, eventstore.Config{Logger: s.settings.Logger}), streams.NewRetries(s.js),
		func(ctx context.Context, name string) (jetstream.Consumer, error) {
			return streams.OpenConsumer(ctx, s.js, name)
		},
		stage.Config{
			Providers: Noop(), MaxParallelTasks: 8, TaskTimeout: time.Minute, RetryAttempts: 3, RetryDelay: time.Minute,
			AckWait: 30 * time.Second, Clock: time.Now, Logger: s.settings.Logger,
		},
	)
	if err != nil {
		return 0, err
	}
	return s.time(ctx, engine.Run)
}

func (s *site) raw(ctx context.Context) (float64, error) {
	a := &answerer{js: s.js}
	if err := s.submit(ctx, a); err != nil {
		return 0, err
	}
	return s.time(ctx, a.run)
}

// submit puts a round's menus into the log.
func (s *site) submit(ctx context.Context, a *answerer) error {
	msgs := make([]*nats.Msg, s.settings.Menus)
	for i, m := range s.menus.take(s.settings.Menus) {
		var err error
		if msgs[i], err = a.prepare(m); err != nil {
			return err
		}
	}
	return publish(ctx, s.js, msgs)
}

// time lets something run until no stage has anything left to do.
func (s *site) time(ctx context.Context, run func(context.Context) error) (float64, error) {
	working, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- run(working) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case err := <-ended:
			return 0, errors.Join(err, context.Cause(ctx))
		}
		idle, err := s.idle(ctx)
		if err != nil || idle {
			took := time.Since(began)
			stop()
			if e := <-ended; err == nil && e != nil && !errors.Is(e, context.Canceled) {
				err = e
			}
			return float64(s.settings.Menus*Dishes) / took.Seconds(), err
		}
	}
}

func (s *site) idle(ctx context.Context) (bool, error) {
	backlogs, err := streams.Backlogs(ctx, s.js)
	for _, b := range backlogs {
		if b.Pending > 0 || b.InHand > 0 {
			return false, err
		}
	}
	return err == nil, err
}

package stage

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
)

const (
	// overdueAfter is how long after its time an attempt that nobody made counts as forgotten.
	overdueAfter = time.Minute
	// overdueInterval is how often forgotten attempts are looked for.
	overdueInterval = time.Minute
	// overdueBatch is how many are looked at at once; the rest are the next look's.
	overdueBatch = 1000
)

// remember looks for attempts whose schedule was lost, at once and then every minute, until ctx ends. Every process does:
// the broker keeps one of several redeliveries.
func (e *Engine) remember(ctx context.Context) {
	if e.cfg.Overdue == nil {
		return
	}
	tick := time.NewTicker(overdueInterval)
	defer tick.Stop()
	for {
		if err := e.redeliver(ctx); err != nil && ctx.Err() == nil {
			e.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "forgotten retries cannot be looked for, they are looked for again in a minute", slog.Any("error", err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// redeliver brings back the attempts that are overdue. Where a stage still has some at hand nothing is lost yet: it is
// only late.
func (e *Engine) redeliver(ctx context.Context) error {
	entries, err := e.cfg.Overdue(ctx, e.cfg.Clock().Add(-overdueAfter), overdueBatch)
	if err != nil {
		return fmt.Errorf("look for overdue retries: %w", err)
	}
	forgotten := map[menu.Stage][]eventstore.Entry{}
	for _, entry := range entries {
		if failed, is := entry.Event.(menu.StageAttemptFailed); is {
			forgotten[failed.Stage] = append(forgotten[failed.Stage], entry)
		}
	}
	for stage, entries := range forgotten {
		idle, err := e.retries.Idle(ctx, stage)
		if err != nil {
			return err
		}
		if !idle {
			continue
		}
		for _, entry := range entries {
			msg, _, err := retryMessage(entry.Key, again(entry))
			if err != nil {
				return err
			}
			if err := e.retries.Redeliver(ctx, stage, msg); err != nil {
				return err
			}
		}
		e.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "the schedules of retries were lost, they come now",
			slog.String("stage", stage.String()), slog.Int("retries", len(entries)))
	}
	return nil
}

// again proposes a recorded event once more: the copy has the same id.
func again(e eventstore.Entry) eventstore.Proposed {
	return eventstore.Proposed{
		Event: e.Event, Time: e.Time, Causation: e.Causation, Correlation: e.Correlation, TraceParent: e.TraceParent(),
	}
}

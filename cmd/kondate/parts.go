package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
)

// part is one long-running piece of the program. run blocks until its context ends and it has put its work down.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// runParts starts parts in order and, when ctx ends or one of them fails, stops them in reverse order, each one only
// after those that depend on it have ended. It returns why it stopped: nil if ctx ended.
func runParts(ctx context.Context, log *slog.Logger, parts []part) error {
	type running struct {
		part

		stop context.CancelFunc
		done chan struct{}
	}
	started := make([]running, 0, len(parts))
	failed := make(chan error, len(parts))
	for _, p := range parts {
		// A part outlives ctx: it ends when its turn to stop comes.
		partCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r := running{part: p, stop: cancel, done: make(chan struct{})}
		started = append(started, r)
		go func() {
			defer close(r.done)
			if err := p.run(partCtx); err != nil && partCtx.Err() == nil {
				failed <- fmt.Errorf("%s: %w", p.name, err)
			} else if err != nil && !errors.Is(err, context.Canceled) {
				log.ErrorContext(ctx, "part stopped with an error", "part", p.name, "error", err)
			}
		}()
	}
	var reason error
	select {
	case <-ctx.Done():
	case reason = <-failed:
		log.ErrorContext(ctx, "part failed, stopping", "error", reason)
	}
	for _, r := range slices.Backward(started) {
		r.stop()
		<-r.done
		log.DebugContext(ctx, "part stopped", "part", r.name)
	}
	return reason
}

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kondate/projections"
	"kondate/streams"
)

type restoreCommand struct {
	Storage `embed:""`

	JSON bool `help:"Print JSON."`
}

// Help is shown below the flags.
func (restoreCommand) Help() string {
	return "Every kondate serve has to be stopped. A log that is new or empty gets all events, with their ids and times and new sequences; " +
		"one that lost only its end gets that. Then the rows are brought up to date and everything is verified. " +
		"A restore that was stopped goes on with the same command.\n\nExample: kondate restore"
}

// Run restores the log, projects it and verifies what came of it.
func (c restoreCommand) Run(ctx context.Context, env environment) error {
	return beside(ctx, env, c.Storage, func(a *app) error {
		// A stream that is there keeps its settings, which this command does not know.
		if _, err := a.js.Stream(ctx, streams.EventStream); errors.Is(err, jetstream.ErrStreamNotFound) {
			if err := streams.EnsureStream(ctx, a.js, a.topology()); err != nil {
				return err
			}
		}
		store, _, err := a.openStore("restore")
		if err != nil {
			return err
		}
		say := func(format string, args ...any) {
			if !c.JSON {
				fmt.Fprintf(env.stdout, format+"\n", args...)
			}
		}
		began, bar := time.Now(), newBar(env.stderr, "restore", c.JSON)
		restored, err := projections.Restore(ctx, a.pool, store, a.projectorConfig(), bar.show)
		bar.end()
		switch {
		case errors.Is(err, projections.ErrNothingLost):
			say("The log holds every event that history holds: nothing is to be restored.")
			return nil
		case ctx.Err() != nil:
			return errors.New("stopped: the same command goes on from here")
		case err != nil:
			return err
		}
		say("%d events are in the log, restored in %s. The last one was event %d of the log that was lost; what came after it, history had not seen.",
			restored.Events, time.Since(began).Round(time.Millisecond), restored.Lost)
		if restored.LeftOut > 0 {
			say("%d messages on subjects of no session were left out.", restored.LeftOut)
		}
		say("Bringing the rows up to date …")
		if err := projections.Settle(ctx, a.pool, store, a.projectorConfig()); err != nil {
			return err
		}
		report, err := projections.NewOperations(a.pool, store, a.projectorConfig()).Verify(ctx, nil)
		if err != nil {
			return err
		}
		if c.JSON {
			err = printJSON(env.stdout, map[string]any{"restored": restored, "verified": report})
		} else {
			printReport(env.stdout, report)
		}
		if err == nil && report.Different > 0 {
			err = errDifferent
		}
		return err
	})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/dustin/go-humanize"

	"kondate/domain/menu"
	"kondate/projections"
)

// eventsCommand groups what reads the history of events.
type eventsCommand struct {
	Replay replayCommand `cmd:"" help:"Write the events of the past that a filter wants, in the order of the log."`
	Tail   tailCommand   `cmd:"" help:"Write events as they come, until interrupted."`
}

// eventFilter is the part of the command line that says which events are wanted.
type eventFilter struct {
	Tenant  string `help:"Only this tenant's."`
	Session string `help:"Only this session's."`
	Type    string `help:"Only this type's: allergen.completed, allergen.* or *.failed."`
	Since   string `placeholder:"TIME" help:"Only those at this time or later (RFC 3339)."`
	Until   string `placeholder:"TIME" help:"Only those before this time (RFC 3339)."`
	FromSeq uint64 `placeholder:"SEQ" help:"Only this event and later ones."`
	Limit   int    `placeholder:"N" help:"At most so many."`
}

func (f eventFilter) parse() (p projections.EventFilter, err error) {
	p.From, p.Limit = f.FromSeq, f.Limit
	if f.Limit < 0 {
		return p, fmt.Errorf("--limit %d is below 0", f.Limit)
	}
	if f.Tenant != "" {
		if p.Tenant, err = menu.ParseTenant(f.Tenant); err != nil {
			return p, fmt.Errorf("--tenant: %w", err)
		}
	}
	if f.Session != "" {
		if p.Session, err = menu.ParseSessionID(f.Session); err != nil {
			return p, fmt.Errorf("--session: %w", err)
		}
	}
	if f.Type != "" {
		if p.Type, err = projections.ParseTypePattern(f.Type); err != nil {
			return p, fmt.Errorf("--type: %w", err)
		}
	}
	if p.Since, err = parseTime("--since", f.Since); err != nil {
		return p, err
	}
	p.Until, err = parseTime("--until", f.Until)
	return p, err
}

func parseTime(flag, raw string) (time.Time, error) {
	if raw == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, raw)
	if err != nil {
		return t, fmt.Errorf("%s %q is no time such as 2026-11-26T08:00:00Z", flag, raw)
	}
	return t, nil
}

type replayCommand struct {
	Storage     `embed:""`
	eventFilter `embed:""`

	Format string `default:"ndjson" enum:"ndjson,csv,parquet" help:"ndjson, csv or parquet."`
	Output string `short:"o" placeholder:"FILE" help:"File to write, whole or not at all; empty: standard output."`
	Speed  string `default:"max" enum:"max,original" help:"max, or original: with the pauses that lay between the events."`
}

// Help is shown below the flags.
func (replayCommand) Help() string {
	return "Example: kondate events replay --type 'allergen.*' --since 2026-11-01T00:00:00Z --format parquet -o november.parquet"
}

// Run writes the events and, to standard error, a summary.
func (c replayCommand) Run(ctx context.Context, env environment) error {
	filter, err := c.parse()
	if err != nil {
		return usage(err)
	}
	to, err := openDestination(c.Output, c.Format, env.stdout)
	if err != nil {
		return usage(err)
	}
	defer to.drop()
	return besideHistory(ctx, env, c.Storage, func(history *projections.Queries) error {
		counted := &counter{out: to.out}
		x := newExporter(c.Format, counted)
		began, n := time.Now(), 0
		pace := pace{original: c.Speed == "original"}
		for e, err := range history.Events(ctx, filter) {
			if err != nil {
				return err
			}
			if err := pace.wait(ctx, e.Time, x.flush); err != nil {
				return err
			}
			if err := x.write(e); err != nil {
				return fmt.Errorf("write event %d: %w", e.Seq, err)
			}
			n++
		}
		if err := x.close(); err != nil {
			return fmt.Errorf("write the export: %w", err)
		}
		if err := to.keep(); err != nil {
			return err
		}
		fmt.Fprintf(env.stderr, "%d events, %s, in %s\n", n, humanize.IBytes(counted.bytes), time.Since(began).Round(time.Millisecond))
		return nil
	})
}

// pace keeps the pauses that lay between events.
type pace struct {
	original bool
	last     time.Time
}

// wait returns when it is time for an event; before a pause it hands over what was written.
func (p *pace) wait(ctx context.Context, at time.Time, flush func() error) error {
	if !p.original {
		return nil
	}
	pause := at.Sub(p.last)
	if p.last.IsZero() || pause < 0 { // the first one, or an appender whose clock is behind
		pause = 0
	}
	p.last = at
	if pause == 0 {
		return nil
	}
	if err := flush(); err != nil {
		return fmt.Errorf("write the events: %w", err)
	}
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

type tailCommand struct {
	Storage     `embed:""`
	eventFilter `embed:""`

	Format string `default:"ndjson" enum:"ndjson,csv" help:"ndjson or csv."`
}

// Help is shown below the flags.
func (tailCommand) Help() string {
	return "It begins with the next event, or where --from-seq or --since say.\n\nExample: kondate events tail --type '*.failed'"
}

// tailInterval is how often a tail looks for new events.
const tailInterval = 100 * time.Millisecond

// Run writes events until ctx ends or the limit is reached.
func (c tailCommand) Run(ctx context.Context, env environment) error {
	filter, err := c.parse()
	if err != nil {
		return usage(err)
	}
	return besideHistory(ctx, env, c.Storage, func(history *projections.Queries) error {
		if filter.From == 0 && filter.Since.IsZero() {
			at, err := history.Checkpoint(ctx)
			if err != nil {
				return err
			}
			filter.From = at + 1
		}
		x := newExporter(c.Format, env.stdout)
		return errors.Join(tail(ctx, history, filter, x), x.close())
	})
}

// tail writes what a filter wants of history as it grows.
func tail(ctx context.Context, history *projections.Queries, filter projections.EventFilter, x exporter) error {
	tick := time.NewTicker(tailInterval)
	defer tick.Stop()
	left := filter.Limit
	for {
		// Up to the checkpoint history is whole: an event of a page that commits later has a higher sequence.
		at, err := history.Checkpoint(ctx)
		if err != nil {
			return err
		}
		if filter.To = at; at >= filter.From && at > 0 {
			for e, err := range history.Events(ctx, filter) {
				if err != nil {
					return err
				}
				if err := x.write(e); err != nil {
					return fmt.Errorf("write event %d: %w", e.Seq, err)
				}
				if left--; left == 0 {
					return nil
				}
			}
			if err := x.flush(); err != nil {
				return fmt.Errorf("write the events: %w", err)
			}
			filter.From, filter.Limit = at+1, max(left, 0)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// besideHistory runs fn on the history of a data dir.
func besideHistory(ctx context.Context, env environment, storage Storage, fn func(*projections.Queries) error) error {
	a, err := openDatabaseBeside(ctx, storage, newLogger(env.stderr, slog.LevelWarn))
	if err != nil {
		return err
	}
	return errors.Join(fn(projections.NewQueries(a.pool)), a.stop(ctx))
}

// counter counts what is written through it.
type counter struct {
	out   io.Writer
	bytes uint64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.out.Write(p)
	c.bytes += uint64(n) //nolint:gosec // never negative
	return n, err
}

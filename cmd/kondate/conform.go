package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
	"kondate/handlers/stage/external"
)

type conformCommand struct {
	Stage   string        `arg:"" help:"Stage of the worker, for instance allergen."`
	DataDir string        `default:".kondate" help:"Data dir of a running serve, whose NATS is used." type:"path"`
	NATSURL string        `name:"nats-url" help:"URL of the NATS to which the worker is connected, instead."`
	Access  NATSAccess    `embed:"" prefix:"nats-"`
	Tenant  string        `default:"public" help:"Tenant of the requests."`
	Timeout time.Duration `default:"10s" help:"Time for each request."`
	JSON    bool          `help:"Print JSON."`
}

// Help is shown below the flags.
func (conformCommand) Help() string {
	return "It sends requests to a connected worker as serve would, and appends nothing.\n\n" +
		"Example: kondate stages conform allergen --nats-url nats://127.0.0.1:4222"
}

// Run tries the worker out and prints a line for each check.
func (c conformCommand) Run(ctx context.Context, env environment) error {
	s, err := menu.ParseStage(c.Stage)
	if err != nil {
		return usage(err)
	}
	tenant, err := menu.ParseTenant(c.Tenant)
	if err != nil {
		return usage(fmt.Errorf("--tenant: %w", err))
	}
	if c.Timeout <= 0 {
		return usage(fmt.Errorf("--timeout %s is not above 0", c.Timeout))
	}
	conn, err := c.connect(env)
	if err != nil {
		return err
	}
	defer conn.Close()
	report, err := external.Conform(ctx, conn, external.Options{Stage: s, Tenant: tenant, Timeout: c.Timeout})
	if err != nil {
		return err
	}
	if c.JSON {
		return errors.Join(printJSON(env.stdout, report), report.Err())
	}
	printConformance(env.stdout, report)
	return report.Err()
}

// connect finds the broker of the worker.
func (c conformCommand) connect(env environment) (*nats.Conn, error) {
	name := nats.Name("kondate conform")
	if c.NATSURL != "" {
		return c.Access.dial(c.NATSURL, newLogger(env.stderr, slog.LevelWarn), name)
	}
	_, found, err := lookBeside(Storage{DataDir: c.DataDir}, newLogger(env.stderr, slog.LevelWarn))
	if err == nil && found == (connection{}) {
		err = fmt.Errorf("no kondate serve runs on %s", c.DataDir)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: start one with --nats-listen, or name the worker's NATS with --nats-url", err)
	}
	return found.dial(name)
}

func printConformance(out io.Writer, r external.Report) {
	fmt.Fprintf(out, "Worker of stage %s, asked on %s:\n", r.Stage, r.Subject)
	for _, check := range r.Checks {
		fmt.Fprintf(out, "%-8s %-20s %s\n", check.Verdict, check.Name, check.Rule)
		for _, wrong := range check.Wrong {
			fmt.Fprintf(out, "%-8s wrong: %s\n", "", printable(wrong))
		}
		if check.Mend != "" {
			fmt.Fprintf(out, "%-8s mend:  %s\n", "", check.Mend)
		}
	}
}

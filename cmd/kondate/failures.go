package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"kondate/projections"
)

// failuresCommand groups what is done about parked stages.
type failuresCommand struct {
	List  failuresListCommand  `cmd:"" help:"Show the dishes for which a stage gave up, those that were parked first to begin with."`
	Retry failuresRetryCommand `cmd:"" help:"Take parked dishes back to work: one, those of a stage, a session or a reason, or all."`
}

// failureFilter says which parked stages a command means.
type failureFilter struct {
	Dish    string `arg:"" optional:"" name:"menu-id" help:"One dish."`
	Stage   string `help:"Those of one stage."`
	Session string `help:"Those of one session."`
	Reason  string `help:"Those with one reason, for instance timeout."`
}

type failuresListCommand struct {
	remote        `embed:""`
	failureFilter `embed:""`

	JSON bool `help:"Print a line of JSON for each."`
}

// Help is shown below the flags.
func (failuresListCommand) Help() string {
	return "Example: kondate failures list --stage allergen --reason timeout"
}

// failurePage is the answer of GET /v1/failures.
type failurePage struct {
	Failures []projections.Failure `json:"failures"`
	Next     string                `json:"next"`
}

// Run lists the parked stages.
func (c failuresListCommand) Run(ctx context.Context, env environment) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	lines, shown := json.NewEncoder(env.stdout), 0
	query := url.Values{"limit": {"1000"}}
	for name, value := range map[string]string{"menu_id": c.Dish, "stage": c.Stage, "session": c.Session, "reason": c.Reason} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for {
		var page failurePage
		if err := cl.call(ctx, http.MethodGet, "/v1/failures?"+query.Encode(), nil, &page); err != nil {
			return err
		}
		for _, f := range page.Failures {
			if shown++; c.JSON {
				if err := lines.Encode(f); err != nil {
					return fmt.Errorf("print the failures: %w", err)
				}
				continue
			}
			if shown == 1 {
				fmt.Fprintln(w, "PARKED\tSTAGE\tREASON\tATTEMPTS\tPROVIDER\tDISH\tSESSION\tERROR")
			}
			const errorCells = 60
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", humanize.RelTime(f.ParkedAt.Time, time.Now(), "ago", "from now"), f.Stage, printable(f.Reason),
				f.Attempts, printable(f.Provider), f.MenuID, f.SessionID, printable(cut(f.Error, errorCells)))
		}
		if page.Next == "" {
			break
		}
		query.Set("after", page.Next)
	}
	if c.JSON {
		return nil
	}
	if shown == 0 {
		fmt.Fprintln(env.stdout, "Nothing is parked.")
	}
	return w.Flush()
}

func cut(s string, cells int) string {
	if r := []rune(s); len(r) > cells {
		return string(r[:cells-1]) + "…"
	}
	return s
}

type failuresRetryCommand struct {
	remote        `embed:""`
	failureFilter `embed:""`

	All  bool `help:"All that are parked."`
	JSON bool `help:"Print JSON."`
}

// Help is shown below the flags.
func (failuresRetryCommand) Help() string {
	return "Conditions narrow each other down. The dishes' attempts begin anew; what fails again is parked again.\n\nExample: kondate failures retry --stage allergen --reason timeout"
}

// retryRequest is the body of POST /v1/failures/retry.
type retryRequest struct {
	MenuID    string `json:"menu_id,omitempty"`
	Stage     string `json:"stage,omitempty"`
	SessionID string `json:"session_id,omitempty"`
	Reason    string `json:"reason,omitempty"`
	All       bool   `json:"all,omitempty"`
	After     string `json:"after,omitempty"`
}

// Run asks again until everything that was parked when it began is back at work.
func (c failuresRetryCommand) Run(ctx context.Context, env environment) error {
	request := retryRequest{MenuID: c.Dish, Stage: c.Stage, SessionID: c.Session, Reason: c.Reason, All: c.All}
	switch narrowed := c.failureFilter != (failureFilter{}); {
	case !narrowed && !c.All:
		return usage(errors.New("name a dish, --stage, --session or --reason, or say --all"))
	case narrowed && c.All:
		return usage(errors.New("--all does not go with a condition"))
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	var total retriedAnswer
	for {
		body, err := json.Marshal(request)
		if err != nil {
			return fmt.Errorf("make the request: %w", err)
		}
		var answer retriedAnswer
		if err := cl.call(ctx, http.MethodPost, "/v1/failures/retry", body, &answer); err != nil {
			return fmt.Errorf("after %d retries: %w", total.Retried, err)
		}
		total.Retried += answer.Retried
		total.Skipped += answer.Skipped
		if answer.Next == "" {
			break
		}
		request.After = answer.Next
		if !c.JSON {
			fmt.Fprintf(env.stderr, "%d so far\n", total.Retried)
		}
	}
	if c.JSON {
		return printJSON(env.stdout, total)
	}
	fmt.Fprintf(env.stdout, "%s back at work.\n", humanize.Comma(int64(total.Retried))+" parked "+plural(total.Retried, "stage is", "stages are"))
	if total.Skipped > 0 {
		fmt.Fprintf(env.stdout, "%d passed over: their sessions were archived or erased, or somebody else took them back.\n", total.Skipped)
	}
	return nil
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// retriedAnswer is the answer of POST /v1/failures/retry.
type retriedAnswer struct {
	Retried int    `json:"retried"`
	Skipped int    `json:"skipped"`
	Next    string `json:"next,omitempty"`
}

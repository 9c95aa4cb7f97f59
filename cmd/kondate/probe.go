package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

type readyCommand struct {
	remote `embed:""`

	Timeout time.Duration `default:"4s" help:"How long the answer may take."`
}

// Help is shown below the flags.
func (readyCommand) Help() string {
	return "It asks /readyz, and exits 1 with the reason if the server is not ready: for health checks of containers, which have no other program.\n\n" +
		"Example: kondate ready --url http://127.0.0.1:8080"
}

// Run asks.
func (c readyCommand) Run(ctx context.Context, env environment) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var state json.RawMessage
	if err := cl.call(ctx, http.MethodGet, "/readyz", nil, &state); err != nil {
		return err
	}
	fmt.Fprintln(env.stdout, string(state))
	return nil
}

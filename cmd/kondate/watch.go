package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"kondate/domain/menu"
	"kondate/eventstore"
)

type watchCommand struct {
	remote `embed:""`

	Session string          `arg:"" help:"Session to follow."`
	From    string          `default:"start" enum:"start,live" help:"Where to begin: start or live."`
	JSON    bool            `help:"Print events as JSON lines."`
	Retry   ReconnectConfig `embed:"" prefix:"sse-"`
}

// Help is shown below the flags.
func (watchCommand) Help() string {
	return "Example: kondate watch 0199c0de-7a3b-7c11-9d0e-1a7c3b9e4d21 --json"
}

// Run follows the session.
func (c watchCommand) Run(ctx context.Context, env environment) error {
	id, err := menu.ParseSessionID(c.Session)
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	url := "/v1/sessions/" + string(id) + "/events"
	if c.From == "live" {
		url += "?from=live"
	}
	return watch(ctx, env, cl, url, c.Retry, c.JSON)
}

// watch prints a session's events until its stream ends.
func watch(ctx context.Context, env environment, cl *client, url string, retry ReconnectConfig, asJSON bool) error {
	f := &follower{
		client: cl, url: url, pause: retry.ReconnectInterval, attempts: retry.MaxReconnectAttempts,
		out: func(format string, args ...any) { fmt.Fprintf(env.stderr, format+"\n", args...) },
	}
	if asJSON {
		return f.run(ctx, func(fr frame) error {
			if _, ok, err := fr.stored(); !ok || err != nil {
				return err
			}
			_, err := fmt.Fprintln(env.stdout, fr.data)
			return err
		})
	}
	_, err := show(ctx, f, newScreen(env.stdout))
	return err
}

// show folds a session's events as they come and draws every state. It returns the last one.
func show(ctx context.Context, f *follower, s *screen) (menu.Session, error) {
	var session menu.Session
	var last menu.Type
	err := f.run(ctx, func(fr frame) error {
		e, ok, err := fr.stored()
		if !ok || err != nil {
			return err
		}
		event, err := eventstore.DecodeLatest(e.Type, e.Data)
		if err != nil {
			f.out("event %d is left out: %v", e.Seq, err)
			return nil
		}
		session = menu.Evolve(session, menu.Recorded{Seq: e.Seq, ID: e.ID, Time: e.Time, Event: event})
		last = e.Type
		s.show(session, e.Type, false)
		return nil
	})
	if s.terminal && last != "" {
		s.show(session, last, true)
	}
	return session, err
}

// newScreen draws on out: a live table if it is a terminal.
func newScreen(out io.Writer) *screen {
	s := &screen{out: out, started: time.Now(), width: 80}
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		s.terminal = true
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			s.width = width
		}
	}
	return s
}

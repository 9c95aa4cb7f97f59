package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"kondate/domain/menu"
	"kondate/projections"
)

// rows is the body of GET /v1/sessions/{id}/menus.
type rows struct {
	Menus []projections.MenuRow `json:"menus"`
	Seq   uint64                `json:"seq"` // the rows are as the log was here
}

// session answers GET /v1/sessions/{id}.
func (a *API) session(c *fiber.Ctx) error {
	key, err := a.sessionKey(c)
	if err != nil {
		return err
	}
	var row projections.SessionRow
	err = a.read(c, &key, func(ctx context.Context) (err error) {
		row, err = a.cfg.Rows.Session(ctx, key)
		return err
	}, func(ctx context.Context, seq uint64) (err error) {
		row, err = a.cfg.History.SessionAt(ctx, key, seq)
		return err
	})
	if err != nil {
		return err
	}
	return fresh(c, row.LastSeq, row)
}

// menus answers GET /v1/sessions/{id}/menus.
func (a *API) menus(c *fiber.Ctx) error {
	key, err := a.sessionKey(c)
	if err != nil {
		return err
	}
	var answer rows
	err = a.read(c, &key, func(ctx context.Context) (err error) {
		answer.Menus, answer.Seq, err = a.cfg.Rows.Menus(ctx, key)
		return err
	}, func(ctx context.Context, seq uint64) (err error) {
		answer.Menus, err = a.cfg.History.MenusAt(ctx, key, seq)
		answer.Seq = seq
		return err
	})
	if err != nil {
		return err
	}
	if answer.Menus == nil {
		answer.Menus = []projections.MenuRow{} // an erased session has no dishes; in JSON that is [], not null
	}
	var newest uint64
	for _, row := range answer.Menus {
		newest = max(newest, row.LastSeq)
	}
	text, err := json.Marshal(answer.Menus)
	if err != nil {
		return fmt.Errorf("encode the rows: %w", err)
	}
	// The tag is weak: what happens elsewhere moves seq, and these rows stay what they were.
	tag := "W/" + strconv.Quote(tagOf(newest, text))
	text = slices.Concat([]byte(`{"menus":`), text, []byte(`,"seq":`), strconv.AppendUint(nil, answer.Seq, 10), []byte("}"))
	return freshText(c, tag, text)
}

// menu answers GET /v1/menus/{id}.
func (a *API) menu(c *fiber.Ctx) error {
	id, err := dishID(c)
	if err != nil {
		return err
	}
	tenant := a.cfg.Tenant(c)
	var row projections.MenuRow
	err = a.read(c, nil, func(ctx context.Context) (err error) {
		row, err = a.cfg.Rows.Menu(ctx, tenant, id)
		return err
	}, func(ctx context.Context, seq uint64) (err error) {
		row, err = a.cfg.History.MenuAt(ctx, tenant, id, seq)
		return err
	})
	if err != nil {
		return err
	}
	if !a.sees(c, menu.Key{Tenant: tenant, Session: row.SessionID}) {
		return notFound("row under this id")
	}
	return fresh(c, row.LastSeq, row)
}

// read runs a query of the rows, after they have reached min_seq if the request has one; or, if it has as_of_seq, a query
// of the rows as they were at that sequence. A session that has no row yet though the log knows it was submitted a moment
// ago: its reader waits for the projection instead of being told 404.
func (a *API) read(c *fiber.Ctx, key *menu.Key, now func(context.Context) error, then func(context.Context, uint64) error) error {
	ctx, cancel := a.deadline(c)
	defer cancel()
	minSeq, err := sequence(c, "min_seq")
	if err != nil {
		return err
	}
	asOf, err := sequence(c, "as_of_seq")
	if err != nil {
		return err
	}
	if err := a.waitFor(ctx, max(minSeq, asOf)); err != nil {
		return err
	}
	if c.Query("as_of_seq") != "" {
		return found(then(ctx, asOf))
	}
	err = now(ctx)
	if errors.Is(err, projections.ErrNotFound) && key != nil {
		seq, lastErr := a.cfg.Log.LastOf(ctx, *key)
		if lastErr != nil {
			return unavailable("the event log", lastErr)
		}
		if seq == 0 {
			return notFound("session " + string(key.Session))
		}
		if err := a.waitFor(ctx, seq); err != nil {
			return err
		}
		err = now(ctx)
	}
	return found(err)
}

// found turns the error of a query into an answer.
func found(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, projections.ErrNotFound):
		return notFound("row under this id")
	}
	return unavailable("the database of rows", err)
}

// sequence reads a parameter that is a sequence, 0 if it is not given.
func sequence(c *fiber.Ctx, name string) (uint64, error) {
	raw := c.Query(name)
	if raw == "" {
		return 0, nil
	}
	seq, err := strconv.ParseUint(raw, 10, 64)
	if err != nil {
		return 0, badParameter(name, "is not a sequence number")
	}
	return seq, nil
}

// waitFor returns when the rows reflect seq.
func (a *API) waitFor(ctx context.Context, seq uint64) error {
	if seq == 0 {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, a.cfg.WaitTimeout)
	defer cancel()
	err := a.cfg.Rows.WaitFor(wait, seq)
	switch {
	case err == nil:
		return nil
	case wait.Err() != nil:
		p := newProblem(http.StatusGatewayTimeout, "rows-behind", "The rows are behind the log", fmt.Sprintf("the rows have not reached event %d yet: try again", seq))
		p.after = retryAfter // and no cause: anybody may ask for any sequence, which is nothing for the log
		return p
	}
	return unavailable("the database of rows", err)
}

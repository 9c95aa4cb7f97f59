package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

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
	return fresh(c, newest, answer)
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
		p.retry = true // and no cause: anybody may ask for any sequence, which is nothing for the log
		return p
	}
	return unavailable("the database of rows", err)
}

// fresh sends a body, or 304 to a client that has it. The tag is weak: it says which event the rows go back to, not
// which bytes the answer has. (Fiber's Fresh is not used: it calls an answer without Last-Modified fresh whenever the
// request has If-Modified-Since.)
func fresh(c *fiber.Ctx, seq uint64, body any) error {
	if held(c, "W/"+strconv.Quote(strconv.FormatUint(seq, 10))) {
		return c.SendStatus(http.StatusNotModified)
	}
	return c.JSON(body)
}

// held sets the headers of an answer that a client may keep, and says whether the client has it.
func held(c *fiber.Ctx, tag string) bool {
	c.Set(fiber.HeaderETag, tag)
	c.Set(fiber.HeaderCacheControl, "private, no-cache")
	for theirs := range strings.SplitSeq(c.Get(fiber.HeaderIfNoneMatch), ",") {
		if theirs = strings.TrimSpace(theirs); theirs == "*" || strings.TrimPrefix(theirs, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

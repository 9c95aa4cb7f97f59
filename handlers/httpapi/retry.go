package httpapi

import (
	"errors"
	"net/http"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/projections"
)

// retriedBy says in the log who asked for a retry.
const retriedBy = "api"

// retry answers POST /v1/menus/{id}/stages/{stage}/retry: it takes one parked stage of one dish back to work.
func (a *API) retry(c *fiber.Ctx) error {
	id, err := dishID(c)
	if err != nil {
		return err
	}
	stage, err := menu.ParseStage(utils.CopyString(c.Params("stage")))
	if err != nil {
		return badParameter("stage", err.Error())
	}
	ctx, cancel := a.deadline(c)
	defer cancel()
	tenant := a.cfg.Tenant(c)
	row, err := a.cfg.Rows.Menu(ctx, tenant, id)
	switch {
	case errors.Is(err, projections.ErrNotFound):
		return notFound("dish " + string(id))
	case err != nil:
		return unavailable("the database of rows", err)
	}
	key := menu.Key{Tenant: tenant, Session: row.SessionID}
	// The row says which session to look at; what the session is, only the log says.
	entries, err := a.cfg.Log.Load(ctx, key)
	if err != nil {
		return unavailable("the event log", err)
	}
	var session menu.Session
	correlation := ""
	for _, e := range entries {
		if e.Event == nil {
			continue
		}
		session = menu.Evolve(session, e.Recorded)
		if correlation == "" {
			correlation = e.Correlation // the submission's, which starts the chain
		}
	}
	if !session.Exists() && len(entries) > 0 {
		return archived(key)
	}
	events, err := menu.Retry(session, stage, []menu.DishID{id}, retriedBy)
	if err != nil {
		return err
	}
	proposed := make([]eventstore.Proposed, len(events))
	for i, event := range events {
		proposed[i] = eventstore.Proposed{Event: event, Time: a.cfg.Now(), Correlation: correlation}
	}
	if _, err := a.cfg.Log.Append(ctx, key, proposed...); err != nil {
		return ofAppend(err)
	}
	return c.Status(http.StatusAccepted).JSON(fiber.Map{"retried": 1})
}

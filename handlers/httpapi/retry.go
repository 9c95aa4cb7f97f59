package httpapi

import (
	"net/http"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"kondate/domain/menu"
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
	_, session, origin, err := a.dishSession(ctx, c, id)
	if err != nil {
		return err
	}
	if err := a.retryDishes(ctx, session, origin, stage, []menu.DishID{id}); err != nil {
		return err
	}
	return c.Status(http.StatusAccepted).JSON(retried{Retried: 1})
}

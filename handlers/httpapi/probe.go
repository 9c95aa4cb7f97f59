package httpapi

import (
	"net/http"
	"sync"

	"github.com/gofiber/fiber/v2"

	"kondate/domain/menu"
)

// health is the answer of a probe.
type health struct {
	Status string   `json:"status"`
	Parts  []string `json:"parts,omitempty" jsonschema:"What was asked."`
}

// healthz says that the process answers; it asks nobody else.
func (a *API) healthz(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(health{Status: "ok"})
}

// readyz says whether every part works, and if not, which one does not and why.
func (a *API) readyz(c *fiber.Ctx) error {
	ctx, cancel := a.deadline(c)
	defer cancel()
	names, failures := make([]string, len(a.cfg.Checks)), make([]error, len(a.cfg.Checks))
	var wg sync.WaitGroup
	for i, check := range a.cfg.Checks {
		names[i] = check.Name
		wg.Go(func() { failures[i] = check.Ready(ctx) })
	}
	wg.Wait()
	p := newProblem(http.StatusServiceUnavailable, "not-ready", "The service is not ready", "")
	p.after = retryAfter
	for i, err := range failures {
		if err != nil {
			p.Errors = append(p.Errors, menu.FieldError{Field: names[i], Problem: err.Error()})
		}
	}
	if len(p.Errors) > 0 {
		return p
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(health{Status: "ready", Parts: names})
}

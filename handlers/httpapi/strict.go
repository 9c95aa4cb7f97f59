package httpapi

import (
	"maps"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"kondate/domain/menu"
	"kondate/handlers/openapi"
)

// queryToken may stand in every query: it is the credential of a stream.
const queryToken = "token"

// strict refuses parameters of the query that a route does not have. A misspelt filter would otherwise be no filter,
// and a misspelt as_of_seq show the present for the past.
func strict(o openapi.Operation, next fiber.Handler) fiber.Handler {
	known := map[string]bool{}
	for _, p := range o.Parameters {
		if p.In == "query" {
			known[p.Name] = true
		}
	}
	names := strings.Join(slices.Sorted(maps.Keys(known)), ", ")
	return func(c *fiber.Ctx) error {
		var fields []menu.FieldError
		c.Context().QueryArgs().VisitAll(func(key, _ []byte) {
			if name := string(key); name != queryToken && !known[name] && len(fields) < maxProblems {
				if r := []rune(name); len(r) > maxQuoted {
					name = string(r[:maxQuoted]) + "…"
				}
				fields = append(fields, menu.FieldError{Field: strings.ToValidUTF8(name, "\ufffd"), Problem: "is no parameter here; known are " + names})
			}
		})
		if len(fields) > 0 {
			return invalid("the query has a parameter that this route does not know", fields)
		}
		return next(c)
	}
}

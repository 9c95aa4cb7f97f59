package httpapi

import (
	"regexp"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"kondate/eventstore"
)

// traceParents are the values of the header traceparent that are passed on: version 00 of W3C Trace Context.
var traceParents = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// traceParent returns the trace that a request is part of. Anything else that stands there is left out.
func traceParent(c *fiber.Ctx) string {
	if raw := c.Get(eventstore.HeaderTraceParent); traceParents.MatchString(raw) {
		return utils.CopyString(raw)
	}
	return ""
}

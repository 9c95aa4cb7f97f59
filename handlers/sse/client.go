package sse

import (
	_ "embed" // the client's source
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
)

//go:embed client.js
var clientSource string

// client serves the JavaScript client with the server's settings as its defaults.
func (h *Handler) client(c *fiber.Ctx) error {
	cfg := h.hub.cfg
	c.Set(fiber.HeaderContentType, "text/javascript; charset=utf-8")
	c.Set(fiber.HeaderCacheControl, "no-cache")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	return c.SendString(strings.NewReplacer(
		"RECONNECT_INTERVAL", strconv.FormatInt(cfg.ReconnectInterval.Milliseconds(), 10),
		"MAX_RECONNECT_ATTEMPTS", strconv.Itoa(cfg.MaxReconnectAttempts),
	).Replace(clientSource))
}

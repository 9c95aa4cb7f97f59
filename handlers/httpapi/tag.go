package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// fresh sends a body, or 304 to a client that has it. The tag names the event that the body goes back to, and the body
// itself: a rebuild, a restore or another program may say something else about the same event.
//
// (Fiber's Fresh is not used: it calls an answer without Last-Modified fresh whenever the request has
// If-Modified-Since.)
func fresh(c *fiber.Ctx, seq uint64, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return freshText(c, strconv.Quote(tagOf(seq, text)), text)
}

func freshText(c *fiber.Ctx, tag string, text []byte) error {
	if held(c, tag) {
		return c.SendStatus(http.StatusNotModified)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(text)
}

// tagOf returns a tag without its quotes.
func tagOf(seq uint64, text []byte) string {
	sum := sha256.Sum256(text)
	return strconv.FormatUint(seq, 10) + "-" + base64.RawURLEncoding.EncodeToString(sum[:9])
}

// held sets the headers of an answer that a client may keep, and says whether the client has it.
func held(c *fiber.Ctx, tag string) bool {
	c.Set(fiber.HeaderETag, tag)
	c.Set(fiber.HeaderCacheControl, "no-cache, private")
	for theirs := range strings.SplitSeq(c.Get(fiber.HeaderIfNoneMatch), ",") {
		if theirs = strings.TrimSpace(theirs); theirs == "*" || strings.TrimPrefix(theirs, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

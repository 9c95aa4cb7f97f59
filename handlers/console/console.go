package console

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/gofiber/fiber/v2"

	"kondate/handlers/openapi"
)

//go:embed static
var static embed.FS

// policy lets the page load and call its own server, and show free photos from the three hosts that have those of the
// stage search_engine (see cardpictures.js), and nothing else. Trusted Types make an assignment to innerHTML an error in
// the browsers that know them.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"img-src 'self' https://upload.wikimedia.org https://live.staticflickr.com https://api.openverse.org; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Routes adds the page at / and its files under /console/.
func Routes(router fiber.Router) error {
	files, err := fs.Sub(static, "static")
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	return fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		media, known := mediaTypes()[path.Ext(name)]
		if !known {
			return fmt.Errorf("the page has the file %s, of no known type", name)
		}
		route := "/console/" + name
		if name == "index.html" {
			route = "/"
		}
		router.Get(route, serve(media, content))
		return nil
	})
}

// Operations describes the page. Its files under /console/ are part of it and no API.
func Operations() []openapi.Operation {
	return []openapi.Operation{{
		Method: http.MethodGet, Path: "/", ID: "page", Tag: "service", Summary: "The web page", Access: openapi.ByAnybody,
		Answers: []openapi.Answer{
			openapi.Media(http.StatusOK, "text/html", "The page."), openapi.Empty(http.StatusNotModified, "The client has it already."),
		},
		Problems: openapi.Problems{http.StatusTooManyRequests: ""},
	}}
}

func mediaTypes() map[string]string {
	return map[string]string{
		".html": "text/html; charset=utf-8",
		".css":  "text/css; charset=utf-8",
		".js":   "text/javascript; charset=utf-8",
		".json": "application/json",
		".svg":  "image/svg+xml",
	}
}

// serve answers with one file. The browser asks every time and gets 304 while the program is the same.
func serve(media string, content []byte) fiber.Handler {
	sum := sha256.Sum256(content)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderETag, tag)
		c.Set(fiber.HeaderCacheControl, "no-cache")
		c.Set(fiber.HeaderContentSecurityPolicy, policy)
		c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
		c.Set(fiber.HeaderReferrerPolicy, "no-referrer") // a session's address may carry its token
		c.Set("Cross-Origin-Opener-Policy", "same-origin")
		if strings.Contains(c.Get(fiber.HeaderIfNoneMatch), tag) {
			return c.SendStatus(http.StatusNotModified)
		}
		c.Set(fiber.HeaderContentType, media)
		return c.Send(content)
	}
}

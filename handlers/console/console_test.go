package console_test

import (
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"kondate/handlers/console"
)

// answer is a response, read to its end.
type answer struct {
	StatusCode int
	Header     http.Header
}

func get(t *testing.T, path string, header ...string) (res answer, body string) {
	t.Helper()
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	if err := console.Routes(app); err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	got, err := app.Test(req, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{got.StatusCode, got.Header}, string(text)
}

// Every file that another one names is there, with its type, and under the policy.
func TestPageIsWhole(t *testing.T) {
	t.Parallel()
	types := map[string]string{"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "json": "application/json"}
	seen := map[string]bool{}
	names := regexp.MustCompile(`"(?:/console/|\./)([a-z/]+\.(css|js|svg|json))"`)
	var visit func(path string)
	visit = func(path string) {
		if seen[path] {
			return
		}
		seen[path] = true
		res, body := get(t, path)
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, res.StatusCode)
			return
		}
		csp := res.Header.Get("Content-Security-Policy")
		for _, rule := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(csp, rule) {
				t.Errorf("%s: the policy %q lacks %s", path, csp, rule)
			}
		}
		if strings.Contains(csp, "unsafe") || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, res.Header)
		}
		for _, m := range names.FindAllStringSubmatch(body, -1) {
			next := "/console/" + m[1]
			visit(next)
			if res, _ := get(t, next); !strings.HasPrefix(res.Header.Get("Content-Type"), types[m[2]]) {
				t.Errorf("%s is %s", next, res.Header.Get("Content-Type"))
			}
		}
	}
	visit("/")
	for _, path := range []string{"/console/app.js", "/console/card.js", "/console/model.js", "/console/style.css", "/console/print.css", "/console/icon.svg"} {
		if !seen[path] {
			t.Errorf("nothing leads from the page to %s", path)
		}
	}
	if res, _ := get(t, "/console/nothing.js"); res.StatusCode != http.StatusNotFound {
		t.Errorf("a file that is not there: %d", res.StatusCode)
	}
}

func TestPageIsCached(t *testing.T) {
	t.Parallel()
	res, _ := get(t, "/")
	tag := res.Header.Get("ETag")
	if again, body := get(t, "/", "If-None-Match", `"other", `+tag); again.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("with its own tag: %d", again.StatusCode)
	}
	if again, _ := get(t, "/", "If-None-Match", `"other"`); again.StatusCode != http.StatusOK {
		t.Errorf("with another tag: %d", again.StatusCode)
	}
}

// What a menu holds cannot become markup or code: the page has no way to make either from a string, nothing inline that
// the policy would have to allow, and no file of another host.
func TestPageHasNoWayToMakeMarkup(t *testing.T) {
	t.Parallel()
	makers := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|createContextualFragment|srcdoc|setTimeout\("|javascript:`)
	inline := regexp.MustCompile(`(?i)<script(?:[^>]*)>[^<]|<style|\sstyle=|\son[a-z]+=`)
	hosts := regexp.MustCompile(`(?i)(?:src|href|url|import|from)\s*[=(]?\s*["'(]?\s*(?:https?:)?//`)
	err := fs.WalkDir(os.DirFS("static"), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(name, ".json") {
			return err
		}
		text, err := os.ReadFile("static/" + name)
		if err != nil {
			return err
		}
		for _, rule := range []*regexp.Regexp{makers, inline, hosts} {
			if found := rule.Find(text); found != nil {
				t.Errorf("%s has %q", name, found)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSamplesAreMenus(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"izakaya", "soba", "grill"} {
		_, body := get(t, "/console/samples/"+name+".json")
		var menu struct {
			Title  string `json:"title"`
			Source string `json:"source_language"`
			Target string `json:"target_language"`
			Items  []struct {
				Name string `json:"name"`
			} `json:"items"`
		}
		if err := json.Unmarshal([]byte(body), &menu); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if menu.Title == "" || menu.Source == "" || menu.Target == "" || len(menu.Items) < 20 {
			t.Errorf("%s has %d dishes", name, len(menu.Items))
		}
	}
	if page, _ := os.ReadFile("static/compose.js"); !strings.Contains(string(page), `["izakaya", "soba", "grill"]`) {
		t.Error("the page does not offer the samples")
	}
}

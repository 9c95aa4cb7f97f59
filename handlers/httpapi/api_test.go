package httpapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"kondate/domain/menu"
	"kondate/handlers/httpapi"
)

// A panic of a handler is one client's 500 and a line in the log, with the stack there and not in the answer.
func TestPanicIsContained(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.app.Get("/panic", func(*fiber.Ctx) error { panic("secret of the handler") })
	res := h.get(t, "/panic?token=kst_opens_a_session")
	res.problem(t, http.StatusInternalServerError)
	if strings.Contains(string(res.body), "secret") {
		t.Errorf("the client is told %s", res.body)
	}
	if logged := h.logged.String(); !strings.Contains(logged, "secret of the handler") || !strings.Contains(logged, "goroutine") {
		t.Errorf("logged %q", logged)
	} else if strings.Contains(logged, "kst_") {
		t.Errorf("the log holds the token of the address: %q", logged)
	}
}

// A request that may see one session finds nothing else, and stream_url carries what opens the session.
func TestOneSession(t *testing.T) {
	t.Parallel()
	var only menu.SessionID
	h := newHarness(t, func(c *httpapi.Config) {
		c.OnlySession = func(*fiber.Ctx) menu.SessionID { return only }
		c.StreamToken = func(key menu.Key) string { return "for " + key.String() }
	})
	one, two := h.post(t, `{"items":[{"id":"m1","name":"冷奴"}]}`).accepted(t), h.post(t, `{"items":[{"id":"m2","name":"天丼"}]}`).accepted(t)
	if want := "/v1/sessions/" + string(one.SessionID) + "/events?token=for+" + url.QueryEscape("public/"+string(one.SessionID)); one.StreamURL != want {
		t.Errorf("stream_url is %s, want %s", one.StreamURL, want)
	}
	only = two.SessionID
	for path, want := range map[string]int{
		"/v1/sessions/" + string(one.SessionID):            http.StatusNotFound,
		"/v1/sessions/" + string(one.SessionID) + "/menus": http.StatusNotFound,
		"/v1/menus/m1":                          http.StatusNotFound,
		"/v1/menus/m1/image.png":                http.StatusNotFound,
		"/v1/sessions/" + string(two.SessionID): http.StatusOK,
		"/v1/menus/m2":                          http.StatusOK,
	} {
		if res := h.get(t, path); res.status != want || want != http.StatusOK && strings.Contains(string(res.body), "冷奴") {
			t.Errorf("%s: %d %s, want %d", path, res.status, res.body, want)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	err := httpapi.Config{Readiness: httpapi.Readiness{Checks: []httpapi.Check{{Name: "x"}}}, WaitTimeout: -1, RequestTimeout: time.Minute}.Validate()
	for _, name := range []string{"Log", "Rows", "Reservations", "Tenant", "Now", "Logger", "BatchSize", "WaitTimeout", "RequestTimeout"} {
		if err == nil || !strings.Contains(err.Error(), "Config."+name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "Readiness.Checks[0]") {
		t.Errorf("a check without a question was taken: %v", err)
	}
	if _, err := httpapi.New(httpapi.Config{}); err == nil {
		t.Error("an empty Config was taken")
	}
}

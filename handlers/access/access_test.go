package access_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/goleak"

	"kondate/domain/menu"
	"kondate/handlers/access"
	"kondate/streams/natstest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(
		m,
		// fasthttp lets these two sleep on after Shutdown.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
	)
}

var start = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex // guards at
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// harness is a guard before routes that say who asks.
type harness struct {
	clock  *clock
	path   string // of the keys
	logged *natstest.LogBuffer
	tokens *access.Tokens
	app    *fiber.App
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{clock: &clock{at: start}, path: filepath.Join(t.TempDir(), "keys.json"), logged: &natstest.LogBuffer{}}
	keys, err := access.OpenKeys(h.path, slog.New(slog.NewTextHandler(h.logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if h.tokens, err = access.NewTokens(bytes.Repeat([]byte("s"), access.MinSecret), 2*time.Hour, h.clock.now); err != nil {
		t.Fatal(err)
	}
	h.app = fiber.New(fiber.Config{CaseSensitive: true})
	h.app.Use(access.NewGuard(keys, h.tokens, h.clock.now).Check)
	for _, rule := range access.Rules() {
		methods := []string{rule.Method}
		if rule.Method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		for _, method := range methods {
			h.app.Add(method, rule.Pattern, func(c *fiber.Ctx) error {
				return c.SendString(string(access.Tenant(c)) + "/" + string(access.OnlySession(c)))
			})
		}
	}
	return h
}

// key adds a key to the file.
func (h *harness) key(t *testing.T, role access.Role, expires time.Time) (access.Key, string) {
	t.Helper()
	key, secret, err := access.NewKey("test", "acme", role, h.clock.now(), expires)
	if err != nil {
		t.Fatal(err)
	}
	if err := access.AddKey(t.Context(), h.path, key); err != nil {
		t.Fatal(err)
	}
	return key, secret
}

type answer struct {
	status    int
	challenge string
	body      string
}

// ask sends a request with headers given in pairs.
func (h *harness) ask(t *testing.T, method, target string, headers ...string) answer {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, target, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := h.app.Test(req, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{res.StatusCode, res.Header.Get("WWW-Authenticate"), string(raw)}
	if a.status >= http.StatusBadRequest && method != http.MethodHead && res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s %s: %d is a %q", method, target, a.status, res.Header.Get("Content-Type"))
	}
	return a
}

func (h *harness) bearer(t *testing.T, method, target, secret string) answer {
	t.Helper()
	return h.ask(t, method, target, "Authorization", "Bearer "+secret)
}

func TestGuardKeys(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	secrets := map[access.Role]string{}
	for _, role := range access.Roles() {
		_, secrets[role] = h.key(t, role, time.Time{})
	}
	for _, rule := range access.Rules() {
		target := strings.NewReplacer(":id", "s1", ":stage", "allergen", "*", "app.js").Replace(rule.Pattern)
		if rule.Need == access.NeedNothing {
			if got := h.ask(t, rule.Method, target); got.status != http.StatusOK {
				t.Errorf("%s %s without a credential: %d", rule.Method, target, got.status)
			}
			continue
		}
		if got := h.ask(t, rule.Method, target); got.status != http.StatusUnauthorized || got.challenge != `Bearer realm="kondate"` {
			t.Errorf("%s %s without a credential: %+v", rule.Method, target, got)
		}
		least := map[access.Need]access.Role{
			access.NeedAdmin: access.Admin, access.NeedSubmit: access.Submit, access.NeedRead: access.Read, access.NeedReadOrToken: access.Read,
		}[rule.Need]
		for role, secret := range secrets {
			want := http.StatusForbidden
			if role.Includes(least) {
				want = http.StatusOK
			}
			got := h.bearer(t, rule.Method, target, secret)
			if got.status != want || want == http.StatusOK && got.body != "acme/" {
				t.Errorf("%s %s as %s: %d %s, want %d", rule.Method, target, role, got.status, got.body, want)
			}
			if want == http.StatusForbidden && !strings.Contains(got.body, "needs the role "+string(least)) {
				t.Errorf("%s %s as %s is not told what it needs: %s", rule.Method, target, role, got.body)
			}
		}
	}
}

// A route without a rule is closed, and no way of writing a path opens one.
func TestGuardIsClosedByDefault(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	_, submit := h.key(t, access.Submit, time.Time{})
	_, admin := h.key(t, access.Admin, time.Time{})
	for _, path := range []string{"/v1/new", "/v1/sessions/s1/new", "/v1/sessions", "/debug/pprof"} {
		if got := h.ask(t, http.MethodGet, path); got.status != http.StatusUnauthorized {
			t.Errorf("%s without a credential: %d", path, got.status)
		}
		if got := h.bearer(t, http.MethodPut, path, submit); got.status != http.StatusForbidden {
			t.Errorf("%s with a key of submit: %d", path, got.status)
		}
		h.app.Get(path, func(c *fiber.Ctx) error { return c.SendString("new") })
		if got := h.bearer(t, http.MethodGet, path, admin); got.status != http.StatusOK {
			t.Errorf("%s with a key of admin: %d", path, got.status)
		}
	}
	for _, path := range []string{"/METRICS", "//metrics", "/metrics/", "/%6detrics", "/v1/sessions/s1/", "/healthz/../metrics", "/v1//events"} {
		if got := h.ask(t, http.MethodGet, path); got.status == http.StatusOK {
			t.Errorf("%s answered %q without a credential", path, got.body)
		}
	}
	if got := h.ask(t, http.MethodHead, "/v1/events"); got.status != http.StatusUnauthorized {
		t.Errorf("HEAD without a credential: %d", got.status)
	}
	if got := h.bearer(t, http.MethodHead, "/v1/events", submit); got.status != http.StatusOK {
		t.Errorf("HEAD with a key: %d", got.status)
	}
}

func TestGuardReadsCredentials(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	_, secret := h.key(t, access.Read, time.Time{})
	other := "kdt_" + strings.Repeat("0", 64)
	tests := map[string]struct {
		headers []string
		status  int
		detail  string
	}{
		"Bearer":          {[]string{"Authorization", "Bearer " + secret}, http.StatusOK, ""},
		"AnyCase":         {[]string{"Authorization", "bEARER   " + secret + " "}, http.StatusOK, ""},
		"Header":          {[]string{"X-API-Key", secret}, http.StatusOK, ""},
		"ProxysOwn":       {[]string{"Authorization", "Basic dTpw", "X-API-Key", secret}, http.StatusOK, ""},
		"BearerWins":      {[]string{"Authorization", "Bearer " + other, "X-API-Key", secret}, http.StatusUnauthorized, "unknown"},
		"Basic":           {[]string{"Authorization", "Basic dTpw"}, http.StatusUnauthorized, "Authorization: Bearer"},
		"EmptyBearer":     {[]string{"Authorization", "Bearer "}, http.StatusUnauthorized, "Authorization: Bearer"},
		"Malformed":       {[]string{"Authorization", "Bearer " + secret[:20]}, http.StatusUnauthorized, "malformed"},
		"UpperCase":       {[]string{"Authorization", "Bearer " + strings.ToUpper(secret)}, http.StatusUnauthorized, "malformed"},
		"Unknown":         {[]string{"Authorization", "Bearer " + other}, http.StatusUnauthorized, "unknown, was revoked or has expired"},
		"TokenIsNoKey":    {[]string{"Authorization", "Bearer " + h.tokens.Sign(menu.Key{Tenant: "acme", Session: "s1"})}, http.StatusUnauthorized, "malformed"},
		"KeyInAnAddress":  {nil, http.StatusUnauthorized, "Authorization: Bearer"},
		"HashIsNotTheKey": {[]string{"Authorization", "Bearer kdt_" + hashIn(t, h.path)}, http.StatusUnauthorized, "unknown"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := h.ask(t, http.MethodGet, "/v1/events?key="+secret, test.headers...)
			if got.status != test.status || !strings.Contains(got.body, test.detail) {
				t.Errorf("%d %s, want %d and %q", got.status, got.body, test.status, test.detail)
			}
			if test.status == http.StatusUnauthorized && !strings.HasPrefix(got.challenge, "Bearer ") {
				t.Errorf("WWW-Authenticate: %q", got.challenge)
			}
			if strings.Contains(got.body, secret[4:]) {
				t.Errorf("the answer repeats the key: %s", got.body)
			}
		})
	}
}

func hashIn(t *testing.T, path string) string {
	t.Helper()
	keys, err := access.ReadKeys(path)
	if err != nil || len(keys) == 0 {
		t.Fatal(keys, err)
	}
	return keys[0].Hash
}

// Unknown, revoked and expired keys are told the same, and end at once.
func TestGuardEndsKeys(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	revoked, revokedSecret := h.key(t, access.Admin, time.Time{})
	_, expiring := h.key(t, access.Admin, start.Add(time.Hour))
	status := func(secret string) answer { return h.bearer(t, http.MethodGet, "/v1/events", secret) }
	if a, b := status(revokedSecret), status(expiring); a.status != http.StatusOK || b.status != http.StatusOK {
		t.Fatalf("the keys are refused: %+v %+v", a, b)
	}
	if _, err := access.RevokeKey(t.Context(), h.path, revoked.ID, h.clock.now()); err != nil {
		t.Fatal(err)
	}
	h.clock.advance(time.Hour)
	want := status("kdt_" + strings.Repeat("f", 64))
	if a, b := status(revokedSecret), status(expiring); a != want || b != want || want.status != http.StatusUnauthorized {
		t.Errorf("revoked %+v, expired %+v, unknown %+v", a, b, want)
	}
}

func TestGuardTokens(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	token := h.tokens.Sign(menu.Key{Tenant: "acme", Session: "s1"})
	stranger, err := access.NewTokens(bytes.Repeat([]byte("x"), access.MinSecret), time.Hour, h.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]answer{
		"/v1/sessions/s1?token=" + token:                                                  {http.StatusOK, "", "acme/s1"},
		"/v1/sessions/s1/events?last_event_id=x.1&token=" + token:                         {http.StatusOK, "", "acme/s1"},
		"/v1/sessions/s1/menus?token=" + token:                                            {http.StatusOK, "", "acme/s1"},
		"/v1/menus/m1/image.svg?token=" + token:                                           {http.StatusOK, "", "acme/s1"}, // the handler finds out whose dish it is
		"/v1/sessions/s2/events?token=" + token:                                           {http.StatusNotFound, "", "no session s2 for this token"},
		"/v1/sessions/s1.x/menus?token=" + token:                                          {http.StatusNotFound, "", "of this name"},
		"/v1/sessions/S1?token=" + token:                                                  {http.StatusNotFound, "", "no session S1"},
		"/v1/events?token=" + token:                                                       {http.StatusUnauthorized, "Bearer", "API key"},
		"/v1/failures?token=" + token:                                                     {http.StatusUnauthorized, "Bearer", "API key"},
		"/metrics?token=" + token:                                                         {http.StatusUnauthorized, "Bearer", "API key"},
		"/v1/sessions/s1?token=" + token + "x":                                            {http.StatusUnauthorized, "Bearer", "not valid"},
		"/v1/sessions/s1?token=":                                                          {http.StatusUnauthorized, "Bearer", "stream_url"},
		"/v1/sessions/s1?token=" + stranger.Sign(menu.Key{Tenant: "acme", Session: "s1"}): {http.StatusUnauthorized, "Bearer", "not valid"},
	} {
		got := h.ask(t, http.MethodGet, target)
		if got.status != want.status || !strings.HasPrefix(got.challenge, want.challenge) || !strings.Contains(got.body, want.body) {
			t.Errorf("%s: %+v, want %+v", target, got, want)
		}
		if strings.Contains(got.body, token) {
			t.Errorf("%s: the answer repeats the token", target)
		}
	}
	for _, method := range []string{http.MethodDelete, http.MethodPost, http.MethodPut} {
		if got := h.ask(t, method, "/v1/sessions/s1?token="+token); got.status != http.StatusUnauthorized {
			t.Errorf("%s with a token: %d", method, got.status)
		}
	}
	h.clock.advance(2 * time.Hour)
	got := h.ask(t, http.MethodGet, "/v1/sessions/s1/events?token="+token)
	if got.status != http.StatusUnauthorized || !strings.Contains(got.body, "expired") || !strings.Contains(got.challenge, "invalid_token") {
		t.Errorf("an expired token: %+v", got)
	}
	// A key is no worse for an expired token beside it: our own clients may come back with both.
	_, secret := h.key(t, access.Read, time.Time{})
	if got := h.bearer(t, http.MethodGet, "/v1/sessions/s1/events?token="+token, secret); got.status != http.StatusOK || got.body != "acme/" {
		t.Errorf("a key with an expired token: %+v", got)
	}
}

// What nobody was asked for belongs to nobody.
func TestNobody(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	got := h.ask(t, http.MethodGet, "/healthz")
	if tenant, _, _ := strings.Cut(got.body, "/"); tenant == "" {
		t.Error("a request without a credential has the empty tenant, which filters take for all tenants")
	} else if _, err := menu.ParseTenant(tenant); err == nil {
		t.Errorf("a request without a credential has the tenant %s, which may exist", tenant)
	}
}

func TestSecretsAreNotKept(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	key, secret := h.key(t, access.Admin, time.Time{})
	h.bearer(t, http.MethodGet, "/v1/events", secret)
	raw, err := os.ReadFile(h.path)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"file": string(raw), "key": string(shown), "log": h.logged.String()} {
		if text == "" || strings.Contains(text, secret[4:20]) {
			t.Errorf("the %s holds the secret, or nothing: %s", what, text)
		}
	}
	if !strings.HasSuffix(secret, key.Last4) || len(key.Last4) != 4 || len(secret) != 68 {
		t.Errorf("the key %s ends with %s", secret, key.Last4)
	}
}

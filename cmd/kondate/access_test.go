package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/handlers/access"
	"kondate/handlers/stage"
)

// tokenSecret signs the tokens of these tests, and of nothing else.
const tokenSecret = "a secret of tests: 32 bytes at least"

// guarded is a system with API keys, with two tenants.
type guarded struct {
	*system

	logged *syncBuffer
	keys   map[menu.Tenant]map[access.Role]string
	owner  tenantData
	rival  tenantData
	second accepted // another session of the owner
}

// tenantData is what a tenant has submitted.
type tenantData struct {
	accepted

	token string // of the session
}

const (
	ownerTenant = menu.Tenant("izakaya")
	rivalTenant = menu.Tenant("sobaya")
	// ownersMark is in every text that the owner has submitted, and in nothing else.
	ownersMark = "秘伝"
)

// startGuarded serves two tenants. The owner's session is done; one stage of its dishes is parked, and the second dish
// has a picture.
func startGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{logged: &syncBuffer{}, keys: map[menu.Tenant]map[access.Role]string{}}
	providers := everywhere(always{func(_ context.Context, r stage.Request) (menu.Result, error) {
		if r.Stage == menu.Task8 && strings.Contains(r.Item.Name, ownersMark) {
			return menu.Result{}, &stage.Error{Reason: "refused", Permanent: true}
		}
		return scriptedResult(r), nil
	}})
	log := slog.New(slog.NewTextHandler(g.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g.system = startLogged(t, log, allRoles(), providers, "--auth-mode", "keys", "--auth-token-secret", tokenSecret)
	for _, tenant := range []menu.Tenant{ownerTenant, rivalTenant} {
		g.keys[tenant] = map[access.Role]string{}
		for _, role := range access.Roles() {
			g.keys[tenant][role] = strings.TrimSpace(g.kondate(t, "keys", "create", "--name", "test", "--tenant", string(tenant), "--role", string(role)))
		}
	}
	submit := func(tenant menu.Tenant, body string) accepted {
		cl := g.as(g.keys[tenant][access.Submit])
		answer, err := cl.submit(t.Context(), []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		awaitOnStream(t, cl, answer.StreamURL, menu.Completed{}.Type())
		return answer
	}
	withToken := func(a accepted) tenantData {
		at, err := url.Parse(a.StreamURL)
		if err != nil || at.Query().Get("token") == "" {
			t.Fatalf("stream_url is %q, %v", a.StreamURL, err)
		}
		return tenantData{a, at.Query().Get("token")}
	}
	// Ids are a tenant's own: the first dish of both has the same.
	g.owner = withToken(submit(ownerTenant, `{"title":"秘伝の店","items":[{"id":"dish-1","name":"秘伝の煮込み"},{"name":"秘伝の焼き鳥"}]}`))
	g.rival = withToken(submit(rivalTenant, `{"title":"別の店","items":[{"id":"dish-1","name":"かけそば"},{"name":"天丼"}]}`))
	g.second = submit(ownerTenant, `{"items":[{"name":"秘伝のおにぎり"}]}`)
	cl := g.as(g.keys[ownerTenant][access.Submit])
	path := "/v1/menus/" + string(g.owner.Items[1].MenuID)
	waitFor(t, func() bool { return cl.call(t.Context(), http.MethodGet, path, nil, &struct{}{}) == nil })
	if err := cl.call(t.Context(), http.MethodPost, path+"/image", nil, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	awaitOnStream(t, cl, g.owner.StreamURL, menu.ImageCompleted{}.Type())
	return g
}

func (g *guarded) as(key string) *client {
	return &client{base: g.running.HTTPURL, key: key, http: &http.Client{}}
}

// ask sends a request with a key, or without one if it is empty.
func (g *guarded) ask(t *testing.T, method, target, key, body string) (int, http.Header, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, g.running.HTTPURL+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(raw)
}

// routeAccess is what a route has to answer. It is written down once more here, apart from the program's own rules.
type routeAccess struct {
	least   access.Role // the smallest role that may; empty: everybody
	token   bool        // the session's token may, too
	body    string      // of the request
	foreign int         // what another tenant's key of a sufficient role gets
	own     int         // what the owner gets
}

func routesAccess() map[string]routeAccess {
	const notFound, ok, taken = http.StatusNotFound, http.StatusOK, http.StatusAccepted
	return map[string]routeAccess{
		"GET /healthz":                           {own: ok},
		"GET /readyz":                            {own: ok},
		"GET /":                                  {own: ok},
		"GET /client.js":                         {own: ok},
		"GET /openapi.json":                      {own: ok},
		"GET /asyncapi.json":                     {own: ok},
		"GET /schemas/:type/:version":            {own: ok},
		"GET /metrics":                           {least: access.Admin, foreign: ok, own: ok},
		"POST /v1/sessions":                      {least: access.Submit, body: `{"items":[{"name":"冷奴"}]}`, foreign: taken, own: taken},
		"GET /v1/sessions/:id":                   {least: access.Read, token: true, foreign: notFound, own: ok},
		"DELETE /v1/sessions/:id":                {least: access.Admin, foreign: notFound, own: taken},
		"GET /v1/sessions/:id/menus":             {least: access.Read, token: true, foreign: notFound, own: ok},
		"GET /v1/sessions/:id/events":            {least: access.Read, token: true, foreign: notFound, own: ok},
		"GET /v1/menus/:id":                      {least: access.Read, token: true, foreign: notFound, own: ok},
		"POST /v1/menus/:id/image":               {least: access.Submit, foreign: notFound, own: taken},
		"GET /v1/menus/:id/image.svg":            {least: access.Read, token: true, foreign: notFound, own: ok},
		"GET /v1/menus/:id/image.png":            {least: access.Read, token: true, foreign: notFound, own: ok},
		"POST /v1/menus/:id/stages/:stage/retry": {least: access.Submit, foreign: notFound, own: taken},
		"GET /v1/events":                         {least: access.Read, foreign: ok, own: ok},
		"GET /v1/failures":                       {least: access.Read, foreign: ok, own: ok},
		"POST /v1/failures/retry":                {least: access.Admin, body: `{"all":true}`, foreign: taken, own: taken},
	}
}

// Every route that exists, asked with every wrong credential: the status that it must have, and nothing that is not the
// asker's. A route that is added and not written down in routesAccess fails.
func TestEveryRouteKeepsTenantsApart(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	// The owner's dish with an id that nobody else has.
	dish := string(g.owner.Items[1].MenuID)
	pathOf := func(pattern string) string {
		id := dish
		if strings.HasPrefix(pattern, "/v1/sessions/") {
			id = g.owner.SessionID
		}
		return strings.NewReplacer(":id", id, ":stage", "task8", ":type", "allergen.completed", ":version", "v2.json").Replace(pattern)
	}
	expired, err := access.NewTokens([]byte(tokenSecret), time.Second, func() time.Time { return time.Now().Add(-time.Hour) })
	if err != nil {
		t.Fatal(err)
	}
	_, ownToken, _ := strings.Cut(g.second.StreamURL, "token=")
	tokens := map[string]string{
		"another tenant's token":             g.rival.token,
		"the token of another own session":   ownToken,
		"a token of another tenant for this": mustSign(t, "some other secret, of nobody at all", menu.Key{Tenant: ownerTenant, Session: menu.SessionID(g.owner.SessionID)}),
		"an expired token":                   expired.Sign(menu.Key{Tenant: ownerTenant, Session: menu.SessionID(g.owner.SessionID)}),
	}
	table, checked := routesAccess(), map[string]bool{}
	for _, route := range g.web.GetRoutes(true) {
		name := route.Method + " " + route.Path
		method := route.Method
		if method == http.MethodHead {
			name = http.MethodGet + " " + route.Path
		}
		want, known := table[name]
		if strings.HasPrefix(route.Path, "/console/") {
			want, known = routeAccess{own: http.StatusOK}, true
		}
		if !known {
			t.Errorf("%s is not written down in routesAccess: who may ask it?", name)
			continue
		}
		checked[name] = true
		path := pathOf(route.Path)
		check := func(who, target, key string, status int) {
			t.Helper()
			got, header, body := g.ask(t, method, target, key, want.body)
			known := want.token && strings.Contains(target, "?token=")
			if strings.Contains(target, "?") && !known && got == http.StatusBadRequest && strings.Contains(body, "a parameter that this route does not know") {
				status = got // the route has no such parameter, and says so before it looks for anything
			}
			if got != status {
				t.Errorf("%s %s with %s: %d, want %d: %.200q", method, target, who, got, status, body)
			}
			if strings.Contains(body, ownersMark) || strings.Contains(body, string(g.second.Items[0].MenuID)) {
				t.Errorf("%s %s with %s shows the owner's data: %.300s", method, target, who, body)
			}
			if challenge := header.Get("WWW-Authenticate"); (status == http.StatusUnauthorized) != strings.HasPrefix(challenge, "Bearer") && status != http.StatusForbidden {
				t.Errorf("%s %s with %s: %d has the challenge %q", method, target, who, got, challenge)
			}
			if problem := header.Get("Content-Type") == "application/problem+json"; status >= http.StatusBadRequest && !problem {
				t.Errorf("%s %s with %s: %d is a %q", method, target, who, got, header.Get("Content-Type"))
			}
		}
		if want.least == "" {
			check("nothing", path, "", want.own)
			continue
		}
		check("nothing", path, "", http.StatusUnauthorized)
		check("a malformed key", path, "kdt_1234", http.StatusUnauthorized)
		check("an unknown key", path, "kdt_"+strings.Repeat("0", 64), http.StatusUnauthorized)
		check("a key in the address", path+"?token="+g.keys[ownerTenant][access.Admin], "", http.StatusUnauthorized)
		for who, token := range tokens {
			status := http.StatusUnauthorized
			if want.token && (token == g.rival.token || token == ownToken) {
				status = http.StatusNotFound
			}
			check(who, path+"?token="+token, "", status)
		}
		for role, key := range g.keys[rivalTenant] {
			status := want.foreign
			if !role.Includes(want.least) {
				status = http.StatusForbidden
			}
			queries := []string{""}
			if method == http.MethodGet {
				queries = []string{"", "?min_seq=1", "?as_of_seq=3", "?session=" + g.owner.SessionID, "?last_event_id=x.0"}
			}
			for _, query := range queries {
				check("another tenant's key of the role "+string(role), path+query, key, status)
			}
			// What the right key of the owner may not do shows nothing either.
			if !role.Includes(want.least) {
				check("an own key of the role "+string(role), path, g.keys[ownerTenant][role], http.StatusForbidden)
			}
		}
	}
	for name := range table {
		if !checked[name] && !strings.HasSuffix(name, "api.json") {
			t.Errorf("%s is written down in routesAccess, and does not exist", name)
		}
	}
	for tenant, name := range map[menu.Tenant]string{ownerTenant: "秘伝の煮込み", rivalTenant: "かけそば"} {
		if _, _, body := g.ask(t, http.MethodGet, "/v1/menus/dish-1", g.keys[tenant][access.Read], ""); !strings.Contains(body, name) {
			t.Errorf("dish-1 of %s is %.200s", tenant, body)
		}
	}
	g.checkOwn(t, table, pathOf)
}

// checkOwn makes sure that the same requests succeed with the right credentials: none of the refusals above has another
// reason.
func (g *guarded) checkOwn(t *testing.T, table map[string]routeAccess, pathOf func(string) string) {
	t.Helper()
	for _, last := range []bool{false, true} {
		for name, want := range table {
			method, pattern, _ := strings.Cut(name, " ")
			if want.least == "" || (method == http.MethodDelete) != last {
				continue
			}
			path := pathOf(pattern)
			for _, role := range access.Roles() {
				if !role.Includes(want.least) || method == http.MethodPost && role != want.least {
					continue
				}
				status, _, body := g.ask(t, method, path, g.keys[ownerTenant][role], want.body)
				// A bulk retry may have been quicker than the retry of the one stage.
				if conflict := status == http.StatusConflict && strings.HasSuffix(pattern, "/retry"); status != want.own && !conflict {
					t.Errorf("%s %s with the owner's key of the role %s: %d %.200s", method, path, role, status, body)
				}
			}
			if want.token {
				if status, _, body := g.ask(t, method, path+"?token="+g.owner.token, "", ""); status != want.own {
					t.Errorf("%s %s with its token: %d %.200s", method, path, status, body)
				}
			}
		}
	}
}

func mustSign(t *testing.T, secret string, key menu.Key) string {
	t.Helper()
	tokens, err := access.NewTokens([]byte(secret), time.Hour, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return tokens.Sign(key)
}

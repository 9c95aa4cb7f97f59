package access

import (
	"net/http"
	"strings"
)

// Need says what a route takes.
type Need int

// What routes take.
const (
	// NeedAdmin takes a key of the role admin. It is the zero value: a route that is in no rule needs it.
	NeedAdmin Need = iota
	// NeedNothing takes everybody.
	NeedNothing
	// NeedReadOrToken takes a key of any role, or the token of the session that is asked for.
	NeedReadOrToken
	// NeedRead takes a key of any role.
	NeedRead
	// NeedSubmit takes a key of the role submit or admin.
	NeedSubmit
)

// Rule is what one route takes.
type Rule struct {
	Method  string // GET stands for HEAD, too
	Pattern string // as routes are registered: a segment ":name" is any text, "*" at the end any path
	Need    Need
}

// Rules returns what each of the server's routes takes. What is not there needs an administrator.
func Rules() []Rule {
	return []Rule{
		{http.MethodGet, "/healthz", NeedNothing},
		{http.MethodGet, "/readyz", NeedNothing},
		{http.MethodGet, "/", NeedNothing},
		{http.MethodGet, "/console/*", NeedNothing},
		{http.MethodGet, "/client.js", NeedNothing},
		{http.MethodGet, "/openapi.json", NeedNothing},
		{http.MethodGet, "/asyncapi.json", NeedNothing},
		{http.MethodGet, "/schemas/:type/:version", NeedNothing},
		{http.MethodGet, "/metrics", NeedAdmin},

		{http.MethodPost, "/v1/sessions", NeedSubmit},
		{http.MethodGet, sessionPattern, NeedReadOrToken},
		{http.MethodDelete, sessionPattern, NeedAdmin},
		{http.MethodGet, sessionPattern + "/menus", NeedReadOrToken},
		{http.MethodGet, sessionPattern + "/events", NeedReadOrToken},
		{http.MethodGet, "/v1/menus/:id", NeedReadOrToken},
		{http.MethodGet, "/v1/menus/:id/image.svg", NeedReadOrToken},
		{http.MethodGet, "/v1/menus/:id/image.png", NeedReadOrToken},
		{http.MethodPost, "/v1/menus/:id/image", NeedSubmit},
		{http.MethodPost, "/v1/menus/:id/stages/:stage/retry", NeedSubmit},
		{http.MethodGet, "/v1/events", NeedRead},
		{http.MethodGet, "/v1/failures", NeedRead},
		{http.MethodPost, "/v1/failures/retry", NeedAdmin},
	}
}

// sessionPattern is the beginning of the routes that name a session.
const sessionPattern = "/v1/sessions/:id"

// role is the smallest role that may; tokens apart.
func (n Need) role() Role {
	switch n {
	case NeedReadOrToken, NeedRead:
		return Read
	case NeedSubmit:
		return Submit
	case NeedAdmin, NeedNothing:
	}
	return Admin
}

// needOf finds the rule of a request. Paths are compared as the router does: raw, with upper and lower case apart, and
// without the slash at the end.
func needOf(rules []Rule, method, path string) Need {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, rule := range rules {
		if rule.Method == method && matches(rule.Pattern, path) {
			return rule.Need
		}
	}
	return NeedAdmin
}

func matches(pattern, path string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(path, prefix)
	}
	want, got := segments(pattern), segments(path)
	if len(want) != len(got) {
		return false
	}
	for i, segment := range want {
		if strings.HasPrefix(segment, ":") && got[i] != "" {
			continue
		}
		if segment != got[i] {
			return false
		}
	}
	return true
}

func segments(path string) []string { return strings.Split(strings.TrimRight(path, "/"), "/") }

// sessionIn returns the session that a path names, if it names one.
func sessionIn(path string) (id string, named bool) {
	const before = len("/v1/sessions/")
	if parts := segments(path); len(parts) < 4 || !matches(sessionPattern, strings.Join(parts[:4], "/")) {
		return "", false
	}
	id, _, _ = strings.Cut(path[before:], "/")
	return id, true
}

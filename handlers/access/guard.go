package access

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"kondate/domain/menu"
)

const (
	headerAPIKey = "X-API-Key" //nolint:gosec // the name of a header
	queryToken   = "token"

	// principalKey is where the middleware leaves the principal for the handlers.
	principalKey = "kondate.principal"

	// nobody is the tenant of a request without a principal. It is no valid name, so nothing is anybody's under it.
	nobody = menu.Tenant("(nobody)")
)

// Guard is the middleware that asks every request for its credential. It is safe for concurrent use.
type Guard struct {
	keys   *Keys
	tokens *Tokens
	rules  []Rule
	now    func() time.Time
}

// NewGuard returns a guard of the server's [Rules].
func NewGuard(keys *Keys, tokens *Tokens, now func() time.Time) *Guard {
	return &Guard{keys: keys, tokens: tokens, rules: Rules(), now: now}
}

// Check lets a request go on to its handler if its credential may ask that; else it answers 401, 403 or 404. It has to
// stand before all routes.
func (g *Guard) Check(c *fiber.Ctx) error {
	need := needOf(g.rules, c.Method(), c.Path())
	if need == NeedNothing {
		return c.Next()
	}
	who, refused := g.identify(c, need)
	if refused != nil {
		return refused.send(c)
	}
	c.Locals(principalKey, who)
	return c.Next()
}

// identify finds out who asks, and refuses who may not. A key wins over a token: it does not run out in the middle.
func (g *Guard) identify(c *fiber.Ctx, need Need) (Principal, *refusal) {
	if secret := keyOf(c); secret != "" {
		if !wellFormed(secret) {
			return Principal{}, invalidCredential("the API key is malformed: it is kdt_ and 64 digits from 0-9 a-f")
		}
		who, ok := g.keys.Find(secret, g.now())
		if !ok {
			return Principal{}, invalidCredential("the API key is unknown, was revoked or has expired: ask whoever runs this server for a new one (kondate keys create)")
		}
		if role := need.role(); !who.Role.Includes(role) {
			return Principal{}, tooSmall(who.Role, role)
		}
		return who, nil
	}
	if need != NeedReadOrToken {
		return Principal{}, missingCredential("send an API key: Authorization: Bearer kdt_…")
	}
	token := c.Query(queryToken)
	if token == "" {
		return Principal{}, missingCredential("send an API key (Authorization: Bearer kdt_…), or use the address in stream_url, which carries a token")
	}
	key, err := g.tokens.Verify(token)
	switch {
	case errors.Is(err, ErrTokenExpired):
		return Principal{}, invalidCredential("the token in this address has expired: send an API key, or ask for a new address whoever submitted the menu")
	case err != nil:
		return Principal{}, invalidCredential("the token in this address is not valid: take stream_url as the server gave it, or send an API key")
	}
	if id, named := sessionIn(c.Path()); named && id != string(key.Session) {
		return Principal{}, otherSession(utils.CopyString(id))
	}
	return Principal{Tenant: key.Tenant, Role: Read, Session: key.Session}, nil
}

// keyOf returns the API key of a request. An Authorization of another scheme is none of ours: a proxy may use it.
func keyOf(c *fiber.Ctx) string {
	scheme, value, _ := strings.Cut(strings.TrimSpace(c.Get(fiber.HeaderAuthorization)), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(value)
	}
	return strings.TrimSpace(c.Get(headerAPIKey))
}

// Tenant returns the tenant of a request that passed [Guard.Check].
func Tenant(c *fiber.Ctx) menu.Tenant {
	if who, ok := c.Locals(principalKey).(Principal); ok {
		return who.Tenant
	}
	return nobody
}

// OnlySession returns the one session that a request may see; empty: all of its tenant.
func OnlySession(c *fiber.Ctx) menu.SessionID {
	who, _ := c.Locals(principalKey).(Principal)
	return who.Session
}

// KeyID returns the id of the API key that a request came with; empty: none did.
func KeyID(c *fiber.Ctx) string {
	who, _ := c.Locals(principalKey).(Principal)
	return who.KeyID
}

// refusal is the body of an answer that refuses (RFC 9457).
type refusal struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`

	RequestID string `json:"request_id,omitempty"`

	challenge string // value of WWW-Authenticate
}

func newRefusal(status int, slug, title, detail, challenge string) *refusal {
	return &refusal{Type: "urn:kondate:problem:" + slug, Title: title, Status: status, Detail: detail, challenge: challenge}
}

// The challenges are those of RFC 6750, section 3.
const challenge = `Bearer realm="kondate"`

func missingCredential(detail string) *refusal {
	return newRefusal(http.StatusUnauthorized, "unauthorized", "A credential is needed", detail, challenge)
}

func invalidCredential(detail string) *refusal {
	return newRefusal(http.StatusUnauthorized, "unauthorized", "The credential is not valid", detail, challenge+`, error="invalid_token"`)
}

func tooSmall(has, needs Role) *refusal {
	return newRefusal(http.StatusForbidden, "forbidden", "The key may not do this",
		fmt.Sprintf("the key has the role %s, this needs the role %s: use another key", has, needs), challenge+`, error="insufficient_scope"`)
}

// otherSession answers as if there were no other session, for there is none for this token.
func otherSession(id string) *refusal {
	if _, err := menu.ParseSessionID(id); err != nil {
		id = "of this name"
	}
	return newRefusal(http.StatusNotFound, "not-found", "There is no such thing", "there is no session "+id+" for this token", "")
}

func (r *refusal) send(c *fiber.Ctx) error {
	if r.challenge != "" {
		c.Set(fiber.HeaderWWWAuthenticate, r.challenge)
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	r.RequestID = c.GetRespHeader(fiber.HeaderXRequestID)
	return c.Status(r.Status).JSON(r, "application/problem+json")
}

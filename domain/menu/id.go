package menu

import (
	"errors"
	"fmt"
)

// DefaultTenant owns the menus of a server that runs without authentication.
const DefaultTenant Tenant = "public"

// MaxTokenLength is the length in bytes of the longest tenant, session or dish id.
const MaxTokenLength = 64

// Tenant is the owner of sessions. It is safe as one subject token once [ParseTenant] returned it.
type Tenant string

// SessionID names one submitted menu within its tenant. It is safe as one subject token once [ParseSessionID] returned it.
type SessionID string

// DishID names one dish within its tenant; it is the menu_id of events and rows. [ParseDishID] checks it.
type DishID string

// Key names one session across tenants.
type Key struct {
	Tenant  Tenant
	Session SessionID
}

// String returns "tenant/session", for people.
func (k Key) String() string { return string(k.Tenant) + "/" + string(k.Session) }

// Source returns the CloudEvents source of the session's events.
func (k Key) Source() string { return "/menus/" + k.String() }

// ErrInvalidToken is matched by every error of the Parse functions for ids.
var ErrInvalidToken = errors.New("not a valid id")

// ParseTenant checks a tenant's name: 1 to 64 of A-Z a-z 0-9 _ -.
func ParseTenant(raw string) (Tenant, error) { return Tenant(raw), checkToken("tenant", raw) }

// ParseSessionID checks a session's id: 1 to 64 of A-Z a-z 0-9 _ -.
func ParseSessionID(raw string) (SessionID, error) {
	return SessionID(raw), checkToken("session id", raw)
}

// ParseDishID checks a dish's id: 1 to 64 of A-Z a-z 0-9 _ -.
func ParseDishID(raw string) (DishID, error) { return DishID(raw), checkToken("menu id", raw) }

// checkToken keeps wildcards, dots and blanks out: one of them would make an id another subject.
func checkToken(what, raw string) error {
	if raw == "" {
		return fmt.Errorf("%s is empty: %w", what, ErrInvalidToken)
	}
	if len(raw) > MaxTokenLength {
		return fmt.Errorf("%s has %d bytes, at most %d are allowed: %w", what, len(raw), MaxTokenLength, ErrInvalidToken)
	}
	for i := range len(raw) {
		c := raw[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return fmt.Errorf("%s %q may hold only A-Z a-z 0-9 _ and -: %w", what, raw, ErrInvalidToken)
		}
	}
	return nil
}

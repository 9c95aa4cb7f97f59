package access

import (
	"fmt"

	"kondate/domain/menu"
)

// Role says what a key may do with the sessions of its tenant. Each role includes the ones before it.
type Role string

// The roles, the smallest first.
const (
	Read   Role = "read"   // sessions, rows, streams, history, parked stages, pictures
	Submit Role = "submit" // also submit menus, ask for pictures, take a parked stage back to work
	Admin  Role = "admin"  // also erase sessions, take many parked stages back to work, and see the server's metrics
)

// Roles returns all roles, the smallest first.
func Roles() []Role { return []Role{Read, Submit, Admin} }

// ParseRole checks the name of a role.
func ParseRole(raw string) (Role, error) {
	for _, r := range Roles() {
		if raw == string(r) {
			return r, nil
		}
	}
	return "", fmt.Errorf("role %q does not exist: use read, submit or admin", raw)
}

// Includes says whether a role may do what another one may.
func (r Role) Includes(other Role) bool { return r.rank() >= other.rank() }

// rank is 0 for what is no role.
func (r Role) rank() int {
	for i, role := range Roles() {
		if r == role {
			return i + 1
		}
	}
	return 0
}

// Principal is who a request comes from.
type Principal struct {
	Tenant  menu.Tenant
	Role    Role
	KeyID   string         // of the API key; empty for a token
	Session menu.SessionID // the only one that a token is for; empty for a key: all of the tenant
}

package streams

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nkeys"

	"kondate/domain/menu"
)

// UserRole says what a [User] of the broker may do.
type UserRole string

// The roles of users.
const (
	RoleReader UserRole = "reader" // reads the events of one tenant, or of all
	RoleWorker UserRole = "worker" // answers one stage, for one tenant or all
	RoleServer UserRole = "server" // kondate's own processes
	RoleAdmin  UserRole = "admin"  // everything in the account of the menus
)

// UserRoles returns all roles.
func UserRoles() []UserRole { return []UserRole{RoleReader, RoleWorker, RoleServer, RoleAdmin} }

// AllTenants stands for every tenant in [User.Tenant].
const AllTenants = "*"

// User is somebody who may connect to the broker. The secret half of the key is with them alone.
type User struct {
	Name      string    `json:"name"`
	Role      UserRole  `json:"role"`
	Tenant    string    `json:"tenant,omitempty"` // of a reader and a worker; AllTenants: all
	Stage     string    `json:"stage,omitempty"`  // of a worker
	PublicKey string    `json:"public_key"`       // nkey, U…
	Created   time.Time `json:"created_at"`
}

// NewUser returns a user with a new key, and the seed that the user proves it with.
func NewUser(name string, role UserRole, tenant, stage string, at time.Time) (User, []byte, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return User{}, nil, fmt.Errorf("make a key: %w", err)
	}
	seed, err := pair.Seed()
	if err != nil {
		return User{}, nil, fmt.Errorf("make a key: %w", err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return User{}, nil, fmt.Errorf("make a key: %w", err)
	}
	u := User{name, role, tenant, stage, public, at.UTC().Truncate(time.Second)}
	return u, seed, u.check()
}

// check refuses a user that could not be written into a configuration, or would mean something else there.
func (u User) check() error {
	if _, err := menu.ParseTenant(u.Name); err != nil { // the same alphabet: it becomes a token of subjects
		return fmt.Errorf("name %q: use 1 to 64 of A-Z a-z 0-9 _ -", u.Name)
	}
	if !nkeys.IsValidPublicUserKey(u.PublicKey) {
		return fmt.Errorf("user %s: public_key is not the public half of a user's nkey (U…)", u.Name)
	}
	var tenant, stage error
	if u.Tenant != AllTenants {
		_, tenant = menu.ParseTenant(u.Tenant)
	}
	_, stage = menu.ParseStage(u.Stage)
	switch u.Role {
	case RoleReader:
		if tenant == nil && u.Stage != "" {
			return fmt.Errorf("user %s: a reader reads all stages, it has no stage", u.Name)
		}
		return tenant
	case RoleWorker:
		return errors.Join(tenant, stage)
	case RoleServer, RoleAdmin:
		if u.Tenant+u.Stage != "" {
			return fmt.Errorf("user %s: the role %s is for all tenants and stages, it takes neither", u.Name, u.Role)
		}
		return nil
	}
	return fmt.Errorf("user %s: role %q does not exist: use reader, worker, server or admin", u.Name, u.Role)
}

// usersDocument is the file of users.
type usersDocument struct {
	Users []User `json:"users"`
}

// ParseUsers reads a file of users and refuses one that is not exactly what it should be: what is misread in it would
// let somebody in, or keep somebody out.
func ParseUsers(raw []byte) ([]User, error) {
	var doc usersDocument
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("it is no JSON of users: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON of users")
	}
	names, keys := map[string]bool{}, map[string]bool{}
	for _, u := range doc.Users {
		if err := u.check(); err != nil {
			return nil, err
		}
		if names[u.Name] || keys[u.PublicKey] {
			return nil, fmt.Errorf("user %s: the name or the key is there twice", u.Name)
		}
		names[u.Name], keys[u.PublicKey] = true, true
	}
	return doc.Users, nil
}

// FormatUsers is the inverse of [ParseUsers].
func FormatUsers(users []User) ([]byte, error) {
	raw, err := json.MarshalIndent(usersDocument{users}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the users: %w", err)
	}
	return append(raw, '\n'), nil
}

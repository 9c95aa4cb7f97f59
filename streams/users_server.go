package streams

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// reloads is how often a server has to read its accounts until one that is new is there: the first time the server makes
// it, and only the second time it listens for what is imported into it.
const reloads = 2

// door is whom an embedded server lets in.
type door struct {
	prefix string
	own    User   // this process, and the commands beside it
	seed   []byte // of own; nil: there are no users, and everybody is let in
}

// openDoor makes a key for this process, which lives as long as it does.
func openDoor(channelPrefix string) (d door, err error) {
	d.prefix = channelPrefix
	d.own, d.seed, err = NewUser("kondate-itself", RoleAdmin, "", "", time.Time{})
	return d, err
}

// admit sets the accounts of a server to those of the users. They are read from the very text that a nats-server is
// given, so that a user may do the same in both.
func (d door) admit(opts *server.Options, users []User) error {
	text, err := UsersConfig(append([]User{d.own}, users...), d.prefix)
	if err != nil {
		return err
	}
	var parsed server.Options
	if err := parsed.ProcessConfigString("accounts: {\n" + text + "}\n"); err != nil {
		return fmt.Errorf("configure the users of the embedded NATS: %w", err)
	}
	for _, account := range parsed.Accounts {
		if account.Name == menuAccount {
			account.Name = server.DEFAULT_GLOBAL_ACCOUNT
		}
	}
	opts.Accounts, opts.Nkeys = parsed.Accounts, parsed.Nkeys
	return nil
}

// Seed returns the seed of a user that may do everything until the server stops, for the commands beside this process;
// empty if the server has no users.
func (s *Server) Seed() string { return string(s.door.seed) }

// SetUsers replaces the users, and ends the connections of those that are gone.
func (s *Server) SetUsers(users []User) error {
	if s.door.seed == nil {
		return errors.New("the embedded NATS was started without users")
	}
	for range reloads {
		next := s.opts.Clone()
		if err := s.door.admit(next, users); err != nil {
			return err
		}
		if err := s.ns.ReloadOptions(next); err != nil {
			return fmt.Errorf("change the users of the embedded NATS: %w", err)
		}
	}
	return nil
}

// SeedOption returns the option by which a connection is that of the user with a seed; with none, a connection without a user.
func SeedOption(seed string) (nats.Option, error) {
	if seed == "" {
		return func(*nats.Options) error { return nil }, nil
	}
	pair, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		return nil, fmt.Errorf("the seed of a NATS user: %w", err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("the seed of a NATS user: %w", err)
	}
	return nats.Nkey(public, pair.Sign), nil
}

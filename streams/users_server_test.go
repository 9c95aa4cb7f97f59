package streams_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
	"kondate/streams/natstest"
)

// guests is a nats-server of somebody's own, configured by a file that includes the accounts of the users.
type guests struct {
	dir   string
	url   string
	seeds map[string]string
	users map[string]streams.User
	ns    *server.Server
}

// newGuests starts a server for users that are written name:role:tenant:stage, the first of which is an admin, and makes
// the streams and the readers' consumers.
func newGuests(t *testing.T, who ...[4]string) *guests {
	t.Helper()
	g := &guests{seeds: map[string]string{}, users: map[string]streams.User{}}
	var users []streams.User
	for _, w := range who {
		u, seed, err := streams.NewUser(w[0], streams.UserRole(w[1]), w[2], w[3], time.Now())
		if err != nil {
			t.Fatal(err)
		}
		g.seeds[u.Name], g.users[u.Name] = string(seed), u
		users = append(users, u)
	}
	dir := t.TempDir()
	g.dir = dir
	g.configure(t, users)
	g.ns = natstest.Configured(t, dir, "accounts {\n  include ./kondate-accounts.conf\n}\n")
	g.url = g.ns.ClientURL()
	js := g.jetStream(t, who[0][0])
	if err := streams.Ensure(t.Context(), js, streams.Topology{Replicas: 1, MaxBytes: 1 << 28, AckWait: natstest.AckWait}); err != nil {
		t.Fatal(err)
	}
	for _, u := range users {
		if u.Role == streams.RoleReader {
			if _, err := streams.EnsureTeam(t.Context(), js, u, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	return g
}

// configure writes what the server includes.
func (g *guests) configure(t *testing.T, users []streams.User) {
	t.Helper()
	text, err := streams.UsersConfig(users, "sse")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(g.dir, "kondate-accounts.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// conn connects as a user; with no name, as nobody. What the server forbids arrives in denied.
func (g *guests) conn(t *testing.T, name string) (nc *nats.Conn, denied func() error) {
	t.Helper()
	user, err := streams.SeedOption(g.seeds[name])
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 1000)
	nc, err = nats.Connect(g.url, user, nats.Name(name), nats.CustomInboxPrefix("_INBOX."+name), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, func() error {
		if err := nc.Flush(); err != nil { // the server has answered everything before the pong
			return err
		}
		var all []error
		for {
			select {
			case err := <-errs:
				all = append(all, err)
			case <-time.After(50 * time.Millisecond): // the client hands errors on in a goroutine of its own
				return errors.Join(all...)
			}
		}
	}
}

func (g *guests) jetStream(t *testing.T, name string) jetstream.JetStream {
	t.Helper()
	nc, _ := g.conn(t, name)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// append writes a menu of three events for a tenant, past kondate.
func (g *guests) append(t *testing.T, js jetstream.JetStream, tenant string) {
	t.Helper()
	for _, event := range []string{"menu.submitted", "allergen.completed", "menu.completed"} {
		if _, err := js.Publish(t.Context(), "menu.evt."+tenant+".s1."+event, []byte(`{"of":"`+tenant+`"}`)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUsersServer(t *testing.T) {
	t.Parallel()
	g := newGuests(t, [4]string{"ops", "admin"}, [4]string{"kondate", "server"})
	if _, err := nats.Connect(g.url); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("nobody connected: %v", err)
	}
	stranger, seed, err := streams.NewUser("kondate", streams.RoleServer, "", "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	user, err := streams.SeedOption(string(seed))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nats.Connect(g.url, user); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("a key that is none of the users' (%s) connected: %v", stranger.PublicKey, err)
	}
	nc, denied := g.conn(t, "kondate")
	for _, subject := range []string{"$JS.API.STREAM.DELETE.MENU_EVENTS", "$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.RESTORE.MENU_EVENTS", "$SYS.REQ.SERVER.PING", "other"} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		if err := denied(); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("the role server may publish on %s: %v", subject, err)
		}
	}
	for _, subject := range []string{">", "$SYS.>", "menu.evt.>"} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		if err := denied(); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("the role server may subscribe to %s: %v", subject, err)
		}
	}
}

// A server that runs takes new users when it is reloaded, a new reader at the second time, and ends the connections of
// users that are gone.
func TestUsersAreReloaded(t *testing.T) {
	t.Parallel()
	g := newGuests(t, [4]string{"ops", "admin"}, [4]string{"alpha", "reader", "a"})
	js := g.jetStream(t, "ops")
	late, seed, err := streams.NewUser("late", streams.RoleReader, "a", "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	g.seeds["late"] = string(seed)
	if _, err := streams.EnsureTeam(t.Context(), js, late, false); err != nil {
		t.Fatal(err)
	}
	gone, _ := g.conn(t, "alpha")
	g.configure(t, []streams.User{g.users["ops"], late})
	for range 2 {
		if err := g.ns.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.jetStream(t, "late").Consumer(t.Context(), streams.EventStream, streams.TeamConsumer("late")); err != nil {
		t.Errorf("a new reader cannot read: %v", err)
	}
	for end := time.Now().Add(patience); gone.IsConnected() && time.Now().Before(end); {
		_ = gone.FlushTimeout(time.Millisecond) // it fails once the connection is gone
	}
	user, err := streams.SeedOption(g.seeds["alpha"])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nats.Connect(g.url, user); gone.IsConnected() || !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("a user who was removed is connected (%v), or connected again: %v", gone.IsConnected(), err)
	}
	g.append(t, js, "a")
}

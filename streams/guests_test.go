package streams_test

import (
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

// guests are the users of a server, and how they reach it.
type guests struct {
	t     *testing.T
	url   string
	seeds map[string]string
	users map[string]streams.User

	// Of a nats-server of somebody's own, configured by a file that includes the accounts of the users.
	dir string
	ns  *server.Server
}

// onBothServers runs a test on a nats-server of somebody's own and on the embedded one: a role is the same in both. Users
// are written name, role, tenant, stage; the first one is an admin. There are the streams, and the readers' consumers.
func onBothServers(t *testing.T, who [][4]string, test func(g *guests)) {
	t.Helper()
	t.Run("Configured", func(t *testing.T) {
		t.Parallel()
		test(newGuests(t, who...))
	})
	t.Run("Embedded", func(t *testing.T) {
		t.Parallel()
		g, users := newUsers(t, who)
		g.url = start(t, streams.ServerConfig{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", Users: users, ChannelPrefix: "sse"}).URL()
		g.prepare(t, users)
		test(g)
	})
}

// newGuests starts a nats-server, as [onBothServers] does.
func newGuests(t *testing.T, who ...[4]string) *guests {
	t.Helper()
	g, users := newUsers(t, who)
	g.dir = t.TempDir()
	g.configure(t, users)
	g.ns = natstest.Configured(t, g.dir, "accounts {\n  include ./kondate-accounts.conf\n}\n")
	g.url = g.ns.ClientURL()
	g.prepare(t, users)
	return g
}

func newUsers(t *testing.T, who [][4]string) (*guests, []streams.User) {
	t.Helper()
	g := &guests{t: t, seeds: map[string]string{}, users: map[string]streams.User{}}
	var users []streams.User
	for _, w := range who {
		u, seed, err := streams.NewUser(w[0], streams.UserRole(w[1]), w[2], w[3], time.Now())
		if err != nil {
			t.Fatal(err)
		}
		g.seeds[u.Name], g.users[u.Name] = string(seed), u
		users = append(users, u)
	}
	return g, users
}

// prepare makes the streams and the readers' consumers.
func (g *guests) prepare(t *testing.T, users []streams.User) {
	t.Helper()
	js := g.jetStream(t, users[0].Name)
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
}

// configure writes what a nats-server includes.
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

// conn connects as a user. What the server has forbidden since denied was called last, denied returns.
func (g *guests) conn(t *testing.T, name string) (nc *nats.Conn, denied func() error) {
	t.Helper()
	user, err := streams.SeedOption(g.seeds[name])
	if err != nil {
		t.Fatal(err)
	}
	nc, err = nats.Connect(g.url, user, nats.Name(name), nats.CustomInboxPrefix("_INBOX."+name), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	var last error
	return nc, func() error {
		if err := nc.Flush(); err != nil { // the server forbids before it answers this, and the client has read both
			return err
		}
		before := last
		if last = nc.LastError(); last == before { //nolint:errorlint // the very same one: each refusal is a new error
			return nil
		}
		return last
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

// listen collects what a user hears on subjects.
func (g *guests) listen(t *testing.T, name string, subjects ...string) func() []*nats.Msg {
	t.Helper()
	nc, _ := g.conn(t, name)
	heard := make(chan *nats.Msg, 1<<12) // filled before a flush returns, unlike what a callback has seen
	for _, subject := range subjects {
		if _, err := nc.ChanSubscribe(subject, heard); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	var got []*nats.Msg
	return func() []*nats.Msg {
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		for {
			select {
			case msg := <-heard:
				got = append(got, msg)
			default:
				return got
			}
		}
	}
}

package streams_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
)

// The role server does what kondate's processes do (a whole menu runs with it in cmd/kondate), and no more.
func TestServerMayNot(t *testing.T) {
	t.Parallel()
	onBothServers(t, [][4]string{{"ops", "admin"}, {"kondate", "server"}}, serverMayNot)
}

func serverMayNot(g *guests) {
	t := g.t
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
	for _, subject := range []string{"$JS.API.STREAM.DELETE.MENU_EVENTS", "$JS.API.STREAM.PURGE.MENU_EVENTS", "$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.RESTORE.MENU_EVENTS", "$SYS.REQ.SERVER.PING", "other"} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		if err := denied(); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("the role server may publish on %s: %v", subject, err)
		}
	}
	for _, subject := range []string{">", "$SYS.>", "$JS.>", "menu.evt.>", "menu.retry.>", "menu.work.>"} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		if err := denied(); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("the role server may subscribe to %s: %v", subject, err)
		}
	}
}

// An admin does everything in the account of the menus, and sees nothing of a reader's account or of the system's.
func TestAdmin(t *testing.T) {
	t.Parallel()
	onBothServers(t, [][4]string{{"ops", "admin"}, {"alpha", "reader", "a"}}, adminMayNot)
}

func adminMayNot(g *guests) {
	t := g.t
	js := g.jetStream(t, "ops")
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other"}}); err != nil {
		t.Errorf("an admin cannot make a stream: %v", err)
	}
	if err := js.DeleteStream(t.Context(), "OTHER"); err != nil {
		t.Errorf("an admin cannot delete a stream: %v", err)
	}
	for _, subject := range []string{
		"$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.ACCOUNT.KONDATE-team-alpha.CONNZ", "$SYS.REQ.ACCOUNT.KONDATE-team-alpha.SUBSZ", "$SYS.REQ.CLAIMS.LIST",
	} {
		if msg, err := js.Conn().Request(subject, nil, patience); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("an admin is answered on %s: %+v, %v", subject, msg, err)
		}
	}
	heard := g.listen(t, "ops", ">")
	alpha, _ := g.conn(t, "alpha") // which the system's account is told
	if err := alpha.Publish("private", nil); err != nil {
		t.Fatal(err)
	}
	question := api + "CONSUMER.INFO.MENU_EVENTS.team-alpha" // comes into the account of the menus
	if _, err := alpha.Request(question, nil, patience); err != nil {
		t.Fatal(err)
	}
	asked := false
	for _, msg := range heard() {
		asked = asked || msg.Subject == question
		if msg.Subject == "private" || strings.HasPrefix(msg.Subject, "$SYS.") {
			t.Errorf("an admin hears %s: %s", msg.Subject, msg.Data)
		}
	}
	if !asked {
		t.Error("an admin does not hear what is asked in its own account: the check above sees nothing")
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

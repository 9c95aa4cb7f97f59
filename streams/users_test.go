package streams_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"kondate/streams"
)

func TestNewUser(t *testing.T) {
	t.Parallel()
	for _, u := range [][4]string{
		{"", "admin", "", ""},
		{"a.b", "admin", "", ""},
		{"a b", "admin", "", ""},
		{"*", "admin", "", ""},
		{`a"`, "admin", "", ""},
		{"a", "owner", "", ""},
		{"a", "", "", ""},
		{"a", "admin", "public", ""},
		{"a", "server", "", "allergen"},
		{"a", "reader", "", ""},
		{"a", "reader", ">", ""},
		{"a", "reader", "a.b", ""},
		{"a", "reader", "public", "allergen"},
		{"a", "worker", "public", ""},
		{"a", "worker", "public", "*"},
		{"a", "worker", "", "allergen"},
		{"a", "worker", "public", "cooking"},
	} {
		if _, _, err := streams.NewUser(u[0], streams.UserRole(u[1]), u[2], u[3], time.Now()); err == nil {
			t.Errorf("%q is a user", u)
		}
	}
}

func TestUsersConfigRefusesAPrefixThatIsNoToken(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"", "a.b", ">", `x"], publish: [">`} {
		if text, err := streams.UsersConfig(nil, prefix); err == nil {
			t.Errorf("prefix %q gave\n%s", prefix, text)
		}
	}
}

// Whatever is accepted gives accounts that a nats-server reads, with the users' keys and no other way in.
func FuzzParseUsers(f *testing.F) {
	var users []streams.User
	for _, w := range [][4]string{{"ops", "admin"}, {"k", "server"}, {"team", "reader", "a"}, {"all", "reader", "*"}, {"w", "worker", "*", "allergen"}} {
		u, _, err := streams.NewUser(w[0], streams.UserRole(w[1]), w[2], w[3], time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC))
		if err != nil {
			f.Fatal(err)
		}
		users = append(users, u)
	}
	raw, err := streams.FormatUsers(users)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(bytes.Replace(raw, []byte(`"team"`), []byte(`"ops"`), 1))
	f.Add(bytes.Replace(raw, []byte(`"role"`), []byte(`"rolle"`), 1))
	f.Add(append(bytes.Clone(raw), raw...))
	f.Add([]byte(`{"users":[{"name":"x\"}]","role":"admin","public_key":"U"}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		users, err := streams.ParseUsers(raw)
		if err != nil {
			return
		}
		text, err := streams.UsersConfig(users, "sse")
		if err != nil {
			t.Fatal(err)
		}
		var opts server.Options
		if err := opts.ProcessConfigString("accounts {\n" + text + "}\n"); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		keys := map[string]bool{}
		for _, u := range users {
			keys[u.PublicKey] = true
		}
		if len(opts.Nkeys) != len(users) || len(opts.Users) != 0 {
			t.Fatalf("%d keys and %d passwords for %d users", len(opts.Nkeys), len(opts.Users), len(users))
		}
		for _, k := range opts.Nkeys {
			if !keys[k.Nkey] {
				t.Fatalf("%s is nobody's", k.Nkey)
			}
		}
		again, err := streams.FormatUsers(users)
		if err != nil || !json.Valid(again) {
			t.Fatalf("%s, %v", again, err)
		}
		if back, err := streams.ParseUsers(again); err != nil || len(back) != len(users) {
			t.Fatalf("written and read again: %v, %v", back, err)
		}
	})
}

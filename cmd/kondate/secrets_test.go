package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/handlers/access"
	"kondate/handlers/stage"
)

// command runs a command as a user would, with variables.
func (g *guarded) command(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), environment{
		args: args, getenv: func(name string) string { return env[name] },
		stdin: strings.NewReader("かけそば 500円\n"), stdout: &out, stderr: &errs,
	})
	return code, out.String(), errs.String()
}

// Commands on the data dir have a key of their own; others bring one.
func TestCommandsUseKeys(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	dir := []string{"--data-dir", g.cfg.DataDir}
	// Beside the server, without a key: as the tenant public.
	code, out, errs := g.command(t, nil, append([]string{"submit", "-", "--follow", "--json"}, dir...)...)
	if code != exitOK || !strings.Contains(out, "menu.completed") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	var answer accepted
	if err := json.Unmarshal([]byte(strings.SplitN(out, "\n", 2)[0]), &answer); err != nil {
		t.Fatal(err)
	}
	if list := g.kondate(t, "failures", "list"); !strings.Contains(list, "Nothing is parked") {
		t.Errorf("public sees what another tenant has parked: %s", list)
	}
	if replayed := g.kondate(t, "events", "replay", "--session", answer.SessionID); !strings.Contains(replayed, `"tenant":"public"`) {
		t.Errorf("the session of a command beside the server: %.300s", replayed)
	}
	// From elsewhere, with one.
	remote := []string{"--url", g.running.HTTPURL}
	key := g.keys[ownerTenant][access.Admin]
	if code, out, errs := g.command(t, map[string]string{"KONDATE_KEY": key}, append([]string{"failures", "list"}, remote...)...); code != exitOK || !strings.Contains(out, "dish-1") {
		t.Errorf("with KONDATE_KEY: exit %d: %s%s", code, out, errs)
	}
	if code, out, errs := g.command(t, nil, append([]string{"watch", g.owner.SessionID, "--json", "--key", key}, remote...)...); code != exitOK || !strings.Contains(out, ownersMark) {
		t.Errorf("with --key: exit %d: %.300s%s", code, out, errs)
	}
	for name, args := range map[string][]string{"a server that is named gets no key of the data dir": nil, "another tenant's": {"--key", g.keys[rivalTenant][access.Admin]}} {
		code, out, errs := g.command(t, nil, append(append([]string{"watch", g.owner.SessionID}, args...), remote...)...)
		if code != exitFailed || strings.Contains(out, ownersMark) || !strings.Contains(errs, "the server answered 40") {
			t.Errorf("%s: exit %d: %.300s%s", name, code, out, errs)
		}
	}
	if code, _, errs := g.command(t, nil, append([]string{"submit", "-", "--key", g.keys[ownerTenant][access.Read]}, remote...)...); code != exitFailed || !strings.Contains(errs, "needs the role submit") {
		t.Errorf("with a key of read: exit %d: %s", code, errs)
	}
}

func TestKeysCommands(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	dir := []string{"--data-dir", g.cfg.DataDir}
	var created struct {
		ID, Key, Tenant, Role, Last4 string
		Expires                      string `json:"expires_at"`
	}
	out := g.kondate(t, "keys", "create", "--name", "until tomorrow", "--tenant", "izakaya", "--role", "read", "--expires", "24h", "--json")
	if err := json.Unmarshal([]byte(out), &created); err != nil || !strings.HasSuffix(created.Key, created.Last4) || created.Expires == "" {
		t.Fatalf("%s, %v", out, err)
	}
	target := "/v1/sessions/" + g.owner.SessionID
	if status, _, body := g.ask(t, http.MethodGet, target, created.Key, ""); status != http.StatusOK {
		t.Errorf("the new key: %d %s", status, body)
	}
	for _, args := range [][]string{{"keys", "list"}, {"keys", "list", "--json"}, {"access"}, {"access", "--json"}} {
		out := g.kondate(t, args...)
		for _, want := range []string{created.ID, "until tomorrow", "izakaya", "read", created.Last4, "valid"} {
			if !strings.Contains(out, want) {
				t.Errorf("%v does not say %q:\n%s", args, want, out)
			}
		}
		if strings.Contains(out, created.Key[:20]) {
			t.Errorf("%v shows the key", args)
		}
	}
	if out := g.kondate(t, "access"); !strings.Contains(out, "Mode keys (of the server at "+g.running.HTTPURL) {
		t.Error(out)
	}
	if out := g.kondate(t, "keys", "revoke", created.ID); !strings.Contains(out, "is revoked") {
		t.Error(out)
	}
	if status, _, _ := g.ask(t, http.MethodGet, target, created.Key, ""); status != http.StatusUnauthorized {
		t.Errorf("the revoked key: %d", status)
	}
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"NoSuchKey":  {[]string{"keys", "revoke", "00000000"}, exitFailed, "kondate keys list"},
		"NoSuchRole": {[]string{"keys", "create", "--name", "x", "--role", "root"}, exitUsage, "read, submit or admin"},
		"BadTenant":  {[]string{"keys", "create", "--name", "x", "--role", "read", "--tenant", "a.b"}, exitUsage, "--tenant"},
		"NoName":     {[]string{"keys", "create", "--role", "read"}, exitUsage, "--name"},
		"EmptyName":  {[]string{"keys", "create", "--name", "", "--role", "read"}, exitUsage, "name is not"},
		"Past":       {[]string{"keys", "create", "--name", "x", "--role", "read", "--expires=-1h"}, exitUsage, "past"},
		"Help":       {[]string{"keys", "create", "--help"}, exitOK, "Example: kondate keys create"},
	} {
		if code, out, errs := g.command(t, nil, append(test.args, dir...)...); code != test.code || !strings.Contains(out+errs, test.want) {
			t.Errorf("%s: exit %d: %s%s", name, code, out, errs)
		}
	}
}

// Secrets are where they belong and nowhere else: not in the log, also not at its most talkative, not in answers that
// refuse, not in the metrics, not in messages of commands, not in the files but for their owner's.
func TestSecretsStayAtHome(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	secrets := []string{tokenSecret, g.owner.token, g.rival.token, g.running.Key[4:]}
	for _, of := range g.keys {
		for _, key := range of {
			secrets = append(secrets, key[4:])
		}
	}
	clean := func(what, text string) {
		t.Helper()
		for _, secret := range secrets {
			if strings.Contains(text, secret) || strings.Contains(text, secret[:len(secret)/2]) {
				t.Errorf("%s holds a secret: %.400s", what, text)
			}
		}
	}
	key := g.keys[ownerTenant][access.Admin]
	_, _, metrics := g.ask(t, http.MethodGet, "/metrics", key, "")
	clean("the metrics", metrics)
	for _, target := range []string{"/v1/events", "/v1/sessions/a.b/events", "/v1/nothing", "/v1/sessions/" + g.rival.SessionID} {
		_, _, body := g.ask(t, http.MethodGet, target+"?last_event_id=!&from=nowhere&token="+g.owner.token, "", "")
		clean("the answer of "+target, body)
		_, _, body = g.ask(t, http.MethodGet, target+"?session=.&token="+g.owner.token, key, "")
		clean("the answer of "+target+" with a key", body)
	}
	for _, request := range []string{
		"GET /v1/sessions/x/events?token=%s HTTP/1.1\r\nbroken\r\n\r\n",
		"GET /v1/sessions/x/events?token=%s HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 8<<10) + "\r\n\r\n",
		"GET %s\r\n\r\n",
	} {
		clean("the answer to a broken request", g.raw(t, fmt.Sprintf(request, g.owner.token)))
	}
	_, _, errs := g.command(t, nil, "watch", g.owner.SessionID, "--url", "http://127.0.0.1:1", "--key", key, "--sse-reconnect-interval", "1ms")
	clean("the message of a command", errs)
	f := &follower{client: &client{base: "http://127.0.0.1:1", http: &http.Client{}}, url: g.owner.StreamURL, out: t.Logf}
	if _, err := f.read(t.Context(), func(frame) error { return nil }); err == nil {
		t.Error("nobody listens there")
	} else {
		clean("the error of a stream that is read with its token", err.Error())
	}
	// A broken file of keys is told about, not quoted.
	path := keysPath(g.cfg.Auth, g.cfg.DataDir)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clean("the file of keys", string(good))
	for _, broken := range []string{`{"keys":["` + key + `"]}`, `{"` + key + `":"admin"}`, key} {
		if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, _, _ := g.ask(t, http.MethodGet, "/v1/failures", key, ""); status != http.StatusOK {
			t.Errorf("with a broken file of keys: %d", status)
		}
		_, out, errs := g.command(t, nil, "keys", "list", "--data-dir", g.cfg.DataDir)
		clean("what a command says of a broken file of keys", out+errs)
	}
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
	if logged := g.logged.String(); !strings.Contains(logged, "the API keys stay as they were") || !strings.Contains(logged, "stream ended") {
		t.Errorf("the log is not what was meant to be searched: %.400s", logged)
	} else {
		clean("the log", logged)
	}
}

// raw sends bytes and returns what comes back.
func (g *guarded) raw(t *testing.T, request string) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.running.HTTPURL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the answer is what counts
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // the server may have answered and left before
	}
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) == 0 {
		t.Logf("no answer: %v", err)
	}
	return string(answer)
}

// The limit per address counts clients and not the proxy before them, and nobody gets around it by lying in a header.
func TestAddressesBehindAProxy(t *testing.T) {
	t.Parallel()
	s := startSystem(t, everywhere(always{func(ctx context.Context, _ stage.Request) (menu.Result, error) {
		<-ctx.Done() // the session stays open, and its streams with it
		return menu.Result{}, ctx.Err()
	}}), "--auth-trusted-proxies", "127.0.0.1", "--sse-max-connections-per-address", "1")
	answer, err := s.client().submit(t.Context(), body(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, test := range []struct {
		forwarded string
		status    int
	}{
		{"203.0.113.1", http.StatusOK},
		{"203.0.113.2", http.StatusOK},
		{"203.0.113.1", http.StatusTooManyRequests},
		{"198.51.100.7, 203.0.113.1", http.StatusTooManyRequests},
	} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.running.HTTPURL+answer.StreamURL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", test.forwarded)
		resp, err := s.client().http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close() //nolint:errcheck,gocritic // the streams stay open until the end of the test
		if resp.StatusCode != test.status {
			t.Errorf("from %s: %d, want %d", test.forwarded, resp.StatusCode, test.status)
		}
	}
}

// A server that makes the secret of its tokens keeps it, so that addresses are good after a restart; two servers with
// the same secret and file of keys take each other's.
func TestTokensOutliveTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func(auth AuthConfig) door {
		t.Helper()
		auth.Mode, auth.TokenTTL = authKeys, time.Hour
		d, err := (&app{cfg: Config{Storage: Storage{DataDir: dir}, Auth: auth}, log: slog.New(slog.DiscardHandler)}).openDoor()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	key := menu.Key{Tenant: "acme", Session: "s1"}
	before := open(AuthConfig{}).streamToken(key)
	raw, err := os.ReadFile(dir + "/token_secret")
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := access.NewTokens(bytes.TrimSpace(raw), time.Hour, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{before, open(AuthConfig{}).streamToken(key)} {
		if got, err := tokens.Verify(token); err != nil || got != key {
			t.Errorf("%v, %v", got, err)
		}
	}
	if _, err := tokens.Verify(open(AuthConfig{TokenSecret: tokenSecret}).streamToken(key)); err == nil {
		t.Error("the secret of the settings was not used")
	}
	if first, second := open(AuthConfig{}).localKey, open(AuthConfig{}).localKey; first == second || first == "" {
		t.Error("the key of the commands beside the server does not end with it")
	}
}

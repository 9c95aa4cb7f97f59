package access_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/handlers/access"
	"kondate/streams/natstest"
)

func newKey(tb testing.TB) (access.Key, string) {
	tb.Helper()
	key, secret, err := access.NewKey("till 3", "acme", access.Submit, start, time.Time{})
	if err != nil {
		tb.Fatal(err)
	}
	return key, secret
}

// Keys that several commands add and revoke at the same time are all there, in a file that only its owner reads.
func TestFileTakesManyWriters(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	var writers sync.WaitGroup
	for range 20 {
		writers.Go(func() {
			key, _, err := access.NewKey("many", "acme", access.Read, start, time.Time{})
			if err == nil {
				err = access.AddKey(t.Context(), path, key)
			}
			if err == nil {
				_, err = access.RevokeKey(t.Context(), path, key.ID, start)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	keys, err := access.ReadKeys(path)
	if err != nil || len(keys) != 20 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for _, k := range keys {
		if k.State(start) != "revoked" {
			t.Errorf("key %s is %s", k.ID, k.State(start))
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("what is left beside it: %v, %v", files, err)
	}
	if _, err := access.RevokeKey(t.Context(), path, "nope", start); !errors.Is(err, access.ErrNoKey) {
		t.Errorf("revoking nothing: %v", err)
	}
}

// A change counts at the next request. A broken file, or one that others may write, leaves the keys as they were and
// says so, once.
func TestKeysFollowTheirFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	logged := &natstest.LogBuffer{}
	own, ownSecret := newKey(t)
	keys, err := access.OpenKeys(path, slog.New(slog.NewTextHandler(logged, nil)), own)
	if err != nil {
		t.Fatal(err)
	}
	key, secret := newKey(t)
	found := func() bool { _, ok := keys.Find(secret, start); return ok }
	if found() {
		t.Fatal("found before it was added")
	}
	if err := access.AddKey(t.Context(), path, key); err != nil {
		t.Fatal(err)
	}
	if !found() {
		t.Fatal("not found after it was added")
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(content string, mode os.FileMode) {
		t.Helper()
		next := path + ".next"
		if err := errors.Join(os.WriteFile(next, []byte(content), mode), os.Chmod(next, mode), os.Rename(next, path)); err != nil {
			t.Fatal(err)
		}
	}
	complaints := func() int { return strings.Count(logged.String(), "the API keys stay as they were") }
	for i, broken := range []string{"", "{", `{"keys":[{}]}`, `{"keys":[]} {}`, `{"keys":[],"more":1}`} {
		write(broken, 0o600)
		for range 2 {
			if !found() || complaints() != i+1 {
				t.Fatalf("after %q: %d complaints, want %d, or the key is gone:\n%s", broken, complaints(), i+1, logged)
			}
		}
	}
	write(`{"keys":[]}`, 0o666)
	if !found() || !strings.Contains(logged.String(), "chmod 600") {
		t.Errorf("others may write the file, and it counts:\n%s", logged)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if found() {
		t.Error("the mended file does not count")
	}
	write(string(good), 0o600)
	if !found() {
		t.Error("the old file, put back, does not count")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if !found() || !strings.Contains(logged.String(), "is gone") {
		t.Errorf("without its file:\n%s", logged)
	}
	if who, ok := keys.Find(ownSecret, start); !ok || who.KeyID != own.ID {
		t.Errorf("the server's own key: %+v %v", who, ok)
	}
	if strings.Contains(logged.String(), secret[4:]) {
		t.Error("the log holds a key")
	}
	write("{", 0o600)
	if _, err := access.OpenKeys(path, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a broken file at the start: %v", err)
	}
}

func TestParseKeysRefuses(t *testing.T) {
	t.Parallel()
	key, _ := newKey(t)
	for want, change := range map[string]func(map[string]any){
		"id is empty":        func(k map[string]any) { k["id"] = "" },
		"printable":          func(k map[string]any) { k["name"] = "a\x1b[2J" },
		"tenant":             func(k map[string]any) { k["tenant"] = "a.b" },
		"role \"root\"":      func(k map[string]any) { k["role"] = "root" },
		"hash is no SHA-256": func(k map[string]any) { k["hash"] = "abcd" },
		"created_at":         func(k map[string]any) { delete(k, "created_at") },
		"expire_at":          func(k map[string]any) { k["expire_at"] = start },
	} {
		raw, err := json.Marshal(key)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(raw, &fields); err != nil {
			t.Fatal(err)
		}
		if raw, err = json.Marshal(map[string]any{"keys": []any{fields}}); err != nil {
			t.Fatal(err)
		}
		if keys, err := access.ParseKeys(raw); err != nil || len(keys) != 1 || keys[0] != key {
			t.Fatalf("the good file: %+v, %v", keys, err)
		}
		change(fields)
		if raw, err = json.Marshal(map[string]any{"keys": []any{fields}}); err != nil {
			t.Fatal(err)
		}
		if _, err := access.ParseKeys(raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("err = %v, want one that says %q", err, want)
		}
	}
	twice, err := json.Marshal(map[string]any{"keys": []access.Key{key, key}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := access.ParseKeys(twice); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("the same key twice: %v", err)
	}
}

// All processes that begin at the same time get the same secret, in a file that only its owner reads.
func TestLoadSecretOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token_secret")
	secrets := make([][]byte, 20)
	var loaders sync.WaitGroup
	for i := range secrets {
		loaders.Go(func() {
			var err error
			if secrets[i], err = access.LoadSecret(path); err != nil {
				t.Error(err)
			}
		})
	}
	loaders.Wait()
	for _, s := range secrets {
		if !bytes.Equal(s, secrets[0]) || len(s) < access.MinSecret {
			t.Fatalf("the secrets are %q", secrets)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := access.LoadSecret(path); err == nil || strings.Contains(err.Error(), string(secrets[0])) {
		t.Errorf("a secret that others may read: %v", err)
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("short\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := access.LoadSecret(path); err == nil {
		t.Error("a short secret was taken")
	}
}

func newTokens(tb testing.TB) *access.Tokens {
	tb.Helper()
	tokens, err := access.NewTokens(bytes.Repeat([]byte("k"), access.MinSecret), time.Hour, func() time.Time { return start })
	if err != nil {
		tb.Fatal(err)
	}
	return tokens
}

// No other text than the token itself is taken for it.
func TestTokensCannotBeChanged(t *testing.T) {
	t.Parallel()
	tokens := newTokens(t)
	key := menu.Key{Tenant: "acme", Session: "0199c0de-7a3b-7c11-9d0e-1a7c3b9e4d21"}
	token := tokens.Sign(key)
	if got, err := tokens.Verify(token); err != nil || got != key {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range token {
		for _, c := range []byte("A0_.") {
			changed := token[:i] + string(c) + token[i+1:]
			if changed == token {
				continue
			}
			if got, err := tokens.Verify(changed); !errors.Is(err, access.ErrToken) {
				t.Fatalf("%s: %v, %v", changed, got, err)
			}
		}
		if _, err := tokens.Verify(token[:i]); !errors.Is(err, access.ErrToken) {
			t.Fatalf("%s was taken", token[:i])
		}
	}
	if _, err := access.NewTokens([]byte("short"), time.Hour, time.Now); err == nil {
		t.Error("a short secret was taken")
	}
}

func FuzzVerify(f *testing.F) {
	tokens := newTokens(f)
	good := tokens.Sign(menu.Key{Tenant: "acme", Session: "s1"})
	f.Add(good)
	f.Add("kst_e30.AAAA")
	f.Add(good[:len(good)-4] + "\r\n" + good[len(good)-4:])
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := tokens.Verify(text); err == nil && text != good {
			t.Errorf("%q opens %s", text, key)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	key, _ := newKey(f)
	raw, err := json.Marshal(map[string]any{"keys": []access.Key{key}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"keys":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys, err := access.ParseKeys(raw)
		if err != nil {
			return
		}
		for _, k := range keys {
			if _, err := menu.ParseTenant(string(k.Tenant)); err != nil || !k.Role.Includes(access.Read) || k.ID == "" {
				t.Errorf("took %+v", k)
			}
		}
	})
}

package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/gofiber/fiber/v2"

	"kondate/domain/menu"
	"kondate/handlers/access"
)

// Modes of auth.mode.
const (
	authNone = "none"
	authKeys = "keys"
)

// keysPath is the file of API keys.
func keysPath(auth AuthConfig, dataDir string) string {
	if auth.KeysFile != "" {
		return auth.KeysFile
	}
	return filepath.Join(dataDir, "keys.json")
}

// door is how requests come in: who they are from, and whether they may.
type door struct {
	middleware  []fiber.Handler // before all routes
	tenant      func(*fiber.Ctx) menu.Tenant
	onlySession func(*fiber.Ctx) menu.SessionID
	streamToken func(menu.Key) string
	localKey    string // admits the commands beside this process; it ends with it
	proxies     []string
}

// openDoor reads the keys and the secret of the tokens, if the mode wants them.
func (a *app) openDoor() (door, error) {
	d := door{tenant: func(*fiber.Ctx) menu.Tenant { return menu.DefaultTenant }}
	proxies, err := access.ParseProxies(a.cfg.Auth.TrustedProxies)
	if err != nil {
		return d, fmt.Errorf("auth.trusted_proxies: %w", err)
	}
	if len(proxies) > 0 {
		d.middleware = append(d.middleware, access.Forwarded(proxies))
		for _, p := range proxies {
			d.proxies = append(d.proxies, p.String())
		}
	}
	if a.cfg.Auth.Mode == authNone {
		return d, nil
	}
	local, secret, err := access.NewKey("commands beside this server", menu.DefaultTenant, access.Admin, time.Now(), time.Time{})
	if err != nil {
		return d, err
	}
	keys, err := access.OpenKeys(keysPath(a.cfg.Auth, a.cfg.DataDir), a.log, local)
	if err != nil {
		return d, err
	}
	signed := []byte(a.cfg.Auth.TokenSecret)
	if len(signed) == 0 {
		if signed, err = access.LoadSecret(a.dir("token_secret")); err != nil {
			return d, err
		}
	}
	tokens, err := access.NewTokens(signed, a.cfg.Auth.TokenTTL, time.Now)
	if err != nil {
		return d, err
	}
	d.middleware = append(d.middleware, access.NewGuard(keys, tokens, time.Now).Check)
	d.tenant, d.onlySession, d.streamToken, d.localKey = access.Tenant, access.OnlySession, tokens.Sign, secret
	return d, nil
}

// use puts what every request passes before its route.
func (d door) use(web *fiber.App) {
	for _, step := range d.middleware {
		web.Use(step)
	}
}

// webConfig adds what Fiber has to know of proxies. Without any, it believes no header about where a request comes from.
func (d door) webConfig(cfg fiber.Config) fiber.Config {
	cfg.EnableTrustedProxyCheck, cfg.TrustedProxies = true, d.proxies
	if len(d.proxies) > 0 {
		cfg.ProxyHeader, cfg.EnableIPValidation = fiber.HeaderXForwardedFor, true
	}
	return cfg
}

// validate refuses settings that leave a door open, or that would do nothing. It repeats no secret.
func (c AuthConfig) validate(addr string) error {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("http.addr %q is no host:port: %w", addr, err)
	}
	if _, err := access.ParseProxies(c.TrustedProxies); err != nil {
		return fmt.Errorf("auth.trusted_proxies: %w", err)
	}
	if c.TokenTTL < time.Second {
		return fmt.Errorf("auth.token_ttl is %s, it must be 1s at least", c.TokenTTL)
	}
	switch c.Mode {
	case authKeys:
		if n := len(c.TokenSecret); n > 0 && n < access.MinSecret {
			return fmt.Errorf("auth.token_secret has %d bytes, it needs at least %d: take the output of openssl rand -hex 32", n, access.MinSecret)
		}
		return nil
	case authNone:
		if c.KeysFile != "" || c.TokenSecret != "" {
			return errors.New("auth.keys_file and auth.token_secret do nothing while auth.mode is none: set auth.mode to keys, or leave them empty")
		}
		if !loopback(addr) {
			return fmt.Errorf("http.addr %q can be reached from other machines and auth.mode is none: set auth.mode to keys, or bind to 127.0.0.1", addr)
		}
		return nil
	}
	return fmt.Errorf("auth.mode %q does not exist: use none or keys", c.Mode)
}

// loopback says whether only this machine reaches an address.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || (ip != nil && ip.IsLoopback()))
}

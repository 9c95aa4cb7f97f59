package access_test

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/gofiber/fiber/v2"

	"kondate/handlers/access"
)

// What a client writes into X-Forwarded-For moves nobody's address: only what a proxy of ours has seen counts.
func TestForwarded(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		proxies []string
		header  []string
		want    string
	}{
		"NoProxies":        {nil, []string{"203.0.113.9"}, "127.0.0.1"},
		"OtherProxies":     {[]string{"10.0.0.0/8"}, []string{"203.0.113.9"}, "127.0.0.1"},
		"OneProxy":         {[]string{"127.0.0.1"}, []string{"203.0.113.9"}, "203.0.113.9"},
		"ClientLies":       {[]string{"127.0.0.1"}, []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		"ClientLiesTwice":  {[]string{"127.0.0.1"}, []string{"198.51.100.1", "203.0.113.9"}, "203.0.113.9"},
		"TwoProxies":       {[]string{"127.0.0.0/8", "10.0.0.0/8"}, []string{"198.51.100.1, 203.0.113.9, 10.1.2.3"}, "203.0.113.9"},
		"OnlyProxies":      {[]string{"127.0.0.0/8", "10.0.0.0/8"}, []string{"10.9.9.9, 10.1.2.3"}, "10.9.9.9"},
		"BehindNonsense":   {[]string{"127.0.0.0/8", "10.0.0.0/8"}, []string{"198.51.100.1, unknown, 10.1.2.3"}, "10.1.2.3"},
		"Nonsense":         {[]string{"127.0.0.1"}, []string{"<script>"}, "127.0.0.1"},
		"Missing":          {[]string{"127.0.0.1"}, nil, "127.0.0.1"},
		"WithPort":         {[]string{"127.0.0.1"}, []string{"203.0.113.9:4711"}, "203.0.113.9"},
		"IPv6":             {[]string{"127.0.0.1"}, []string{"2001:db8::7"}, "2001:db8::7"},
		"IPv4InIPv6":       {[]string{"::ffff:127.0.0.1"}, []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		"IPv6WithPortZone": {[]string{"127.0.0.1"}, []string{"[fe80::1%eth0]:80"}, "fe80::1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxies, err := access.ParseProxies(test.proxies)
			if err != nil {
				t.Fatal(err)
			}
			cfg := fiber.Config{DisableStartupMessage: true, EnableTrustedProxyCheck: true, EnableIPValidation: true, ProxyHeader: fiber.HeaderXForwardedFor}
			for _, p := range proxies {
				cfg.TrustedProxies = append(cfg.TrustedProxies, p.String())
			}
			app := fiber.New(cfg)
			app.Use(access.Forwarded(proxies))
			app.Get("/", func(c *fiber.Ctx) error { return c.SendString(c.IP()) })
			if got := askOverTCP(t, app, test.header); got != test.want {
				t.Errorf("the address is %q, want %q", got, test.want)
			}
		})
	}
	for _, wrong := range []string{"", "proxy", "10.0.0.0/33", "10.0.0.1:80"} {
		if _, err := access.ParseProxies([]string{wrong}); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}

// askOverTCP serves one request on a real connection, from 127.0.0.1.
func askOverTCP(t *testing.T, app *fiber.App, forwarded []string) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- app.Listener(listener) }()
	defer func() {
		if err := app.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["X-Forwarded-For"] = forwarded
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

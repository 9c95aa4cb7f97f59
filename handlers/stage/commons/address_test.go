package commons_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"kondate/domain/menu"
	"kondate/handlers/stage/commons"
)

// A redirect leads nowhere but to the same host.
func TestRedirects(t *testing.T) {
	t.Parallel()
	other := serve(t, answers(t, "wikimedia"))
	for name, test := range map[string]struct {
		to   string
		text string // "": it is followed
	}{
		"Other":    {other.URL + "/w/api.php", "only 127.0.0.1:"},
		"Metadata": {"http://169.254.169.254/latest/meta-data/", "leads to http://169.254.169.254"},
		"Outside":  {"https://example.org/", "leads to https://example.org"},
		"Scheme":   {"file:///etc/passwd", "leads to file://"},
		"Within":   {"/elsewhere", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _, _ := between(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					answers(t, "wikimedia")(w, r)
					return
				}
				w.Header().Set("Location", test.to)
				w.WriteHeader(http.StatusFound)
			}), status(http.StatusInternalServerError, "", ""))
			result, err := p.Answer(t.Context(), request(karaage))
			if test.text == "" {
				if err != nil || result.Status != menu.StatusOK {
					t.Errorf("status %s, err = %v", result.Status, err)
				}
				return
			}
			if e := failure(err); e == nil || !e.Away || !strings.Contains(err.Error(), test.text) {
				t.Errorf("err = %v, want %q", err, test.text)
			}
		})
	}
	t.Cleanup(func() {
		if n := len(other.asked("")); n != 0 {
			t.Errorf("the other host got %d requests", n)
		}
	})
}

// A name that leads into the operator's own network is not followed, whoever says so: nothing is sent.
func TestNoConnectionIntoTheOwnNetwork(t *testing.T) {
	t.Parallel()
	for _, host := range []string{
		"10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1",
		"[::]", "[fe80::1]", "[fd00::1]", "[ff02::1]", "[::ffff:10.0.0.1]", "[::ffff:127.0.0.1]", "[64:ff9b::a00:1]", "[2002:a00:1::1]", "[fec0::1]",
	} {
		address := "https://" + host + "/"
		wiki := address
		if host == "[::ffff:127.0.0.1]" {
			wiki = "https://10.1.2.3/" // that one is this machine, which may be configured
		}
		p := provider(t, commons.Config{CommonsURL: wiki, OpenverseURL: wiki})
		_, err := p.Answer(t.Context(), request(karaage))
		if e := failure(err); e == nil || !e.Away || strings.Count(err.Error(), "it is no address of the public internet") != 2 {
			t.Errorf("%s: err = %v", host, err)
		}
	}
}

// A host that is configured on this machine reaches this machine alone.
func TestAddressGuard(t *testing.T) {
	t.Parallel()
	for address, want := range map[string][2]bool{ // on this machine, outside
		"127.0.0.1:80": {true, false}, "[::1]:443": {true, false}, "[::ffff:127.0.0.1]:80": {true, false}, "10.0.0.1:80": {false, false}, "169.254.169.254:80": {false, false},
		"[fe80::1%eth0]:443": {false, false}, "198.35.26.96:443": {false, true}, "[2620:0:863:ed1a::1]:443": {false, true}, "[::ffff:198.35.26.96]:443": {false, true}, "x:80": {false, false},
	} {
		local, outside := commons.GuardAddress(true, address), commons.GuardAddress(false, address)
		if (local == nil) != want[0] || (outside == nil) != want[1] {
			t.Errorf("%s: %v, %v", address, local, outside)
		}
	}
}

// Addresses that a reader must not be sent to are left out, with their pictures.
func TestAddressesOfPictures(t *testing.T) {
	t.Parallel()
	p, _, _ := between(t, answers(t, "wikimedia_addresses"), answers(t, "openverse_none"))
	_, data := ask(t.Context(), t, p, request(karaage))
	if got := addresses(data); !slices.Equal(got, []string{upload + "Good.jpg"}) || data.Images[0].ThumbnailURL != nil {
		t.Errorf("images %+v", data.Images)
	}
}

func TestPublicURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://upload.wikimedia.org/a/%E5%94%90.jpg":     "https://upload.wikimedia.org/a/%E5%94%90.jpg",
		"https://upload.wikimedia.org/唐揚げ.jpg":             "https://upload.wikimedia.org/%E5%94%90%E6%8F%9A%E3%81%92.jpg",
		"HTTPS://Live.StaticFlickr.com/1.jpg?a=1":          "https://live.staticflickr.com/1.jpg?a=1",
		"https://xn--q9jyb4c.xn--p1ai/":                    "https://xn--q9jyb4c.xn--p1ai/",
		"":                                                 "",
		"//upload.wikimedia.org/a.jpg":                     "",
		"/a.jpg":                                           "",
		"https:upload.wikimedia.org/a.jpg":                 "",
		"http://upload.wikimedia.org/a.jpg":                "",
		"javascript:alert(1)":                              "",
		"data:text/html,x":                                 "",
		"https://user@upload.wikimedia.org/":               "",
		"https://upload.wikimedia.org:443/":                "",
		"https://upload.wikimedia.org:/":                   "",
		"https://upload.wikimedia.org./":                   "",
		"https://127.0.0.1/":                               "",
		"https://127.1/":                                   "",
		"https://1.2.3.0x4/":                               "",
		"https://[::1]/":                                   "",
		"https://[2001:db8::1%25eth0]/":                    "",
		"https://localhost/":                               "",
		"https://printer.local/":                           "",
		"https://metadata.google.internal/":                "",
		"https://\uff11\uff12\uff17.0.0.1/":                "",
		"https://exa mple.org/":                            "",
		"https://a..b.org/":                                "",
		"https://example.org/?x=\"><script>":               "",
		"https://example.org/?x=写真":                        "",
		"https://example.org/\x00":                         "",
		"https://example.org/\u202e":                       "https://example.org/%E2%80%AE",
		"https://example.org\\@evil.com/":                  "",
		"https://example.org/" + strings.Repeat("a", 2048): "",
	} {
		if got := commons.PublicURL(raw); got != want {
			t.Errorf("%q gives %q, want %q", raw, got, want)
		}
	}
}

func TestPlainText(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		" a\tb\n\nc\u00a0d ":            "a b c d",
		"a\x00b\x1b[31mc\u202ed\ufeffe": "ab[31mcde",
		"bad \xff\xfe bytes":            "bad bytes",
		"a\u2028b":                      "a b",
		"क्\u200dष":                     "क्\u200dष",
		strings.Repeat("唐", 50):         strings.Repeat("唐", 19) + "…",
	} {
		if got := commons.Plain(raw, 20); got != want {
			t.Errorf("%q gives %q, want %q", raw, got, want)
		}
	}
	for raw, want := range map[string]string{
		`<a href="javascript:alert(1)" onclick="x">Mina</a>`:          "Mina",
		`Mina<script>alert(1)</script><style>b{}</style> &amp; Co.`:   "Mina & Co.",
		`<p>One</p><p>Two<br>Three</p><!-- no -->`:                    "One Two Three",
		`<span style="Display : None">x</span><i hidden>y</i>z`:       "z",
		`&lt;b&gt;not a tag&lt;/b&gt;`:                                "<b>not a tag</b>",
		`<b`:                                                          "",
		`unclosed <b>bold`:                                            "unclosed bold",
		strings.Repeat("<div>", 1000) + "deep":                        "",
		strings.Repeat(`<i title="`+url.QueryEscape("x")+`"></i>`, 9): "",
	} {
		if got := commons.PlainHTML(raw, 100); got != want {
			t.Errorf("%q gives %q, want %q", raw, got, want)
		}
	}
}

func TestLicences(t *testing.T) {
	t.Parallel()
	const cc = "https://creativecommons.org"
	for _, test := range []struct{ name, given, want, deed string }{
		{"CC BY-SA 4.0", cc + "/licenses/by-sa/4.0", "CC BY-SA 4.0", cc + "/licenses/by-sa/4.0/"},
		{"CC BY 2.0", "", "CC BY 2.0", cc + "/licenses/by/2.0/"},
		{"CC-BY-SA-3.0", "http://www.creativecommons.org/licenses/by-sa/3.0/deed.de", "CC BY-SA 3.0", cc + "/licenses/by-sa/3.0/"},
		{"CC BY 2.1 jp", "", "CC BY 2.1 jp", cc + "/licenses/by/2.1/jp/"},
		{"CC0", "http://creativecommons.org/publicdomain/zero/1.0/deed.en", "CC0 1.0", cc + "/publicdomain/zero/1.0/"},
		{"Public domain", "", "Public domain", ""},
		{"Public domain", cc + "/publicdomain/mark/1.0/", "Public domain", ""},
		{"CC BY-SA 4.0", cc + "/licenses/by-nc-sa/4.0", "", ""},
		{"CC BY 4.0", cc + "/licenses/by-sa/4.0", "", ""},
		{"CC0", cc + "/licenses/by/4.0", "", ""},
		{"CC BY-NC 4.0", "", "", ""},
		{"CC BY-SA-NC 4.0", "", "", ""},
		{"CC BY", "", "", ""},
		{"CC BY 4.0 or later", "", "", ""},
		{"Attribution", "", "", ""},
		{"", "", "", ""},
	} {
		if name, deed := commons.Licence(test.name, test.given); name != test.want || deed != test.deed {
			t.Errorf("%q with %q is %q, %q", test.name, test.given, name, deed)
		}
	}
}

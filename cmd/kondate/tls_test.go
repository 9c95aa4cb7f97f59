package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
	"kondate/streams/natstest"
)

// authority signs certificates of tests.
type authority struct {
	dir  string
	file string // its own certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.file, _ = a.issue(t, "ca", time.Hour)
	return a
}

// issue makes a certificate for this machine, valid for a time, and returns its files. The first one is the authority's own.
func (a *authority) issue(t *testing.T, name string, valid time.Duration) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true,
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		template.IsCA, template.KeyUsage, template.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert == nil {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		a.key = key
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// The HTTP server speaks TLS alone, and takes a renewed certificate while it runs; a broken one changes nothing.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	cert, key := ca.issue(t, "http", time.Hour)
	s := startSystem(t, nil, "--http-tls-cert", cert, "--http-tls-key", key)
	url := s.running.HTTPURL
	if !strings.HasPrefix(url, "https://") {
		t.Fatalf("it serves %s", url)
	}
	menuFile := filepath.Join(t.TempDir(), "menu.txt")
	if err := os.WriteFile(menuFile, []byte("親子丼 850円\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kondateIn(t, s.cfg.DataDir, exitOK, "submit", menuFile, "--follow") // beside the server: the very certificate counts
	kondateIn(t, t.TempDir(), exitOK, "submit", menuFile, "--follow", "--url", url, "--http-tls-ca", ca.file)
	for _, wrong := range [][]string{{"--url", url}, {"--url", url, "--http-tls-ca", other.file}} {
		if _, stderr := kondateIn(t, t.TempDir(), exitFailed, append([]string{"submit", menuFile}, wrong...)...); !strings.Contains(stderr, "--http-tls-ca") {
			t.Errorf("%v: %s", wrong, stderr)
		}
	}
	if _, stderr := kondateIn(t, t.TempDir(), exitFailed, "submit", menuFile, "--url", strings.Replace(url, "https", "http", 1)); !strings.Contains(stderr, "no answer") {
		t.Errorf("without TLS: %s", stderr)
	}
	address := strings.TrimPrefix(url, "https://")
	shown := func(version uint16) (serial string, err error) {
		pool := x509.NewCertPool()
		pool.AddCert(ca.cert)
		conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool, MaxVersion: version}}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			return "", err
		}
		defer conn.Close() //nolint:errcheck // it was only looked at
		secured, ok := conn.(*tls.Conn)
		if !ok {
			t.Fatalf("%T", conn)
		}
		return secured.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
	}
	if _, err := shown(tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 is taken")
	}
	before, err := shown(tls.VersionTLS13)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cert, []byte("half a certif"), 0o600); err != nil {
		t.Fatal(err)
	}
	if now, err := shown(tls.VersionTLS13); err != nil || now != before {
		t.Errorf("a broken file changed the certificate: %v", err)
	}
	ca.issue(t, "http", 2*time.Hour)
	if now, err := shown(tls.VersionTLS13); err != nil || now == before {
		t.Errorf("the certificate was not renewed: %v", err)
	}
	kondateIn(t, s.cfg.DataDir, exitOK, "submit", menuFile)
}

// A NATS of one's own that wants certificates of both sides carries a whole menu; who has none, the wrong one, or no TLS,
// is told what to do.
func TestNATSWithTLS(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	cert, key := ca.issue(t, "nats", time.Hour)
	ourCert, ourKey := ca.issue(t, "kondate", time.Hour)
	theirCert, theirKey := other.issue(t, "stranger", time.Hour)
	ns := natstest.Configured(t, t.TempDir(), `tls { cert_file: "`+cert+`", key_file: "`+key+`", ca_file: "`+ca.file+`", verify: true }`)
	url := "tls://" + ns.Addr().String()
	s := startSystem(t, nil, "--nats-url", url, "--nats-tls-ca", ca.file, "--nats-tls-cert", ourCert, "--nats-tls-key", ourKey)
	answer, err := s.client().submit(t.Context(), body(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	awaitOnStream(t, s.client(), answer.StreamURL, menu.Completed{}.Type())
	kondateIn(t, s.cfg.DataDir, exitOK, "stages", "list") // it finds address and files by itself

	plain := natstest.Configured(t, t.TempDir(), "").ClientURL()
	log := slog.New(slog.DiscardHandler)
	for name, c := range map[string]struct {
		url    string
		access NATSAccess
		want   string
	}{
		"NoCertificate":    {url, NATSAccess{TLSCA: ca.file}, "nats.tls_cert"},
		"WrongCertificate": {url, NATSAccess{TLSCA: ca.file, TLSCert: theirCert, TLSKey: theirKey}, "nats.tls_cert"},
		"WrongCA":          {url, NATSAccess{TLSCA: other.file, TLSCert: ourCert, TLSKey: ourKey}, "nats.tls_ca"},
		"UnknownCA":        {url, NATSAccess{}, "nats.tls_ca"},
		"ServerIsPlain":    {plain, NATSAccess{TLSCA: ca.file}, "leave nats.tls_ca"},
		"HalfAPair":        {url, NATSAccess{TLSCert: ourCert}, "nats.tls_cert and nats.tls_key belong together"},
		"Mixed":            {url, NATSAccess{TLSCert: ourCert, TLSKey: theirKey}, "do not go together"},
		"NoFile":           {url, NATSAccess{TLSCA: "/does/not/exist"}, "nats.tls_ca"},
		"NoPEM":            {url, NATSAccess{TLSCA: ourKey}, "holds no certificate"},
		"BadURL":           {"nats://user:secretword@[::1", NATSAccess{}, "address 1 of nats.url"},
		"NoSeed":           {plain, NATSAccess{Credentials: ourCert}, "nats.credentials"},
		"NoSeedFile":       {plain, NATSAccess{Credentials: "/does/not/exist"}, "nats.credentials"},
	} {
		nc, err := c.access.dial(c.url, log, nats.MaxReconnects(0))
		if err == nil {
			nc.Close()
			t.Errorf("%s connected", name)
		} else if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secretword") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if nc, err := nats.Connect("nats://" + ns.Addr().String()); err == nil {
		nc.Close()
		t.Error("a client without TLS connected")
	}
}

// The NATS inside serve speaks TLS, and wants certificates of clients where a CA is named.
func TestEmbeddedNATSWithTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "nats", time.Hour)
	ourCert, ourKey := ca.issue(t, "worker", time.Hour)
	s := startSystem(t, nil, "--nats-listen", "127.0.0.1:0", "--nats-tls-cert", cert, "--nats-tls-key", key, "--nats-tls-ca", ca.file)
	url, log := s.broker.URL(), slog.New(slog.DiscardHandler)
	if !strings.HasPrefix(url, "tls://") {
		t.Errorf("its URL is %s", url)
	}
	nc, err := NATSAccess{TLSCA: ca.file, TLSCert: ourCert, TLSKey: ourKey}.dial(url, log)
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	for _, a := range []NATSAccess{{}, {TLSCA: ca.file}} {
		if nc, err := a.dial(url, log); err == nil {
			nc.Close()
			t.Errorf("%+v connected", a)
		}
	}
	kondateIn(t, s.cfg.DataDir, exitOK, "stages", "list") // beside serve: the socket, which needs none
}

func TestTLSSettings(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	good, goodKey := ca.issue(t, "good", time.Hour)
	expired, expiredKey := ca.issue(t, "expired", -time.Minute)
	log := slog.New(slog.DiscardHandler)
	for name, c := range map[string]struct{ cert, key, want string }{
		"Expired": {expired, expiredKey, "expired on"},
		"Mixed":   {good, expiredKey, "do not go together"},
		"Swapped": {goodKey, good, "do not go together"},
		"NoKey":   {good, "/does/not/exist", "http.tls_key"},
		"NoCert":  {"/does/not/exist", goodKey, "http.tls_cert"},
	} {
		_, err := HTTPConfig{TLSCert: c.cert, TLSKey: c.key}.tls().server(log)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, args := range [][]string{{"--http-tls-cert", good}, {"--http-tls-key", good}, {"--nats-tls-key", good}} {
		if _, err := parseServe(args...); err == nil || !strings.Contains(err.Error(), "belong together") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

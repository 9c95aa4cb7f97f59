package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// tlsFiles are the files of one end of TLS connections, and the settings that name them, for messages.
type tlsFiles struct {
	group         string // "nats.tls": the settings are nats.tls_ca, nats.tls_cert and nats.tls_key
	ca, cert, key string
}

// validate refuses half a key pair.
func (f tlsFiles) validate() error {
	if (f.cert == "") != (f.key == "") {
		return fmt.Errorf("%s_cert and %s_key belong together: set both, or none", f.group, f.group)
	}
	return nil
}

// pool reads the CA; nil without one, for the system's.
func (f tlsFiles) pool() (*x509.CertPool, error) {
	if f.ca == "" {
		return nil, nil //nolint:nilnil // crypto/tls reads nil as the system's
	}
	raw, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, fmt.Errorf("%s_ca: %w", f.group, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s_ca %s holds no certificate in PEM", f.group, f.ca)
	}
	return pool, nil
}

// client returns the configuration of a client; nil if no file is named.
func (f tlsFiles) client(log *slog.Logger) (*tls.Config, error) {
	if f.ca == "" && f.cert == "" {
		return nil, nil //nolint:nilnil // there is nothing to configure
	}
	pool, err := f.pool()
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	if f.cert != "" {
		pair, err := openPair(f, log)
		if err != nil {
			return nil, err
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.current(), nil }
	}
	return cfg, nil
}

// server returns the configuration of a server; nil if it has no certificate. With a CA, clients have to show a certificate.
func (f tlsFiles) server(log *slog.Logger) (*tls.Config, error) {
	if f.cert == "" {
		return nil, nil //nolint:nilnil // there is nothing to configure
	}
	pair, err := openPair(f, log)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.current(), nil },
	}
	if f.ca != "" {
		if cfg.ClientCAs, err = f.pool(); err != nil {
			return nil, err
		}
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return cfg, nil
}

// read loads the key pair and refuses one that nobody would accept.
func (f tlsFiles) read() (*tls.Certificate, error) {
	cert, err := os.ReadFile(f.cert)
	if err != nil {
		return nil, fmt.Errorf("%s_cert: %w", f.group, err)
	}
	key, err := os.ReadFile(f.key)
	if err != nil {
		return nil, fmt.Errorf("%s_key: %w", f.group, err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s_cert %s and %s_key %s do not go together: %w (the first holds a certificate in PEM and those that it was signed with, the second the key that it was made for)",
			f.group, f.cert, f.group, f.key, err)
	}
	switch now := time.Now(); {
	case now.After(pair.Leaf.NotAfter):
		return nil, fmt.Errorf("%s_cert %s expired on %s: renew it", f.group, f.cert, pair.Leaf.NotAfter.Format(time.DateTime))
	case now.Before(pair.Leaf.NotBefore):
		return nil, fmt.Errorf("%s_cert %s is valid only from %s on: is the clock right?", f.group, f.cert, pair.Leaf.NotBefore.Format(time.DateTime))
	}
	return &pair, nil
}

// pair is a certificate and its key, read again when one of the files changes: a renewal needs no restart.
type pair struct {
	files tlsFiles
	log   *slog.Logger

	mu     sync.Mutex // guards the fields below
	loaded *tls.Certificate
	source watched
}

func openPair(files tlsFiles, log *slog.Logger) (*pair, error) {
	p := &pair{files: files, log: log, source: watched{paths: []string{files.cert, files.key}}}
	p.source.changed() // before the reading: what changes meanwhile is read again
	var err error
	if p.loaded, err = files.read(); err != nil {
		return nil, err
	}
	p.source.take()
	return p, nil
}

// current returns the pair as the files have it. One that cannot be used is told about, and the last good one stays.
func (p *pair) current() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.source.changed() {
		return p.loaded
	}
	next, err := p.files.read()
	if err != nil { // between the writing of one file and of the other the two do not go together
		if p.source.news(err) {
			p.log.Error("the TLS certificate stays as it was: the new one cannot be used", slog.Any("error", err))
		}
		return p.loaded
	}
	p.source.take()
	p.loaded = next
	p.log.Info("TLS certificate read", slog.String("file", p.files.cert), slog.Time("expires", next.Leaf.NotAfter))
	return next
}

// pinned is the configuration of a client on the machine of a server: it wants the very certificate in the server's file.
// The names in it are for others, who reach the server from outside.
func pinned(file string) (*tls.Config, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("http.tls_cert of the running server: %w", err)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection is stricter
		VerifyConnection: func(state tls.ConnectionState) error {
			raw, err := os.ReadFile(file) //nolint:gosec // the server of the data dir names it
			if err != nil {
				return fmt.Errorf("http.tls_cert of the running server: %w", err)
			}
			leaf, _ := pem.Decode(raw)
			if leaf == nil || len(state.PeerCertificates) == 0 || !bytes.Equal(leaf.Bytes, state.PeerCertificates[0].Raw) {
				return fmt.Errorf("who answers has another certificate than the one in %s: is it kondate serve?", file)
			}
			return nil
		},
	}, nil
}

// explainTLS adds to an error of a connection what to do about it.
func explainTLS(err error, ca, cert string) error {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("%w: name the CA that signed the server's certificate with %s", err, ca)
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Errorf("%w: use the name that stands in the server's certificate", err)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return fmt.Errorf("%w: the server's certificate has to be renewed, or this machine's clock is wrong", err)
	}
	// An alert of the other side, or the end of the connection before the alert could be read.
	if remote, ok := errors.AsType[*net.OpError](err); ok && cert != "" && (remote.Op == "remote error" || errors.Is(err, nats.ErrTLS)) {
		return fmt.Errorf("%w: the server wants a certificate that it knows the CA of, see %s", err, cert)
	}
	return err
}

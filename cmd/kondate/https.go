package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"

	"kondate/handlers/httpapi"
)

func (c HTTPConfig) tls() tlsFiles {
	return tlsFiles{group: "http.tls", cert: c.TLSCert, key: c.TLSKey}
}

// listenHTTP opens http.addr, with TLS if there is a certificate, and returns the URL of the server.
func (a *app) listenHTTP(ctx context.Context) (net.Listener, string, error) {
	secured, err := a.cfg.HTTP.tls().server(a.log)
	if err != nil {
		return nil, "", err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.HTTP.Addr)
	if err != nil {
		return nil, "", fmt.Errorf("listen on http.addr %s, where every process answers probes and serves metrics (processes on one machine need an address each): %w", a.cfg.HTTP.Addr, err)
	}
	listener = httpapi.Linger(listener)
	if secured == nil {
		return listener, "http://" + listener.Addr().String(), nil
	}
	return tls.NewListener(listener, secured), "https://" + listener.Addr().String(), nil
}

// httpClient returns a client with a configuration of TLS; nil is the system's.
func httpClient(secured *tls.Config) *http.Client {
	if secured == nil {
		return &http.Client{}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() // with the time-outs of a connection's start
	transport.TLSClientConfig = secured
	return &http.Client{Transport: transport}
}

// client returns a client of the server that runs on a data dir.
func (c connection) client() (*client, error) {
	var secured *tls.Config
	if c.TLSCert != "" {
		var err error
		if secured, err = pinned(c.TLSCert); err != nil {
			return nil, err
		}
	}
	return &client{base: c.HTTPURL, key: c.Key, http: httpClient(secured)}, nil
}

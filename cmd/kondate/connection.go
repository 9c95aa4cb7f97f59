package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// connection is what a running serve tells the other commands on the same data dir. It lies in the data dir, readable
// by the owner only: whoever can read it can reach the database, and is an administrator of the HTTP server.
type connection struct {
	PID         int    `json:"pid"`
	HTTPURL     string `json:"http_url"`
	AuthMode    string `json:"auth_mode,omitempty"`
	KeysFile    string `json:"keys_file,omitempty"`   // of API keys; empty: it reads none
	Key         string `json:"key,omitempty"`         // API key of the commands beside it; empty: none is needed
	TLSCert     string `json:"tls_cert,omitempty"`    // file of the certificate of HTTPURL; empty: it has no TLS
	NATSURL     string `json:"nats_url,omitempty"`    // empty: the embedded server opens no port
	NATSSocket  string `json:"nats_socket,omitempty"` // of the embedded server; empty: it is not embedded
	NATSSeed    string `json:"nats_seed,omitempty"`   // of a user of the embedded server; empty: it has none
	NATSUsers   string `json:"nats_users,omitempty"`  // file of its users; empty: it has none
	NATSAccess         // to a server that is not embedded
	NATSSync    string `json:"nats_sync,omitempty"` // nats.sync of the embedded server
	DatabaseURL string `json:"database_url"`
}

func connectionFile(dataDir string) string { return filepath.Join(dataDir, "connection.json") }

// write makes the file whole or not at all.
func (c connection) write(dataDir string) error {
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the connection file: %w", err)
	}
	tmp := connectionFile(dataDir) + ".new"
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return fmt.Errorf("write the connection file: %w", err)
	}
	if err := os.Rename(tmp, connectionFile(dataDir)); err != nil {
		return fmt.Errorf("write the connection file: %w", err)
	}
	return nil
}

// readConnection finds the serve that runs on a data dir.
func readConnection(dataDir string) (connection, error) {
	var c connection
	raw, err := os.ReadFile(connectionFile(dataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("no kondate serve runs on %s: start one, or name another folder with --data-dir, or a server with --url: %w", dataDir, err)
	}
	if err != nil {
		return c, fmt.Errorf("read the connection file: %w", err)
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("connection file %s: %w", connectionFile(dataDir), err)
	}
	return c, nil
}

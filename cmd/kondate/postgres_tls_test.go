package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu"
	"kondate/projections/pgtest"
	"kondate/streams/natstest"
)

// A Postgres of one's own that takes TLS only is checked by name and CA, and carries a whole menu.
func TestPostgresWithTLS(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	port := startTLSPostgres(t, ca)
	url := func(options string) string {
		return fmt.Sprintf("postgres://kondate:pass+word@127.0.0.1:%d/postgres?%s", port, options)
	}
	for options, want := range map[string]string{
		"sslmode=verify-full&sslrootcert=" + other.file: "certificate signed by unknown authority",
		"sslmode=verify-full":                           "certificate signed by unknown authority",
		"sslmode=disable":                               "no encryption",
		"sslmode=verify-full&sslrootcert=/not/there":    "/not/there",
	} {
		_, err := openDatabaseBeside(t.Context(), Storage{DataDir: t.TempDir(), Database: DatabaseConfig{URL: url(options), PoolSize: 2, PoolTimeout: patience}}, newLogger(&syncBuffer{}, levelQuiet))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pass+word") || strings.Contains(err.Error(), "pass word") {
			t.Errorf("%s: %v", options, err)
		}
	}
	s := startSystem(t, nil, "--database-url", url("sslmode=verify-full&sslrootcert="+ca.file))
	answer, err := s.client().submit(t.Context(), body(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	awaitOnStream(t, s.client(), answer.StreamURL, menu.Completed{}.Type())
	var secured bool
	if err := s.pool.QueryRow(t.Context(), "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'kondate'").Scan(&secured); err != nil || !secured {
		t.Errorf("a connection has no TLS: %v", err)
	}
}

// startTLSPostgres runs a Postgres of this machine's installation that takes TLS connections only, and returns its port.
func startTLSPostgres(t *testing.T, ca *authority) int {
	t.Helper()
	programs, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if path, lookErr := exec.LookPath("postgres"); lookErr == nil {
		programs = append(programs, path)
	}
	if err != nil || len(programs) == 0 {
		t.Fatalf("there is no Postgres (.ci/need postgres installs it): %v", err)
	}
	bin := filepath.Dir(slices.Max(programs))
	dir := pgtest.Dir(t)
	var as *syscall.Credential
	if os.Geteuid() == 0 {
		account, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.ParseUint(account.Uid, 10, 32) // a zero would show at once: Postgres refuses to be root
		gid, _ := strconv.ParseUint(account.Gid, 10, 32)
		as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	give := func(path string) {
		if as == nil {
			return
		}
		if err := os.Chown(path, int(as.Uid), int(as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...) //nolint:noctx // the installation's own; the test ends it
		cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
		return cmd
	}
	give(dir)
	data := filepath.Join(dir, "data")
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("pass+word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	give(password)
	if out, err := command("initdb", "-D", data, "--username=kondate", "--pwfile="+password, "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cert, key := ca.issue(t, "postgres", time.Hour)
	for from, to := range map[string]string{cert: "server.crt", key: "server.key"} {
		raw, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(data, to), raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		give(filepath.Join(data, to))
	}
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte("hostssl all all 127.0.0.1/32 scram-sha-256\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	port := natstest.FreePorts(t, 1)[0]
	server := command("postgres", "-D", data, "-c", "listen_addresses=127.0.0.1", "-c", "port="+strconv.Itoa(port), "-c", "ssl=on", "-c", "unix_socket_directories=", "-c", "fsync=off")
	log := &syncBuffer{}
	server.Stderr = log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT) // fast shutdown
		_ = server.Wait()
	})
	waitFor(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://kondate:pass+word@127.0.0.1:%d/postgres?sslmode=require", port))
		if err != nil {
			return false
		}
		return conn.Close(ctx) == nil
	})
	return port
}

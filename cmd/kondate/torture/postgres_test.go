//go:build linux

package torture_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// database is a Postgres of the fleet's own.
type database struct {
	*process

	addr string // past every link
}

const databaseUser = "kondate"

// databaseURL is the database behind an address.
func databaseURL(addr string) string {
	return fmt.Sprintf("postgres://%s@%s/postgres?sslmode=disable", databaseUser, addr)
}

// newDatabase makes a cluster. It does not wait for the disk: a killed process leaves to the kernel what it has written.
func newDatabase(tb testing.TB, dir string) *database {
	tb.Helper()
	bin, err := postgresBinaries()
	if err != nil {
		tb.Fatal(err)
	}
	account, own := unprivileged(tb)
	cluster := filepath.Join(dir, "postgres")
	if err := os.Mkdir(cluster, 0o700); err != nil {
		tb.Fatal(err)
	}
	own(cluster)
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", cluster, "-U", databaseUser, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync") //nolint:noctx // it takes a second
	initdb.SysProcAttr, initdb.Dir = &syscall.SysProcAttr{Credential: account}, cluster
	if out, err := initdb.CombinedOutput(); err != nil {
		tb.Fatalf("initdb: %v\n%s", err, out)
	}
	port := freePorts(tb, 1)[0]
	d := &database{addr: loopback(port)}
	d.process = &process{
		name: "postgres", log: filepath.Join(dir, "postgres.log"),
		ask: syscall.SIGINT, // its SIGTERM waits for its clients to go
		command: func() *exec.Cmd {
			cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", cluster, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", //nolint:noctx // the fleet ends it
				"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=400", "-c", "shared_buffers=64MB")
			cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Credential: account}, cluster
			return cmd
		},
		answers: func(ctx context.Context) error {
			conn, err := pgx.Connect(ctx, databaseURL(d.addr))
			if err != nil {
				return err
			}
			return conn.Close(ctx)
		},
	}
	return d
}

// postgresBinaries finds the installed server where the program does.
func postgresBinaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", fmt.Errorf("no PostgreSQL server is installed: .ci/need postgres")
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), nil
}

// unprivileged returns whom Postgres runs as when the tests run as root, which it refuses, and what gives a folder to them.
func unprivileged(tb testing.TB) (account *syscall.Credential, own func(dir string)) {
	tb.Helper()
	if os.Geteuid() != 0 {
		return nil, func(string) {}
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		tb.Fatal(err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		tb.Fatal(err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		tb.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, func(dir string) {
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			tb.Fatal(err)
		}
	}
}

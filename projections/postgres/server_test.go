package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kondate/projections/postgres"
)

func TestStart(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	timed := func(what string, f func()) {
		begin := time.Now()
		f()
		t.Logf("%s: %v", what, time.Since(begin).Round(time.Millisecond))
	}

	var s *postgres.Server
	timed("first start", func() { s = start(t, postgres.Config{Dir: dir}) })
	execute(t, s.URL(), "create table kept as select 42 as n")
	for setting, want := range map[string]string{
		"listen_addresses": "", "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
		"max_connections": "120", "server_encoding": "UTF8", "data_directory": filepath.Join(dir, "cluster"),
	} {
		if got := query[string](t, s.URL(), "select current_setting('"+setting+"')"); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	uid := uidOf(t, fmt.Sprintf("/proc/%d", postmaster(t, dir)))
	if uid == 0 || (os.Geteuid() != 0 && uid != os.Geteuid()) {
		t.Errorf("the server runs as uid %d", uid)
	}
	if fi, err := os.Stat(filepath.Join(dir, "socket")); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("socket folder: %v, %v", fi, err)
	}
	select {
	case <-s.Done():
		t.Error("a running server is done")
	default:
	}

	timed("stop", func() { stop(t, s) })
	<-s.Done()
	if err := s.Err(); err != nil {
		t.Errorf("stopped by us, yet: %v", err)
	}
	stop(t, s) // again is harmless
	if left := processes(t, dir); len(left) != 0 {
		t.Errorf("processes %v are left", left)
	}

	timed("later start", func() { s = start(t, postgres.Config{Dir: dir}) })
	if n := query[int](t, s.URL(), "select n from kept"); n != 42 {
		t.Errorf("read %d back", n)
	}
}

func TestFoldersAreIndependent(t *testing.T) {
	t.Parallel()
	parent := folder(t)
	a := start(t, postgres.Config{Dir: filepath.Join(parent, "a"), NoSync: true})
	b := start(t, postgres.Config{Dir: filepath.Join(parent, "b"), NoSync: true})
	execute(t, a.URL(), "create table who as select 'a' as name")
	execute(t, b.URL(), "create table who as select 'b' as name")
	for url, want := range map[string]string{a.URL(): "a", b.URL(): "b"} {
		if got := query[string](t, url, "select name from who"); got != want {
			t.Errorf("%s holds %q, want %q", url, got, want)
		}
	}
	stop(t, a)
	if got := query[string](t, b.URL(), "select name from who"); got != "b" {
		t.Errorf("after the other stopped: %q", got)
	}
}

func TestSecondStartIsRefused(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := start(t, postgres.Config{Dir: dir, NoSync: true})
	link := filepath.Join(folder(t), "link") // the same folder by another name
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, link} {
		_, err := postgres.Start(t.Context(), postgres.Config{Dir: name})
		if !errors.Is(err, postgres.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d ", os.Getpid())) {
			t.Errorf("second start: %v", err)
		}
	}
	if n := query[int](t, s.URL(), "select 1"); n != 1 {
		t.Error("the first server suffered")
	}
	stop(t, s)
	start(t, postgres.Config{Dir: dir, NoSync: true})
}

func TestLongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), strings.Repeat("deep", 30), strings.Repeat("down", 20))
	s := start(t, postgres.Config{Dir: dir, NoSync: true})
	execute(t, s.URL(), "create table kept()")
	url := s.URL()
	stop(t, s)
	s = start(t, postgres.Config{Dir: dir, NoSync: true})
	if s.URL() != url {
		t.Errorf("another place at each start: %s, then %s", url, s.URL())
	}
	socket := query[string](t, s.URL(), "select trim('\"' from current_setting('unix_socket_directories'))")
	if fi, err := os.Stat(socket); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("socket folder %s: %v", socket, err)
	}
	other := start(t, postgres.Config{Dir: dir + "2", NoSync: true})
	if other.URL() == s.URL() {
		t.Error("two clusters share a socket folder")
	}
	stop(t, s)
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s stays behind: %v", socket, err)
	}
}

// Whatever the folder is called, the line must survive a shell and libpq.
func TestPsqlCommand(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"お品書き", `a "b' c,$HOME\n`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, postgres.Config{Dir: filepath.Join(folder(t), name), NoSync: true})
			cmd := exec.CommandContext(t.Context(), "sh", "-c", s.PsqlCommand()+` -XAtc "select current_user || current_database()"`)
			cmd.Env = append(os.Environ(), "PGPORT=1", "PGUSER=x", "PGDATABASE=x")
			if out, err := cmd.CombinedOutput(); err != nil || string(out) != "kondatekondate\n" {
				t.Errorf("%s\n%s%v", s.PsqlCommand(), out, err)
			}
			if n := query[int](t, s.URL(), "select 1"); n != 1 {
				t.Error("no answer")
			}
		})
	}
}

func TestNoBinaries(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "new")
	_, err := postgres.Start(t.Context(), postgres.Config{Dir: dir, Binaries: folder(t)})
	if !errors.Is(err, postgres.ErrNoBinaries) || !strings.Contains(err.Error(), "KONDATE_DATABASE_URL") {
		t.Errorf("without binaries: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder was made all the same: %v", err)
	}
}

// What cannot be run is told and left as it is.
func TestUnusableCluster(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := start(t, postgres.Config{Dir: dir, NoSync: true})
	execute(t, s.URL(), "create table kept as select 42 as n")
	stop(t, s)

	refused := func(why, want string, is error) {
		t.Helper()
		begin := time.Now()
		_, err := postgres.Start(t.Context(), postgres.Config{Dir: dir, NoSync: true})
		if err == nil || !strings.Contains(err.Error(), want) || (is != nil && !errors.Is(err, is)) {
			t.Errorf("%s: %v", why, err)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%s: said after %v", why, took)
		}
	}
	version := filepath.Join(dir, "cluster", "PG_VERSION")
	conf := filepath.Join(dir, "cluster", "postgresql.conf")

	made := rewrite(t, version, "9\n")
	refused("another version", "needs PostgreSQL 9, ", postgres.ErrVersion)
	rewrite(t, version, made)

	settings := rewrite(t, conf, "no_such_setting = 1\n")
	refused("the log says why", "no_such_setting", nil)
	rewrite(t, conf, settings)

	if err := os.Rename(version, version+".away"); err != nil {
		t.Fatal(err)
	}
	refused("not a cluster", "not a PostgreSQL cluster", os.ErrNotExist)
	if err := os.Rename(version+".away", version); err != nil {
		t.Fatal(err)
	}

	s = start(t, postgres.Config{Dir: dir, NoSync: true})
	if n := query[int](t, s.URL(), "select n from kept"); n != 42 {
		t.Errorf("read %d back", n)
	}
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	t.Parallel()
	// What is there when the moment to cancel has come.
	for name, pattern := range map[string]string{"AtOnce": "", "WhileMakingTheCluster": "initdb-*/PG_VERSION", "WhileStarting": "cluster/postmaster.pid"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			go func() {
				s, err := postgres.Start(ctx, postgres.Config{Dir: dir})
				if err == nil { // too late: it was already up
					err = s.Stop(context.WithoutCancel(ctx))
				}
				failed <- err
			}()
			if pattern != "" {
				eventually(t, pattern, func() bool { return exists(t, dir, pattern) || exists(t, dir, "cluster/postmaster.pid") })
			}
			cancel()
			if err := <-failed; !errors.Is(err, context.Canceled) && (err != nil || name == "AtOnce") {
				t.Errorf("cancelled: %v", err)
			}
			if left := processes(t, dir); len(left) != 0 {
				t.Errorf("processes %v are left", left)
			}
			s := start(t, postgres.Config{Dir: dir, NoSync: true})
			if n := query[int](t, s.URL(), "select 1"); n != 1 {
				t.Error("no answer")
			}
			if exists(t, dir, "initdb-*") {
				t.Error("an unfinished cluster is left behind")
			}
		})
	}
}

// rewrite replaces the text of a file, whose owner stays, and returns the old one.
func rewrite(t *testing.T, path, text string) string {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return string(old)
}

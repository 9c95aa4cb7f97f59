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

	"kondate/projections/pgtest"
	"kondate/projections/postgres"
)

func TestStart(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
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
	parent := pgtest.Dir(t)
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
	dir := pgtest.Dir(t)
	s := start(t, postgres.Config{Dir: dir, NoSync: true})
	link := filepath.Join(pgtest.Dir(t), "link") // the same folder by another name
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
	dir := filepath.Join(pgtest.Dir(t), strings.Repeat("deep", 30), strings.Repeat("down", 20))
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
	for _, name := range []string{"plain", `a "b' c`, `$HOME,x`, "お品書き\\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, postgres.Config{Dir: filepath.Join(pgtest.Dir(t), name), NoSync: true})
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
	dir := filepath.Join(pgtest.Dir(t), "new")
	_, err := postgres.Start(t.Context(), postgres.Config{Dir: dir, Binaries: pgtest.Dir(t)})
	if !errors.Is(err, postgres.ErrNoBinaries) || !strings.Contains(err.Error(), "KONDATE_DATABASE_URL") {
		t.Errorf("without binaries: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder was made all the same: %v", err)
	}
}

func TestOtherVersion(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	s := start(t, postgres.Config{Dir: dir, NoSync: true})
	execute(t, s.URL(), "create table kept as select 42 as n")
	stop(t, s)

	path := filepath.Join(dir, "cluster", "PG_VERSION")
	version, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, path, "9\n")
	_, err = postgres.Start(t.Context(), postgres.Config{Dir: dir, NoSync: true})
	if !errors.Is(err, postgres.ErrVersion) || !strings.Contains(err.Error(), "needs PostgreSQL 9, ") {
		t.Errorf("with a cluster of version 9: %v", err)
	}

	rewrite(t, path, string(version))
	s = start(t, postgres.Config{Dir: dir, NoSync: true})
	if n := query[int](t, s.URL(), "select n from kept"); n != 42 {
		t.Errorf("read %d back", n)
	}
}

// A folder that is not a cluster is somebody's, and stays as it is.
func TestNotACluster(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	s := start(t, postgres.Config{Dir: dir, NoSync: true})
	stop(t, s)
	path := filepath.Join(dir, "cluster", "PG_VERSION")
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Start(t.Context(), postgres.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "not a PostgreSQL cluster") {
		t.Errorf("without PG_VERSION: %v", err)
	}
}

func TestFailureShowsTheLog(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	s := start(t, postgres.Config{Dir: dir, NoSync: true})
	stop(t, s)
	rewrite(t, filepath.Join(dir, "cluster", "postgresql.conf"), "no_such_setting = 1\n")
	begin := time.Now()
	_, err := postgres.Start(t.Context(), postgres.Config{Dir: dir, NoSync: true})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("with a broken postgresql.conf: %v", err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("a hopeless start took %v", took)
	}
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	t.Parallel()
	// What is there when the moment to cancel has come.
	for name, pattern := range map[string]string{"AtOnce": "", "WhileMakingTheCluster": "initdb-*/PG_VERSION", "WhileStarting": "cluster/postmaster.pid"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := pgtest.Dir(t)
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
				eventually(t, pattern, func() bool {
					found, err := filepath.Glob(filepath.Join(dir, pattern))
					return err == nil && len(found) > 0
				})
			}
			cancel()
			if err := <-failed; name != "WhileStarting" && !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
			if left := processes(t, dir); len(left) != 0 {
				t.Errorf("processes %v are left", left)
			}
			s := start(t, postgres.Config{Dir: dir, NoSync: true})
			if n := query[int](t, s.URL(), "select 1"); n != 1 {
				t.Error("no answer")
			}
			if left, err := filepath.Glob(filepath.Join(dir, "initdb-*")); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0) // the owner stays
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

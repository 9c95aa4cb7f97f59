package postgres_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kondate/projections/postgres"
)

// closed makes a folder that only the caller can enter, for root the one case
// in which the cluster cannot live where it should.
func closed(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(folder(t), "closed")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// forget removes what lives outside of the test's folder.
func forget(t *testing.T, dir string) {
	t.Helper()
	link := filepath.Join(dir, "cluster")
	if target, err := os.Readlink(link); err == nil {
		t.Cleanup(func() {
			if err := os.RemoveAll(filepath.Dir(target)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestClosedParent(t *testing.T) {
	t.Parallel()
	parent := closed(t)
	dir := filepath.Join(parent, "data")
	s := start(t, postgres.Config{Dir: dir, NoSync: true})
	forget(t, dir)
	execute(t, s.URL(), "create table kept as select 42 as n")
	target, err := os.Readlink(filepath.Join(dir, "cluster"))
	if root := os.Geteuid() == 0; root != (err == nil) {
		t.Errorf("as root (%v) the cluster is a link to %q: %v", root, target, err)
	}
	if err == nil && !strings.HasPrefix(target, "/var/lib/kondate/") {
		t.Errorf("the cluster lives in %s", target)
	}
	stop(t, s)

	s = start(t, postgres.Config{Dir: dir, NoSync: true})
	if n := query[int](t, s.URL(), "select n from kept"); n != 42 {
		t.Errorf("the next start reads %d back", n)
	}
	stop(t, s)

	moved := filepath.Join(parent, "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	s = start(t, postgres.Config{Dir: moved, NoSync: true})
	if n := query[int](t, s.URL(), "select n from kept"); n != 42 {
		t.Errorf("the moved folder reads %d back", n)
	}
}

// Only a root caller's cluster can live elsewhere; anybody else's is copied with its folder.
func TestCopiedFolderHasNoClusterOfTheFirst(t *testing.T) {
	t.Parallel()
	parent := closed(t)
	dir := filepath.Join(parent, "data")
	s := start(t, postgres.Config{Dir: dir, NoSync: true})
	forget(t, dir)
	stop(t, s)
	target, err := os.Readlink(filepath.Join(dir, "cluster"))
	if err != nil {
		if os.Geteuid() == 0 {
			t.Fatal(err)
		}
		return
	}

	twin := filepath.Join(parent, "twin")
	if err := os.Mkdir(twin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(twin, "cluster")); err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Start(t.Context(), postgres.Config{Dir: twin}); err == nil || !strings.Contains(err.Error(), "is a copy of "+dir) {
		t.Errorf("with the link of another folder: %v", err)
	}

	// What emptied the other place leaves a fresh start.
	if err := os.RemoveAll(filepath.Dir(target)); err != nil {
		t.Fatal(err)
	}
	s = start(t, postgres.Config{Dir: dir, NoSync: true})
	forget(t, dir)
	if n := query[int](t, s.URL(), "select count(*) from pg_tables where schemaname = 'public'"); n != 0 {
		t.Errorf("%d tables in an empty cluster", n)
	}
}

// An existing cluster is never left behind for an empty one elsewhere.
func TestClosedLater(t *testing.T) {
	t.Parallel()
	parent := folder(t)
	dir := filepath.Join(parent, "data")
	s := start(t, postgres.Config{Dir: dir, NoSync: true})
	stop(t, s)
	if err := os.Chmod(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := postgres.Start(t.Context(), postgres.Config{Dir: dir, NoSync: true})
	if os.Geteuid() != 0 {
		if err != nil {
			t.Fatal(err)
		}
		stop(t, s)
		return
	}
	if err == nil || !strings.Contains(err.Error(), "chmod o+x "+parent) {
		t.Errorf("closed to its owner: %v", err)
	}
}

func TestUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 { // nobody else can choose
		return
	}
	dir := folder(t)
	s := start(t, postgres.Config{Dir: dir, User: "nobody", NoSync: true})
	nobody := uidOf(t, filepath.Join(dir, "socket"))
	if owner := uidOf(t, filepath.Join(dir, "cluster")); owner != nobody || owner == 0 {
		t.Errorf("cluster of uid %d, socket of uid %d", owner, nobody)
	}
	stop(t, s)
	s = start(t, postgres.Config{Dir: dir, NoSync: true}) // keeps its owner
	if n := query[int](t, s.URL(), "select 1"); n != 1 {
		t.Error("no answer")
	}
	for _, user := range []string{"root", "no-such-user"} {
		if _, err := postgres.Start(t.Context(), postgres.Config{Dir: folder(t), User: user}); err == nil || !strings.Contains(err.Error(), user) {
			t.Errorf("as %s: %v", user, err)
		}
	}
}

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/projections/postgres"
)

// Each round kills the owner, with no pause before the next start.
func TestOwnerKilled(t *testing.T) {
	t.Parallel()
	const rounds = 10
	dir := folder(t)
	for round := range rounds {
		o := startOwner(t, dir)
		url := o.url(t)
		execute(t, url, "create table if not exists rounds (n int)")
		if n := query[int](t, url, "select count(*) from rounds"); n != round {
			t.Fatalf("round %d begins with %d rows", round, n)
		}
		execute(t, url, "insert into rounds values ($1)", round)
		o.kill()
	}
	s := start(t, postgres.Config{Dir: dir})
	if n := query[int](t, s.URL(), "select count(*) from rounds"); n != rounds {
		t.Errorf("%d rows are left of %d", n, rounds)
	}
}

// The kernel tells the server, so that nothing runs on when nobody starts again.
func TestOwnerKilledLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	o := startOwner(t, dir)
	url := o.url(t)
	idle, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = idle.Close(context.WithoutCancel(t.Context())) })
	o.kill()
	eventually(t, "the processes to end", func() bool { return len(processes(t, dir)) == 0 })
	if _, err := os.Stat(filepath.Join(dir, "cluster", "postmaster.pid")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("not a clean shutdown: %v", err)
	}
}

func TestOwnerKilledWhileStarting(t *testing.T) {
	t.Parallel()
	// What is there when the owner is killed.
	for name, pattern := range map[string]string{
		"BeforeTheCluster": "lock", "MakingTheCluster": "initdb-*/PG_VERSION", "TheClusterIsNew": "cluster", "TheServerIsNew": "cluster/postmaster.pid",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			o := startOwner(t, dir)
			eventually(t, pattern, func() bool { return exists(t, dir, pattern) || exists(t, dir, "cluster/postmaster.pid") })
			o.kill()
			s := start(t, postgres.Config{Dir: dir})
			execute(t, s.URL(), "create table works()")
			stop(t, s)
			eventually(t, "the processes to end", func() bool { return len(processes(t, dir)) == 0 })
		})
	}
}

// A child that was just being forked when its owner was killed holds the lock a moment longer.
func TestLockHeldForAMoment(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	f, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { _ = f.Close() })
	start(t, postgres.Config{Dir: dir, NoSync: true})
}

func TestServerKilled(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := start(t, postgres.Config{Dir: dir})
	execute(t, s.URL(), "create table kept as select 42 as n")
	busy, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // a process that does not look up from its work when the server dies
		defer close(ended)
		_, _ = busy.Exec(t.Context(), "do $$ declare since timestamptz := clock_timestamp(); begin while clock_timestamp() < since + interval '3s' loop end loop; end $$") // answered or cut off, as it comes
		_ = busy.Close(context.WithoutCancel(t.Context()))
	}()
	eventually(t, "the query to run", func() bool {
		return query[int](t, s.URL(), "select count(*) from pg_stat_activity where query like 'do $$%' and state = 'active' and pid <> pg_backend_pid()") == 1
	})

	kill(t, postmaster(t, dir))
	<-s.Done()
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "killed") || !strings.Contains(err.Error(), "ready to accept connections") {
		t.Errorf("killed, and says: %v", err)
	}
	again := start(t, postgres.Config{Dir: dir}) // with no Stop before
	if n := query[int](t, again.URL(), "select n from kept"); n != 42 {
		t.Errorf("read %d back", n)
	}
	stop(t, s)
	if s.Err() == nil {
		t.Error("Stop made it forget how it ended")
	}
	<-ended
}

// A server whose owner is gone and that does not know it: what other systems
// than Linux leave behind.
func TestOrphanIsStopped(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := start(t, postgres.Config{Dir: dir})
	execute(t, s.URL(), "create table kept as select 42 as n")
	socket := filepath.Join(dir, "socket")
	stop(t, s)

	orphan := asOwner(t, dir, "postgres", "-D", filepath.Join(dir, "cluster"), "-k", socket, "-c", "listen_addresses=")
	eventually(t, "the orphan to listen", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "cluster", "postmaster.pid"))
		return err == nil && strings.Contains(string(text), "ready")
	})
	s = start(t, postgres.Config{Dir: dir})
	if err := orphan.Wait(); err != nil {
		t.Errorf("the orphan was not stopped in order: %v", err)
	}
	if n := query[int](t, s.URL(), "select n from kept"); n != 42 {
		t.Errorf("read %d back", n)
	}
}

func TestStalePIDFile(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]func(pid int, cluster string) string{
		"NumberIsSomebodyElses": func(pid int, cluster string) string {
			return fmt.Sprintf("%d\n%s\n1700000000\n5432\n/nowhere\n\n  1234567     99999\nready   \n", pid, cluster)
		},
		"CutOff": func(int, string) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			cluster := filepath.Join(dir, "cluster")
			s := start(t, postgres.Config{Dir: dir, NoSync: true})
			stop(t, s)
			other := asOwner(t, dir, "sleep", "600")
			path := filepath.Join(cluster, "postmaster.pid")
			if err := os.WriteFile(path, []byte(text(other.Process.Pid, cluster)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(path, uidOf(t, cluster), -1); err != nil {
				t.Fatal(err)
			}
			s = start(t, postgres.Config{Dir: dir, NoSync: true})
			if n := query[int](t, s.URL(), "select 1"); n != 1 {
				t.Error("no answer")
			}
			if err := other.Process.Signal(syscall.Signal(0)); err != nil {
				t.Errorf("the innocent process is gone: %v", err)
			}
		})
	}
}

// asOwner runs a command as the user that the cluster of dir belongs to.
func asOwner(t *testing.T, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	cmd.Dir = "/"
	if uid := uidOf(t, filepath.Join(dir, "cluster")); uid != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

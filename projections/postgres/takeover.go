package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

const (
	pollInterval = 10 * time.Millisecond
	politeBound  = 10 * time.Second // for a fast shutdown, and again for an immediate one
)

// takeOver ends the server that a killed owner left on the cluster; the caller
// holds the lock, so no living owner can miss it. It tells whether the last
// server was not stopped in order.
func takeOver(ctx context.Context, p place, log *slog.Logger) (unclean bool, err error) {
	path := filepath.Join(p.cluster, "postmaster.pid")
	pid, err := readPID(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for an earlier server: %w", err)
	}
	if !serves(ctx, pid, p.cluster) {
		if err := disownPID(p.account, path, pid); err != nil {
			return true, fmt.Errorf("correct a stale %s: %w", path, err)
		}
		return true, nil
	}

	log.InfoContext(ctx, "waiting for the earlier private Postgres to stop: its owner is gone", "pid", pid)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return true, fmt.Errorf("stop the earlier server, process %d: %w", pid, err)
		}
		ended, err := poll(ctx, politeBound, func() bool { return !serves(ctx, pid, p.cluster) })
		if err != nil || ended {
			return true, err
		}
	}
	return true, fmt.Errorf("the earlier server of %s, process %d, does not stop: end it by hand", p.cluster, pid)
}

// readPID reads whose postmaster.pid it is. One without a number is being
// written right now, or a crash cut it off: then no server came so far as to
// touch the cluster, and PostgreSQL would refuse to start until it is removed.
func readPID(ctx context.Context, path string) (int, error) {
	var (
		pid int
		err error
	)
	readable, pollErr := poll(ctx, time.Second, func() bool {
		var text []byte
		if text, err = os.ReadFile(path); err != nil { //nolint:gosec // inside of our cluster
			return true
		}
		var ok bool
		pid, ok = parsePID(text)
		return ok
	})
	if pollErr != nil {
		return 0, pollErr
	}
	if !readable {
		return 0, errors.Join(fs.ErrNotExist, os.Remove(path))
	}
	return pid, err
}

// serves tells whether the process is a living server of the cluster: the
// number alone may long be somebody else's.
func serves(ctx context.Context, pid int, cluster string) bool {
	args := arguments(ctx, pid)
	i := slices.Index(args, "-D")
	if i < 0 || i+1 == len(args) {
		return false
	}
	theirs, err := os.Stat(args[i+1])
	ours, ourErr := os.Stat(cluster)
	return err == nil && ourErr == nil && os.SameFile(theirs, ours)
}

// disownPID lets PostgreSQL see that the process named in its file is no server.
// It refuses to start while any process of its user has that number, which in
// containers is common; the number of its own parent it knows to be left over. The
// rest of the file stays, and with it PostgreSQL's own guard against two servers.
func disownPID(acct account, path string, pid int) error {
	if pid == os.Getpid() || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return nil
	}
	text, err := os.ReadFile(path) //nolint:gosec // inside of our cluster
	if err != nil {
		return err
	}
	_, rest, _ := bytes.Cut(text, []byte("\n"))
	corrected := fmt.Appendf(nil, "%d\n%s", os.Getpid(), rest)
	if err := os.WriteFile(path+".new", corrected, 0o600); err != nil { //nolint:gosec // inside of our cluster
		return err
	}
	if err := acct.give(path + ".new"); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// parsePID reads the first line of a postmaster.pid. A negative number is a
// single-user server's.
func parsePID(text []byte) (int, bool) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	pid, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 32)
	if err != nil {
		return 0, false
	}
	if pid < 0 {
		pid = -pid
	}
	return int(pid), pid > 1
}

// poll looks until ok, for at most the bound. The error is the context's.
func poll(ctx context.Context, bound time.Duration, ok func() bool) (bool, error) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	end := time.NewTimer(bound)
	defer end.Stop()
	for {
		if ok() {
			return true, nil
		}
		select {
		case <-tick.C:
		case <-end.C:
			return false, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// binaries returns the installation for the cluster: the one that made it, or
// for a new one the best, in either case one that the account can run.
func (p place) binaries(ctx context.Context, folder string) (binaries, error) {
	major := ""
	if !p.isNew {
		text, err := os.ReadFile(filepath.Join(p.cluster, "PG_VERSION"))
		if err != nil {
			return binaries{}, fmt.Errorf("%s is not a PostgreSQL cluster: %w", p.cluster, err)
		}
		major = strings.TrimSpace(string(text))
	}
	bin, err := findBinaries(ctx, folder, major)
	if err != nil {
		if !p.isNew {
			err = fmt.Errorf("cluster %s: %w", p.cluster, err)
		}
		return binaries{}, err
	}
	at, err := p.blocked(bin.folder)
	if err != nil {
		return binaries{}, err
	}
	if at != "" {
		return binaries{}, fmt.Errorf("user %s cannot run %s: it cannot enter %s", p.name, bin.path("postgres"), at)
	}
	return bin, nil
}

// initialise makes the cluster under another name and renames it when it is
// whole: whatever ends us in between, an unfinished one is never started.
func (s *Server) initialise(ctx context.Context, out *os.File, noSync bool) (err error) {
	unfinished, err := os.MkdirTemp(s.place.base, "initdb-")
	if err != nil {
		return fmt.Errorf("make the cluster: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(unfinished))
		}
	}()
	if err := s.place.give(unfinished); err != nil {
		return fmt.Errorf("make the cluster: %w", err)
	}
	args := []string{
		"-D", unfinished, "--username=" + superuser, "--encoding=UTF8", "--locale=" + locale,
		"--auth-local=trust", "--auth-host=reject", // trusted is who may enter the socket's folder
	}
	if noSync {
		args = append(args, "--no-sync")
	}
	from := size(out)
	p, err := startProcess(ctx, s.place.account, out, s.bin.path("initdb"), args...)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.kill()
		return context.Cause(ctx)
	}
	if p.err != nil {
		return fmt.Errorf("make the cluster: initdb failed (%w):\n%s", p.err, logTail(s.log, from))
	}
	if err := os.Rename(unfinished, s.place.cluster); err != nil {
		return fmt.Errorf("make the cluster: %w", err)
	}
	if err := syncFolder(s.place.base); err != nil {
		return fmt.Errorf("make the cluster: %w", err)
	}
	return nil
}

// removeUnfinished clears what an initdb left that was killed. One may only just
// be dying, so what does not go now goes at the next start.
func (p place) removeUnfinished() {
	dirs, _ := filepath.Glob(filepath.Join(globEscape(p.base), "initdb-*")) // the pattern is well-formed, its only error
	for _, dir := range dirs {
		_ = os.RemoveAll(dir)
	}
}

// launch runs the server until it answers. After a crash, a process of the last
// server may be so deep in a query that it has not seen its server die; until it
// has, PostgreSQL refuses to start, so it is tried again for a while.
func (s *Server) launch(ctx context.Context, out *os.File, cfg Config) error {
	const patience = 15 * time.Second
	for begin := time.Now(); ; {
		unclean, err := takeOver(ctx, s.place, cfg.Logger)
		if err != nil {
			return err
		}
		s.from = size(out)
		if s.proc, err = startProcess(ctx, s.place.account, out, s.bin.path("postgres"), s.args(cfg.NoSync)...); err != nil {
			return err
		}
		err = s.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.proc.done:
		default:
			s.proc.end(ctx)
			return err
		}
		if _, statErr := os.Stat(filepath.Join(s.place.cluster, "postmaster.pid")); statErr == nil {
			unclean = true // of a server that was about to start when its owner died
		}
		if !unclean || time.Since(begin) > patience {
			return err
		}
		cfg.Logger.InfoContext(ctx, "the private Postgres is not free yet after a crash: trying again")
		if _, err := poll(ctx, 10*pollInterval, func() bool { return false }); err != nil {
			return err
		}
	}
}

// args are the server's settings. They are given at each start and win over
// postgresql.conf; whoever wants others runs a server of their own.
func (s *Server) args(noSync bool) []string {
	durable := "on"
	if noSync {
		durable = "off"
	}
	args := []string{"-D", s.place.cluster}
	for _, setting := range []string{
		"listen_addresses=",
		"unix_socket_directories=" + s.socket,
		"unix_socket_permissions=0700",
		"port=" + port,
		"max_connections=120",
		"shared_buffers=128MB",
		"max_wal_size=512MB",
		"jit=off", // compiling costs more than our queries
		"timezone=UTC",
		"fsync=" + durable,
		"synchronous_commit=" + durable,
		"full_page_writes=" + durable,
		"logging_collector=off",
		"log_destination=stderr",
		"log_checkpoints=off", // on since 15, and half of the log
		"log_timezone=UTC",
		"lc_messages=C",
	} {
		args = append(args, "-c", setting)
	}
	return args
}

// ready waits until the server answers.
func (s *Server) ready(ctx context.Context) error {
	const bound = 30 * time.Second // it listens at once, and says so itself while it recovers
	listening := time.Now()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := s.answer(ctx)
		if err == nil {
			return nil
		}
		if isRecovering(err) {
			listening = time.Now()
		}
		if ctx.Err() == nil && (!notListening(err) && !isRecovering(err) || time.Since(listening) > bound) {
			return fmt.Errorf("connect to the new server: %w", err)
		}
		select {
		case <-tick.C:
		case <-s.proc.done:
			return fmt.Errorf("the server ended while starting (%s); the end of its log %s:\n%s", ending(s.proc.err), s.log, logTail(s.log, s.from))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// answer asks the server for an answer, and makes the database when it is missing.
func (s *Server) answer(ctx context.Context) error {
	// Only when the cluster is its: until then another could answer at its socket.
	text, err := os.ReadFile(filepath.Join(s.place.cluster, "postmaster.pid"))
	if err != nil {
		return err
	}
	if pid, ok := parsePID(text); !ok || pid != s.proc.cmd.Process.Pid {
		return fmt.Errorf("process %d has the cluster: %w", pid, fs.ErrNotExist)
	}
	err = execute(ctx, s.url(database), "select 1")
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == "3D000" { // invalid_catalog_name
		err = execute(ctx, s.url("postgres"), "create database "+pgx.Identifier{database}.Sanitize())
	}
	return err
}

func isRecovering(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == "57P03" // cannot_connect_now
}

func notListening(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

func execute(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

func size(f *os.File) int64 {
	fi, err := f.Stat()
	if err != nil {
		return 0
	}
	return fi.Size()
}

// globEscape escapes what a pattern would read as more than a letter.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

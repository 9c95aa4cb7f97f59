package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
)

// Config says where a private server lives and what it is started from.
type Config struct {
	Dir      string       // the folder of the cluster, made when missing; one process at a time may use it
	Binaries string       // the folder of postgres and initdb; empty: PATH, then the newest /usr/lib/postgresql/*/bin
	User     string       // whom a new cluster belongs to when the caller is root; empty: postgres, else nobody
	Logger   *slog.Logger // empty: silent
	NoSync   bool         // for tests: several times faster, and a power loss destroys the cluster
}

// Server is a running private PostgreSQL. Its methods may be called from any goroutine.
type Server struct {
	place    place
	bin      binaries
	proc     *process
	socket   string // the folder of the unix socket
	log      string // path of the log file
	from     int64  // where in the log file this server's lines begin
	lock     *lock
	stopping atomic.Bool
	done     chan struct{} // closed when the server has ended and the folder is free, after err is set
	err      error
}

// Start starts the server of cfg.Dir, making the cluster first when there is
// none, and returns when it answers. A server that a killed process left behind
// is stopped first; recovery from a crash may take as long as ctx allows. When
// Start fails, or ctx ends, nothing is left running.
//
// Errors to tell apart: [ErrNoBinaries], [ErrInUse], [ErrVersion].
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("private postgres: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, cfg Config) (_ *Server, err error) {
	if cfg.Dir == "" {
		return nil, errors.New("no folder given for the cluster")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if len(folders(cfg.Binaries)) == 0 { // said before anything is made
		_, err := findBinaries(ctx, cfg.Binaries, "")
		return nil, err
	}
	dir, err := makeFolder(cfg.Dir)
	if err != nil {
		return nil, err
	}
	lock, err := acquireLock(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.release())
		}
	}()

	p, err := settle(ctx, dir, cfg.User, cfg.Logger)
	if err != nil {
		return nil, err
	}
	bin, err := p.binaries(ctx, cfg.Binaries)
	if err != nil {
		return nil, err
	}
	s := &Server{place: p, bin: bin, lock: lock, log: filepath.Join(dir, "postgres.log"), done: make(chan struct{})}
	if s.socket, err = p.socketFolder(); err != nil {
		return nil, err
	}
	out, err := openLog(s.log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, out.Close()) }() // the server has its own copy
	p.removeUnfinished()
	if p.isNew {
		if err := s.initialise(ctx, out, cfg.NoSync); err != nil {
			return nil, err
		}
	}
	if err := s.launch(ctx, out, cfg); err != nil {
		return nil, err
	}
	go s.watch()
	return s, nil
}

// makeFolder makes dir and returns its one true path, by which everything else is named.
func makeFolder(dir string) (string, error) {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o755 // for the account that the server runs as
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return "", fmt.Errorf("make the folder: %w", err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("make the folder: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", fmt.Errorf("make the folder: %w", err)
	}
	return dir, nil
}

// watch waits for the end of the server and then frees what it held.
func (s *Server) watch() {
	<-s.proc.done
	if !s.stopping.Load() {
		s.err = fmt.Errorf("private postgres ended by itself (%s); the end of its log %s:\n%s", ending(s.proc.err), s.log, logTail(s.log, s.from))
	}
	if filepath.Dir(s.socket) != s.place.base {
		s.err = errors.Join(s.err, os.RemoveAll(s.socket))
	}
	s.err = errors.Join(s.err, s.lock.release())
	close(s.done)
}

// Done is closed when the server has ended, by [Server.Stop] or by itself.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err tells why the server ended by itself, with the last lines of its log. It
// is nil while the server runs and after [Server.Stop].
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Stop ends the server: transactions in progress are rolled back, everything
// committed is on disk. A server that has not ended after ten seconds, or when
// ctx ends, is ended at once, which Stop reports; the next start then recovers.
// Stop returns when the server is gone. It may be called again, also after the
// server ended by itself.
func (s *Server) Stop(ctx context.Context) error {
	s.stopping.Store(true)
	s.proc.signal(syscall.SIGINT)
	if s.proc.endsWithin(ctx, politeBound) {
		<-s.done
		return nil
	}
	s.proc.end(ctx)
	<-s.done
	return errors.New("private postgres did not stop in time and was ended at once: its next start recovers")
}

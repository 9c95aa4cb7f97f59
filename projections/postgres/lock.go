package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrInUse says that a living process uses the folder; the error names it.
var ErrInUse = errors.New("already in use")

// lock marks a folder as used by this process. It is the kernel's (flock), so it
// ends with the process however that ends; the file itself stays.
type lock struct{ f *os.File }

func acquireLock(ctx context.Context, dir string) (*lock, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the caller's own folder
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	// A process killed while it was forking leaves a child that has the
	// descriptor until it runs its program: a moment, in which nobody owns the folder.
	const moment = 2 * time.Second
	locked, waitErr := poll(ctx, moment, func() bool {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		return !errors.Is(err, syscall.EWOULDBLOCK)
	})
	switch {
	case waitErr != nil:
		return nil, errors.Join(waitErr, f.Close())
	case !locked:
		return nil, errors.Join(fmt.Errorf("%s is %w by %s", dir, ErrInUse, holder(path)), f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	name := fmt.Sprintf("process %d (%s), since %s\n", os.Getpid(), filepath.Base(os.Args[0]), time.Now().UTC().Format(time.RFC3339))
	if err := errors.Join(f.Truncate(0), writeAt(f, name)); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return &lock{f: f}, nil
}

// release frees the folder at once. Closing alone would not while a child that
// is just being forked still has a copy of the descriptor.
func (l *lock) release() error {
	return errors.Join(syscall.Flock(int(l.f.Fd()), syscall.LOCK_UN), l.f.Close())
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// holder reads who holds the lock; a holder that has not yet signed is just "another process".
func holder(path string) string {
	text, err := os.ReadFile(path) //nolint:gosec // the caller's own folder
	if name := strings.TrimSpace(string(text)); err == nil && name != "" {
		return name
	}
	return "another process"
}

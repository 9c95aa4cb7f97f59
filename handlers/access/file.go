package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// ErrNoKey says that no key has an id.
var ErrNoKey = errors.New("there is no such key")

// lockPoll is how often a writer looks whether the file of keys is free.
const lockPoll = 20 * time.Millisecond

// ReadKeys reads a file of keys; one that does not exist holds none.
func ReadKeys(path string) ([]Key, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the API keys: %w", err)
	}
	keys, err := ParseKeys(raw)
	if err != nil {
		return nil, fmt.Errorf("the API keys in %s cannot be used: %w", path, err)
	}
	return keys, nil
}

// AddKey adds a key to a file, which is made if need be.
func AddKey(ctx context.Context, path string, key Key) error {
	return change(ctx, path, func(keys []Key) ([]Key, error) {
		if slices.ContainsFunc(keys, func(k Key) bool { return k.ID == key.ID }) {
			return nil, fmt.Errorf("the id %s is taken by another key: try again", key.ID)
		}
		return append(keys, key), nil
	})
}

// RevokeKey marks a key of a file as revoked and returns it. Revoking it again changes nothing. Without a key of the id
// the error matches [ErrNoKey].
func RevokeKey(ctx context.Context, path, id string, at time.Time) (revoked Key, err error) {
	err = change(ctx, path, func(keys []Key) ([]Key, error) {
		i := slices.IndexFunc(keys, func(k Key) bool { return k.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("%w in %s: %s (kondate keys list shows them)", ErrNoKey, path, id)
		}
		if keys[i].Revoked.IsZero() {
			keys[i].Revoked = at.UTC().Truncate(time.Second)
		}
		revoked = keys[i]
		return keys, nil
	})
	return revoked, err
}

// change rewrites a file of keys, whole or not at all, while no other command does.
func change(ctx context.Context, path string, fn func([]Key) ([]Key, error)) error {
	return ChangeFile(ctx, path, func(raw []byte) ([]byte, error) {
		var keys []Key
		if raw != nil {
			var err error
			if keys, err = ParseKeys(raw); err != nil {
				return nil, fmt.Errorf("the API keys in %s cannot be used: %w", path, err)
			}
		}
		keys, err := fn(keys)
		if err != nil {
			return nil, err
		}
		if raw, err = json.MarshalIndent(keysDocument{keys}, "", "  "); err != nil {
			return nil, fmt.Errorf("encode the API keys: %w", err)
		}
		return append(raw, '\n'), nil
	})
}

// ChangeFile rewrites a file that says who may come in, whole or not at all, while no other command does. Fn gets nil if
// there is no file yet. The new one is readable by its owner only.
func ChangeFile(ctx context.Context, path string, fn func(raw []byte) ([]byte, error)) (err error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a rename would take the link's place
	}
	dir := filepath.Dir(path)
	lock := flock.New(dir, flock.SetFlag(os.O_RDONLY)) // of the folder: it needs no file of its own
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return fmt.Errorf("wait for others who change files in %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	raw, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if raw, err = fn(raw); err != nil {
		return err
	}
	if err := replaceFile(path, raw, os.Rename); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// replaceFile puts a file that only its owner can read in its place, by way of a name of its own.
func replaceFile(path string, content []byte, place func(from, to string) error) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // readable by the owner only
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // it is gone if all went well
	_, err = tmp.Write(content)
	err = errors.Join(err, giveAway(tmp, path), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	if err := place(tmp.Name(), path); err != nil {
		return err
	}
	folder, err := os.Open(dir) //nolint:gosec // of the file that the operator named
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// giveAway lets a file that root makes belong to whom the old one or else the folder belongs: the server may run as
// somebody else.
func giveAway(file *os.File, path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		info, err = os.Stat(filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		return file.Chown(int(owner.Uid), int(owner.Gid))
	}
	return nil
}

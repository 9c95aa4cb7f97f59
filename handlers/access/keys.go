package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Keys are the API keys that a server takes: those of a file, which may change at any time, and its own. It is safe for
// concurrent use.
type Keys struct {
	path   string
	own    []entry
	logger *slog.Logger

	mu      sync.Mutex  // guards the fields below
	entries []entry     // own and the file's
	seen    fs.FileInfo // the file as it was when it was looked at last; nil: it was not there
}

type entry struct {
	key    Key
	digest [sha256.Size]byte
}

// OpenKeys reads a file of keys and follows it from then on. A file that is not there holds none; one that cannot be
// used is an error. The server takes own keys besides.
func OpenKeys(path string, logger *slog.Logger, own ...Key) (*Keys, error) {
	entries, err := entriesOf(own)
	if err != nil {
		return nil, err
	}
	k := &Keys{path: path, own: entries, entries: entries, logger: logger}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refresh(); err != nil {
		return nil, err
	}
	if k.seen == nil {
		logger.Warn("there are no API keys yet: kondate keys create makes one", slog.String("file", path))
	}
	return k, nil
}

// Find returns whose key a secret is, if it is one that may be used at a time.
//
// All keys are compared, each in constant time and as hashes: how long it takes says nothing about a key, nor whether
// it was revoked or never existed. A thousand keys take about 40 µs.
func (k *Keys) Find(secret string, at time.Time) (Principal, bool) {
	sum := sha256.Sum256([]byte(secret))
	var (
		found Key
		ok    bool
	)
	entries := k.current()
	for i := range entries {
		if e := &entries[i]; subtle.ConstantTimeCompare(sum[:], e.digest[:]) == 1 {
			found, ok = e.key, e.key.Valid(at)
		}
	}
	if !ok {
		return Principal{}, false
	}
	return Principal{Tenant: found.Tenant, Role: found.Role, KeyID: found.ID}, true
}

// current returns the keys, read again if the file has changed. A file that cannot be used leaves them as they were.
func (k *Keys) current() []entry {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refresh(); err != nil {
		k.logger.Error("the API keys stay as they were: their file cannot be used", slog.Any("error", err))
	}
	return k.entries
}

// refresh reads the file if it is another one than it was. What is wrong with it is told once per change.
func (k *Keys) refresh() error {
	info, err := os.Stat(k.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		gone := k.seen != nil
		if k.seen = nil; gone {
			return fmt.Errorf("the file %s is gone: put it back, or restart the server to go on without its keys", k.path)
		}
		return nil
	case err != nil:
		if k.seen == nil {
			return fmt.Errorf("look at the API keys: %w", err)
		}
		k.seen = nil
		return fmt.Errorf("look at the API keys: %w", err)
	case k.seen != nil && os.SameFile(k.seen, info) && k.seen.ModTime().Equal(info.ModTime()) && k.seen.Size() == info.Size() && k.seen.Mode() == info.Mode():
		return nil
	}
	k.seen = info
	const writableByOthers = 0o022
	if info.Mode().Perm()&writableByOthers != 0 {
		return fmt.Errorf("others than its owner may write into %s, and so give themselves a key: chmod 600 %s", k.path, k.path)
	}
	keys, err := ReadKeys(k.path)
	if err != nil {
		return err
	}
	entries, err := entriesOf(keys)
	if err != nil {
		return err
	}
	k.entries = append(entries, k.own...)
	k.logger.Info("API keys read", slog.String("file", k.path), slog.Int("keys", len(keys)))
	return nil
}

func entriesOf(keys []Key) ([]entry, error) {
	entries := make([]entry, len(keys))
	for i, key := range keys {
		digest, err := key.digest()
		if err != nil {
			return nil, fmt.Errorf("API key %s: %w", key.ID, err)
		}
		entries[i] = entry{key, digest}
	}
	return entries, nil
}

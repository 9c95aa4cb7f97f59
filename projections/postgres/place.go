package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
)

// persistent is where a cluster lives that cannot live in the caller's folder.
const persistent = "/var/lib/kondate"

// place says where the parts of a cluster are and whose they are.
type place struct {
	account
	base    string // the folder around the cluster: Dir, or the one elsewhere that Dir/cluster links to
	cluster string
	isNew   bool // nothing is at cluster yet
}

// settle finds the cluster of dir, or decides where the new one goes.
func settle(ctx context.Context, dir, user string, log *slog.Logger) (place, error) {
	link := filepath.Join(dir, "cluster")
	fi, err := os.Lstat(link)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return settleNew(ctx, dir, user, log)
	case err != nil:
		return place{}, fmt.Errorf("look for a cluster: %w", err)
	case fi.Mode()&fs.ModeSymlink == 0:
		return settleOld(dir, link)
	}

	target, err := os.Readlink(link)
	if err != nil {
		return place{}, fmt.Errorf("look for a cluster: %w", err)
	}
	base := filepath.Dir(target)
	if _, err := os.Stat(base); errors.Is(err, fs.ErrNotExist) {
		log.WarnContext(ctx, "the private Postgres is gone from the folder it had to live in: beginning an empty one", "folder", base)
		if err := os.Remove(link); err != nil {
			return place{}, fmt.Errorf("forget the lost cluster: %w", err)
		}
		return settleNew(ctx, dir, user, log)
	}
	if err := claim(base, dir); err != nil {
		return place{}, err
	}
	if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) { // a crash came before the first initdb was done
		acct, err := newAccount(user)
		return place{account: acct, base: base, cluster: target, isNew: true}, err
	}
	return settleOld(base, target)
}

func settleOld(base, cluster string) (place, error) {
	fi, err := os.Stat(cluster)
	if err != nil {
		return place{}, fmt.Errorf("look for a cluster: %w", err)
	}
	acct, err := ownerOf(cluster, fi)
	if err != nil {
		return place{}, err
	}
	at, err := acct.blocked(cluster)
	if err != nil {
		return place{}, err
	}
	if at != "" {
		return place{}, fmt.Errorf("user %s, who owns the cluster %s, cannot enter %s: chmod o+x %s", acct.name, cluster, at, at)
	}
	return place{account: acct, base: base, cluster: cluster}, nil
}

func settleNew(ctx context.Context, dir, user string, log *slog.Logger) (place, error) {
	acct, err := newAccount(user)
	if err != nil {
		return place{}, err
	}
	at, err := acct.blocked(dir)
	if err != nil {
		return place{}, err
	}
	base := dir
	if at != "" {
		if base, err = settleElsewhere(dir, acct); err != nil {
			return place{}, fmt.Errorf("user %s cannot enter %s, and no other folder will do: %w", acct.name, at, err)
		}
		if filepath.Dir(base) == persistent {
			log.InfoContext(ctx, "the private Postgres lives outside of the data folder", "folder", base, "user", acct.name, "cannot_enter", at)
		} else {
			log.WarnContext(ctx, "the private Postgres lives in the temporary folder and is lost with it, to be built again from the log",
				"folder", base, "user", acct.name, "cannot_enter", at)
		}
	}
	return place{account: acct, base: base, cluster: filepath.Join(base, "cluster"), isNew: true}, nil
}

// settleElsewhere makes a folder that the account can enter and links it from dir.
func settleElsewhere(dir string, acct account) (string, error) {
	var failed []error
	for _, parent := range []string{persistent, os.TempDir()} {
		base, err := makeBase(parent, dir, acct)
		if err == nil {
			return base, nil
		}
		failed = append(failed, err)
	}
	return "", errors.Join(failed...)
}

func makeBase(parent, dir string, acct account) (base string, err error) {
	if err := os.MkdirAll(parent, 0o755); err != nil { //nolint:gosec // others must be able to pass
		return "", err
	}
	if at, err := acct.blocked(parent); err != nil || at != "" {
		return "", errors.Join(err, fmt.Errorf("user %s cannot enter %s", acct.name, at))
	}
	if base, err = os.MkdirTemp(parent, "kondate-"); err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(base))
		}
	}()
	if err := os.Chmod(base, 0o711); err != nil { //nolint:gosec // others must be able to pass
		return "", err
	}
	if err := os.WriteFile(filepath.Join(base, "owner"), []byte(dir), 0o600); err != nil {
		return "", err
	}
	if err := os.Symlink(filepath.Join(base, "cluster"), filepath.Join(dir, "cluster")); err != nil {
		return "", err
	}
	return base, syncFolder(dir)
}

// claim makes sure that base belongs to dir alone: copying a data folder copies
// the link, and two folders must never share a cluster. A folder that was moved keeps its own.
func claim(base, dir string) error {
	path := filepath.Join(base, "owner")
	owner, err := os.ReadFile(path) //nolint:gosec // written by makeBase
	if err != nil {
		return fmt.Errorf("see whose cluster %s is: %w", base, err)
	}
	if string(owner) == dir {
		return nil
	}
	if target, err := os.Readlink(filepath.Join(string(owner), "cluster")); err == nil && filepath.Dir(target) == base {
		return fmt.Errorf("%s is a copy of %s, which the cluster in %s belongs to: remove %s to begin an empty one",
			dir, owner, base, filepath.Join(dir, "cluster"))
	}
	if err := os.WriteFile(path, []byte(dir), 0o600); err != nil {
		return fmt.Errorf("take over the cluster in %s: %w", base, err)
	}
	return nil
}

// socketName is the socket's file name, which PostgreSQL derives from the port.
const socketName = ".s.PGSQL." + port

// socketFolder makes the folder of the unix socket. The path of a socket is
// limited (107 bytes on Linux), and few letters mean nothing special to anybody
// who has to read it. Where the cluster's own folder will not do, one with a short
// name below the temporary folder does, always the same for the same cluster.
func (p place) socketFolder() (folder string, err error) {
	room := len(syscall.RawSockaddrUnix{}.Path) - 1 - len("/"+socketName) // one byte ends the path
	folder = filepath.Join(p.base, "socket")
	if len(folder) > room || !plain(folder) {
		sum := sha256.Sum256([]byte(p.cluster))
		name := "kondate-" + hex.EncodeToString(sum[:8])
		folder = filepath.Join(os.TempDir(), name)
		if at, err := p.blocked(os.TempDir()); err != nil || at != "" || len(folder) > room || !plain(folder) {
			folder = filepath.Join("/tmp", name)
		}
	}
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make the socket folder: %w", err)
	}
	// Anybody may have made a folder of that name below /tmp, and who owns it may connect.
	fi, err := os.Lstat(folder)
	if err != nil {
		return "", fmt.Errorf("make the socket folder: %w", err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !fi.IsDir() || !ok || (st.Uid != p.uid && st.Uid != self().uid) {
		return "", fmt.Errorf("the socket folder %s must be a folder of user %s, and is not: remove it", folder, p.name)
	}
	if err := errors.Join(os.Chmod(folder, 0o700), p.give(folder)); err != nil { //nolint:gosec // a folder needs its x
		return "", fmt.Errorf("make the socket folder: %w", err)
	}
	return folder, nil
}

// syncFolder makes the names in a folder survive a power loss.
func syncFolder(path string) error {
	f, err := os.Open(path) //nolint:gosec // a folder of ours
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

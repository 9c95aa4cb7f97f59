package postgres

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// account is the system user that the server runs as.
type account struct {
	name     string
	uid, gid uint32
}

// self is the caller's own account.
func self() account {
	return account{name: userName(os.Geteuid()), uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())} //nolint:gosec // ids are 32 bits wide
}

// newAccount chooses who a new cluster belongs to: the caller, unless that is
// root, as which PostgreSQL refuses to run.
func newAccount(wanted string) (account, error) {
	if os.Geteuid() != 0 {
		return self(), nil
	}
	names := []string{"postgres", "nobody"}
	if wanted != "" {
		names = []string{wanted}
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
			continue
		}
		if err != nil {
			return account{}, fmt.Errorf("look up user %s: %w", name, err)
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return account{}, fmt.Errorf("look up user %s: %w", name, err)
		}
		if uid == 0 {
			return account{}, fmt.Errorf("user %s is root, as which PostgreSQL refuses to run", name)
		}
		return account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return account{}, fmt.Errorf("root cannot run PostgreSQL, and there is no user %q to run it as", names)
}

// ownerOf returns the account that an existing cluster belongs to, when this
// process can run it as that.
func ownerOf(cluster string, fi fs.FileInfo) (account, error) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return account{}, fmt.Errorf("%s: its owner is not known on this system", cluster)
	}
	owner := account{name: userName(int(st.Uid)), uid: st.Uid, gid: st.Gid}
	switch euid := os.Geteuid(); {
	case st.Uid == 0:
		return account{}, fmt.Errorf("%s belongs to root, as which PostgreSQL refuses to run: chown it to another user", cluster)
	case euid != 0 && st.Uid != uint32(euid): //nolint:gosec // ids are 32 bits wide
		return account{}, fmt.Errorf("%s belongs to user %s: start as that user or as root", cluster, owner.name)
	}
	return owner, nil
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

// credential is what a child process of the account needs: nothing for the caller's own.
func (a account) credential() *syscall.Credential {
	if a.uid == uint32(os.Geteuid()) { //nolint:gosec // ids are 32 bits wide
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

// give hands path over to the account.
func (a account) give(path string) error {
	if a.credential() == nil {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// blocked returns the first folder on the way to path, path included, that the
// account may not pass, or "". Without this look the kernel's refusal appears as
// "fork/exec initdb: permission denied".
func (a account) blocked(path string) (string, error) {
	if a.credential() == nil {
		return "", nil
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("look for the way to %s: %w", path, err)
	}
	var way []string
	for p := target; ; p = filepath.Dir(p) {
		way = append(way, p)
		if p == filepath.Dir(p) {
			break
		}
	}
	for _, folder := range slices.Backward(way) {
		fi, err := os.Stat(folder)
		if err != nil {
			return "", fmt.Errorf("look for the way to %s: %w", path, err)
		}
		if !a.mayEnter(fi) {
			return folder, nil
		}
	}
	return "", nil
}

func (a account) mayEnter(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case ok && st.Uid == a.uid:
		return fi.Mode()&0o100 != 0
	case ok && st.Gid == a.gid:
		return fi.Mode()&0o010 != 0
	default:
		return fi.Mode()&0o001 != 0
	}
}

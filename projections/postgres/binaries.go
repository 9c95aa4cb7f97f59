package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrNoBinaries says that no PostgreSQL server is installed where it was looked for.
var ErrNoBinaries = errors.New("no PostgreSQL server found on this machine: install one (apt install postgresql) or set KONDATE_DATABASE_URL to a running one")

// ErrVersion says that a cluster was made by another major version than the
// installed binaries are. Nothing was changed.
var ErrVersion = errors.New("another major version made this cluster")

// binaries is a folder that holds postgres and initdb of one version.
type binaries struct {
	folder string
	major  string // "15"
}

func (b binaries) path(name string) string { return filepath.Join(b.folder, name) }

// findBinaries returns the first installation of the wanted major version, or
// simply the first when major is empty. A distribution installs versions side by
// side, so an upgrade of the system need not strand an existing cluster.
func findBinaries(ctx context.Context, folder, major string) (binaries, error) {
	var found []binaries
	for _, f := range folders(folder) {
		v, err := majorVersion(ctx, f)
		if err != nil {
			return binaries{}, err
		}
		if major == "" || v == major {
			return binaries{folder: f, major: v}, nil
		}
		found = append(found, binaries{folder: f, major: v})
	}
	switch {
	case len(found) > 0:
		return binaries{}, fmt.Errorf("%w: it needs PostgreSQL %s, the binaries in %s are %s; install that version, or move the cluster away to begin an empty one",
			ErrVersion, major, found[0].folder, found[0].major)
	case folder != "":
		return binaries{}, fmt.Errorf("%s holds no postgres and initdb: %w", folder, ErrNoBinaries)
	default:
		return binaries{}, ErrNoBinaries
	}
}

// folders lists the folders that hold a server, best first.
func folders(given string) []string {
	candidates := []string{given}
	if given == "" {
		candidates = distroFolders()
		// A link in /usr/local/bin has no initdb of its version beside it, its target has.
		if p, err := exec.LookPath("postgres"); err == nil {
			if p, err = filepath.EvalSymlinks(p); err == nil {
				candidates = slices.Insert(candidates, 0, filepath.Dir(p))
			}
		}
	}
	var out []string
	for _, c := range candidates {
		abs, err := filepath.Abs(c)
		if err != nil || slices.Contains(out, abs) {
			continue
		}
		if executable(filepath.Join(abs, "postgres")) && executable(filepath.Join(abs, "initdb")) {
			out = append(out, abs)
		}
	}
	return out
}

// distroFolders lists Debian's folder per version, newest first.
func distroFolders() []string {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well-formed, its only error
	version := func(dir string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir))) // 0 sorts last
		return n
	}
	slices.SortFunc(dirs, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
	return dirs
}

func executable(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
}

// majorVersion asks the binary: "postgres (PostgreSQL) 15.18 (Debian …)" is "15".
func majorVersion(ctx context.Context, folder string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(folder, "postgres"), "--version") //nolint:gosec // running the installed server is the point
	cmd.Env = childEnv()
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "", context.Cause(ctx) // and not that it was killed
	}
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", cmd.Path, err)
	}
	major, ok := parseMajor(string(out))
	if !ok {
		return "", fmt.Errorf("ask %s for its version: it answered %q", cmd.Path, bytes.TrimSpace(out))
	}
	return major, nil
}

func parseMajor(line string) (string, bool) {
	_, rest, ok := strings.Cut(line, "(PostgreSQL) ")
	if !ok {
		return "", false
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	return rest[:end], end > 0
}

package main

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"

	"kondate/handlers/access"
)

const (
	// otherFiles is what a process has open besides streams and connections to Postgres: the log's blocks, sockets.
	otherFiles = 512
	// minFree is the free disk below which nothing goes on for long.
	minFree = 1 << 30
	// expiryWarning is how long before its end a certificate or key is told about.
	expiryWarning = 21 * 24 * time.Hour
)

// checkOpenFiles compares the limit of open files with what the settings allow: each stream is one.
func (d *doctor) checkOpenFiles() {
	limit, whose := openFiles(d.found.PID)
	need := uint64(d.cfg.SSE.MaxConnections+d.cfg.Database.PoolSize+d.cfg.Database.MaxOverflow) + otherFiles //nolint:gosec // validated to be positive
	d.expect(limit >= need, levelProblem, "host.open_files", "raise it (ulimit -n, LimitNOFILE of systemd, ulimits of Compose), or lower sse.max_connections",
		"%s may open %d files, the settings allow for %d", whose, limit, need)
}

// openFiles is the limit of a process, of this one if it cannot be read. Go raises the soft limit to the hard one.
func openFiles(pid int) (limit uint64, whose string) {
	if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid)); pid > 0 && err == nil {
		for line := range strings.Lines(string(raw)) {
			rest, ok := strings.CutPrefix(line, "Max open files")
			if soft := strings.Fields(rest); ok && len(soft) > 0 {
				if n, err := strconv.ParseUint(soft[0], 10, 64); err == nil {
					return n, "the server"
				}
			}
		}
	}
	var own syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &own); err != nil {
		return 0, "a process whose limit cannot be read"
	}
	return own.Cur, "a process started from here"
}

// checkDisk looks at the disk under the data dir, which holds the embedded log and the private Postgres.
func (d *doctor) checkDisk() {
	const check = "host.disk"
	if d.external() {
		d.ok(check, "log and rows are not on this disk: both stores are your own")
		return
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(d.cfg.DataDir, &disk); err != nil {
		d.add(levelWarning, check, "name the data dir of the server with --data-dir", "%s: %v", d.cfg.DataDir, err)
		return
	}
	d.free = disk.Bavail * uint64(disk.Bsize) //nolint:gosec // a block has a positive size
	d.expect(d.free >= minFree, levelProblem, check, "make room: Postgres with a full disk writes nothing, and a broker with one takes nothing until it is started anew",
		"%s free under %s", humanize.IBytes(d.free), d.cfg.DataDir)
}

// checkAuth looks at who may use the HTTP server.
func (d *doctor) checkAuth() {
	mode := d.cfg.Auth.Mode
	if d.found.AuthMode != "" {
		mode = d.found.AuthMode
	}
	if mode == authNone {
		d.ok("auth.mode", "none: whoever reaches %s may do everything; only this machine does", cmp.Or(d.found.HTTPURL, d.cfg.HTTP.Addr))
		return
	}
	d.ok("auth.mode", "%s", mode)
	path := keysPath(d.cfg.Auth, d.cfg.DataDir)
	if d.found.KeysFile != "" {
		path = d.found.KeysFile
	}
	d.checkKeys(path)
	if d.cfg.Auth.TokenSecret == "" && d.cfg.NATS.URL != "" {
		d.add(levelWarning, "auth.token_secret", "set auth.token_secret, the same for all processes", "is each process's own: the address of a stream works at one of them only")
	}
}

func (d *doctor) checkKeys(path string) {
	const check = "auth.keys_file"
	keys, err := access.ReadKeys(path)
	if err != nil {
		d.add(levelProblem, check, "put a good copy in its place; a running server keeps the keys that it has, one that starts refuses", "%v", err)
		return
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o022 != 0 {
		d.add(levelProblem, check, "chmod 600 "+path, "others may write %s, so the server does not read it", path)
		return
	}
	var usable int
	var ending []string
	for _, k := range keys {
		switch {
		case !k.Revoked.IsZero() || (!k.Expires.IsZero() && !d.now().Before(k.Expires)):
		default:
			usable++
			if !k.Expires.IsZero() && k.Expires.Sub(d.now()) < expiryWarning {
				ending = append(ending, fmt.Sprintf("%s (%s) until %s", k.ID, k.Name, k.Expires.Format(time.DateOnly)))
			}
		}
	}
	switch {
	case usable == 0:
		d.add(levelProblem, check, "make one with kondate keys create", "%s holds no key that is valid: nobody gets in", path)
	case len(ending) > 0:
		d.add(levelWarning, check, "make new ones with kondate keys create, and give them to who uses these", "these keys end soon: %s", strings.Join(ending, ", "))
	default:
		d.ok(check, "%d valid keys in %s", usable, path)
	}
}

// checkCertificateFile looks at the certificates in a file that a setting names. Each of a chain has to be good; of CAs one
// is enough, for a file may hold the old one beside the new.
func (d *doctor) checkCertificateFile(setting, path string) {
	raw, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		d.add(levelProblem, setting, "put the file in its place, readable by who runs the server", "%v", err)
		return
	}
	var all []*x509.Certificate
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			continue // a key beside it, say
		}
		all = append(all, certificate)
	}
	if len(all) == 0 {
		d.add(levelProblem, setting, "put a certificate in PEM there", "%s holds none", path)
		return
	}
	slices.SortFunc(all, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	first, last := all[0], all[len(all)-1]
	if now := d.now(); strings.HasSuffix(setting, "tls_ca") && !first.NotAfter.After(now) && last.NotAfter.After(now) {
		d.add(levelWarning, setting, "take the CA out that has ended, when nobody shows a certificate of it any more",
			"one of %d ended on %s, another one is valid until %s", len(all), first.NotAfter.Format(time.DateOnly), last.NotAfter.Format(time.DateOnly))
		return
	}
	d.checkCertificate(setting, first)
}

// checkCertificate looks at how long a server's certificate is good.
func (d *doctor) checkCertificate(check string, certificate *x509.Certificate) {
	left := certificate.NotAfter.Sub(d.now())
	l := levelWarning
	if left <= 0 {
		l = levelProblem
	}
	d.expect(left >= expiryWarning, l, check, "renew it", "valid until %s", certificate.NotAfter.Format(time.DateOnly))
}

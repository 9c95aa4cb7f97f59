//go:build linux

package torture_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"
)

const (
	// archiveEvery lies between two archives of a campaign.
	archiveEvery = 4 * time.Second
	// archiveAge is how long a session has been still that an archive takes out of the log: operators ask for the newest ones.
	archiveAge = 10 * time.Second
	// archiveKilled is when an archive that is killed is killed, at the latest.
	archiveKilled = 3 * time.Second
)

// archives is the folder of what left the log.
func (f *fleet) archives() string { return filepath.Join(f.dir, "archives") }

// archive takes old sessions out of the log, as an operator's timer does. It is killed when ctx ends.
func (f *fleet) archive(ctx context.Context, path string) error {
	return f.operate(ctx, path, "archive", "--older-than", archiveAge.String(), "--dir", f.archives())
}

// operate runs a command of the program on the log and the rows, past every link. It is killed when ctx ends.
func (f *fleet) operate(ctx context.Context, path string, args ...string) error {
	urls := make([]string, len(f.brokers))
	for i, b := range f.brokers {
		urls[i] = "nats://" + b.addr
	}
	cmd := exec.CommandContext(ctx, path, append(args, "--data-dir", filepath.Join(f.dir, "operator"),
		"--nats-url", strings.Join(urls, ","), "--nats-replicas", strconv.Itoa(len(f.brokers)), "--nats-max-bytes", strconv.Itoa(logBytes), "--database-url", databaseURL(f.db.addr))...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := onThread()(cmd.Start); err != nil {
		return fmt.Errorf("%v: %w", args, err)
	}
	err := cmd.Wait()
	book, openErr := os.OpenFile(filepath.Join(f.dir, "operator.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if openErr == nil {
		_, openErr = fmt.Fprintf(book, "%s %v: %v\n%s", time.Now().Format(time.TimeOnly), args, err, said.Bytes())
		openErr = errors.Join(openErr, book.Close())
	}
	if err != nil {
		err = fmt.Errorf("%v: %w: %s", args, err, said.Bytes())
	}
	return errors.Join(err, openErr)
}

// archived counts the archives of a campaign.
type archived struct{ whole, killed, vain int }

// archiveOn archives again and again until ctx ends. Every third archive is killed on its way; one is in vain
// that finds the log or the rows away, or a session erased meanwhile. What would stop all of them is found by the last one.
func (c *campaign) archiveOn(ctx context.Context, path string) (n archived) {
	r := rand.New(rand.NewPCG(*seed, 1))
	for {
		select {
		case <-time.After(archiveEvery):
		case <-ctx.Done():
			return n
		}
		one, cancel := context.WithCancel(ctx)
		if r.IntN(3) == 0 {
			one, cancel = context.WithTimeout(ctx, time.Duration(r.Int64N(int64(archiveKilled))))
		}
		err := c.archive(one, path)
		switch {
		case one.Err() != nil:
			n.killed++
		case err != nil:
			n.vain++
		default:
			n.whole++
		}
		cancel()
	}
}

// withArchived adds to the log what archives have taken out of it, of sessions that were not erased since. What both have has
// to be the same.
func (ev *evidence) withArchived(dir string, taken map[key]bool) error {
	inLog := make(map[uint64]logged, len(ev.log))
	erased := map[key]bool{}
	for _, m := range ev.log {
		inLog[m.Seq] = m
		if e := decode(m); e.typ == "menu.erased" && e.state == readable {
			erased[e.key] = true
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "kondate-*.ndjson.zst"))
	if err != nil {
		return err
	}
	for _, file := range files {
		err := readArchive(file, func(m logged) error {
			k := decode(m).key
			held, still := inLog[m.Seq]
			switch {
			case still && (held.Subject != m.Subject || !bytes.Equal(held.Data, m.Data) || !reflect.DeepEqual(held.Header, m.Header)):
				return fmt.Errorf("event %d is another one in the log", m.Seq)
			case !still && taken[k] && !erased[k]:
				inLog[m.Seq] = m
				ev.log = append(ev.log, m)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("archive %s: %w", file, err)
		}
	}
	slices.SortFunc(ev.log, func(a, b logged) int { return cmp.Compare(a.Seq, b.Seq) })
	return nil
}

// readArchive reads a file of an archive: lines of JSON, compressed with zstd.
func readArchive(name string, take func(logged) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was read
	zip, err := zstd.NewReader(file)
	if err != nil {
		return err
	}
	defer zip.Close()
	lines := bufio.NewScanner(zip)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var line struct {
			Seq     uint64              `json:"seq"`
			Subject string              `json:"subject"`
			Time    time.Time           `json:"time"`
			Header  map[string][]string `json:"header"`
			Data    json.RawMessage     `json:"data"` // the body, if it is JSON on one line
			Body    []byte              `json:"body"` // or in base64
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return err
		}
		if line.Data != nil {
			line.Body = line.Data
		}
		if err := take(logged{line.Seq, line.Subject, line.Time, line.Header, line.Body}); err != nil {
			return err
		}
	}
	return lines.Err()
}

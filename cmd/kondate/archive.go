package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/projections"
	"kondate/streams"
)

type archiveCommand struct {
	Storage `embed:""`

	OlderThan time.Duration `default:"720h" help:"Archive sessions that are closed and whose last event is older than this."`
	Dir       string        `placeholder:"DIR" type:"path" help:"Folder of the archives; empty: archive in the data dir."`
	DryRun    bool          `help:"Only say what would be archived."`
	JSON      bool          `help:"Print JSON."`
}

// Help is shown below the flags.
func (archiveCommand) Help() string {
	return "The sessions' events are exported to a file, the file is read back and compared with the log and with history, and then they leave the log, " +
		"which has room again. Rows and history keep them.\n\nExample: kondate archive --older-than 720h --dir /backup/kondate"
}

// archiveReport is what an archive holds; it stands beside it as its manifest.
type archiveReport struct {
	File     string    `json:"file,omitempty"`
	Sessions int       `json:"sessions"`
	Events   int       `json:"events"`
	FirstSeq uint64    `json:"first_seq"`
	LastSeq  uint64    `json:"last_seq"`
	Stream   string    `json:"stream"`
	SHA256   string    `json:"sha256,omitempty"`
	MadeAt   time.Time `json:"made_at"`

	Kept  int    `json:"-"` // sessions that moved on meanwhile and stay in the log
	Freed uint64 `json:"-"` // bytes of the log
}

// Run archives.
func (c archiveCommand) Run(ctx context.Context, env environment) error {
	if c.OlderThan < 0 {
		return usage(fmt.Errorf("--older-than %s is below 0", c.OlderThan))
	}
	if c.Dir == "" {
		c.Dir = filepath.Join(c.DataDir, "archive")
	}
	return beside(ctx, env, c.Storage, func(a *app) error {
		store, _, err := a.openStore("archive")
		if err != nil {
			return err
		}
		x := archiver{app: a, store: store, history: projections.NewQueries(a.pool), before: time.Now().Add(-c.OlderThan), dir: c.Dir}
		report, err := x.run(ctx, c.DryRun)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(env.stdout, map[string]any{"archive": report, "kept": report.Kept, "freed_bytes": report.Freed, "dry_run": c.DryRun})
		}
		switch {
		case report.Sessions == 0:
			fmt.Fprintf(env.stdout, "No closed session has been still for %s: nothing to archive.\n", c.OlderThan)
		case c.DryRun:
			fmt.Fprintf(env.stdout, "%d sessions with %d events would be archived.\n", report.Sessions, report.Events)
		default:
			fmt.Fprintf(env.stdout, "%d sessions with %d events are in %s and out of the log: %s are free again. Rows and history keep them.\n",
				report.Sessions-report.Kept, report.Events, report.File, humanize.IBytes(report.Freed))
			if report.Kept > 0 {
				fmt.Fprintf(env.stdout, "%d sessions moved on meanwhile and stay in the log.\n", report.Kept)
			}
		}
		return nil
	})
}

// archivePage is how many sessions are looked for at once.
const archivePage = 500

// archiver is one run of the command.
type archiver struct {
	*app

	store   *eventstore.JetStream
	history *projections.Queries
	before  time.Time
	dir     string

	sessions []projections.Archived
	report   archiveReport
}

func (x *archiver) run(ctx context.Context, dryRun bool) (r archiveReport, err error) {
	x.report.MadeAt = time.Now().UTC()
	if x.report.Stream, err = streams.Identity(ctx, x.js); err != nil {
		return r, err
	}
	if dryRun {
		err := x.export(ctx, func(eventstore.Entry) error { return nil })
		return x.report, err
	}
	if err := x.write(ctx); err != nil || x.report.Sessions == 0 {
		return x.report, err
	}
	if err := x.verify(ctx); err != nil {
		return x.report, fmt.Errorf("the archive %s was written and nothing was taken out of the log: %w", x.report.File, err)
	}
	before, _, err := x.store.Size(ctx)
	if err != nil {
		return x.report, err
	}
	for _, s := range x.sessions {
		if err := x.retire(ctx, s); err != nil {
			return x.report, err
		}
	}
	after, _, err := x.store.Size(ctx)
	x.report.Freed = before - min(before, after)
	return x.report, err
}

// export hands every event to archive to write, after it was compared with its copy in history.
func (x *archiver) export(ctx context.Context, write func(eventstore.Entry) error) error {
	for last := (menu.Key{}); ; {
		keys, err := projections.Archivable(ctx, x.pool, x.before, last, archivePage)
		if err != nil || len(keys) == 0 {
			return err
		}
		for _, key := range keys {
			entries, err := x.store.Load(ctx, key)
			if err != nil {
				return err
			}
			at, err := x.history.Checkpoint(ctx)
			if err != nil {
				return err
			}
			if len(entries) == 0 || entries[len(entries)-1].Seq > at {
				continue // it has moved on: the rows do not know yet
			}
			if err := x.history.Holds(ctx, key, entries); err != nil {
				return err
			}
			for _, e := range entries {
				if err := write(e); err != nil {
					return err
				}
			}
			x.count(key, entries)
		}
		last = keys[len(keys)-1]
	}
}

func (x *archiver) count(key menu.Key, entries []eventstore.Entry) {
	if len(entries) == 0 {
		return
	}
	s := projections.Archived{Key: key, FirstSeq: entries[0].Seq, LastSeq: entries[len(entries)-1].Seq, Events: len(entries)}
	x.sessions = append(x.sessions, s)
	r := &x.report
	if r.Sessions == 0 || s.FirstSeq < r.FirstSeq {
		r.FirstSeq = s.FirstSeq
	}
	r.LastSeq = max(r.LastSeq, s.LastSeq)
	r.Sessions, r.Events = r.Sessions+1, r.Events+len(entries)
}

// write makes the archive and its manifest, whole or not at all.
func (x *archiver) write(ctx context.Context) error {
	if err := os.MkdirAll(x.dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the archives: %w", err)
	}
	name := filepath.Join(x.dir, "kondate-"+x.report.MadeAt.Format("20060102T150405.000000Z")+".ndjson.zst")
	to, err := openDestination(name, "", nil)
	if err != nil {
		return err
	}
	defer to.drop()
	w, err := eventstore.NewArchiveWriter(to.out)
	if err != nil {
		return err
	}
	if err := x.export(ctx, w.Write); err != nil {
		return err
	}
	if x.report.SHA256, err = w.Close(); err != nil || x.report.Sessions == 0 {
		return err
	}
	if err := to.keep(); err != nil {
		return err
	}
	x.report.File = name
	return x.writeManifest(name + ".json")
}

func (x *archiver) writeManifest(name string) error {
	manifest, err := openDestination(name, "", nil)
	if err != nil {
		return err
	}
	defer manifest.drop()
	encoder := json.NewEncoder(manifest.out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(x.report); err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	if err := manifest.keep(); err != nil {
		return err
	}
	folder, err := os.Open(x.dir)
	if err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	return errors.Join(folder.Sync(), folder.Close()) // the names of the files, too
}

// verify reads the archive back and holds it against the log, event by event.
func (x *archiver) verify(ctx context.Context) error {
	file, err := os.Open(x.report.File)
	if err != nil {
		return fmt.Errorf("read the archive back: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	sum := sha256.New()
	archive := io.TeeReader(file, sum)
	var held []eventstore.Entry // of one session, what is still to come
	for e, err := range eventstore.ReadArchive(archive) {
		if err != nil {
			return err
		}
		if len(held) == 0 {
			if held, err = x.store.Load(ctx, e.Key); err != nil {
				return err
			}
		}
		if len(held) == 0 || !held[0].Same(e) {
			return fmt.Errorf("event %d of session %s is not in the archive as it is in the log", e.Seq, e.Key)
		}
		held = held[1:]
	}
	if _, err := io.Copy(io.Discard, archive); err != nil {
		return fmt.Errorf("read the archive back: %w", err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != x.report.SHA256 {
		return fmt.Errorf("its SHA-256 is %s, written was %s", got, x.report.SHA256)
	}
	return nil
}

// retire takes one session out of the log, unless it has moved on.
func (x *archiver) retire(ctx context.Context, s projections.Archived) error {
	s.File = x.report.File
	if err := projections.MarkArchived(ctx, x.pool, s); err != nil {
		return err
	}
	err := x.store.Retire(ctx, s.Key, s.LastSeq)
	if errors.Is(err, eventstore.ErrMoved) {
		x.report.Kept++
		return projections.UnmarkArchived(ctx, x.pool, s.Key)
	}
	return err
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sync/errgroup"

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
	return "The sessions' events are exported to a file, each is compared with its copy in history, the file is read back, and then they leave the log, " +
		"which has room again. Rows and history keep them. What an archive that was stopped has begun is finished first.\n\nExample: kondate archive --older-than 720h --dir /backup/kondate"
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

	Finished int    `json:"-"` // sessions that an archive before this one had begun to take out of the log
	Kept     int    `json:"-"` // sessions that moved on meanwhile and stay in the log
	Freed    uint64 `json:"-"` // bytes of the log
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
		x := archiver{app: a, store: store, rows: projections.NewOperations(a.pool, eventstore.Unopened{Log: store}, a.projectorConfig()), before: time.Now().Add(-c.OlderThan), dir: c.Dir}
		report, err := x.run(ctx, c.DryRun)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(env.stdout, map[string]any{"archive": report, "finished": report.Finished, "kept": report.Kept, "freed_bytes": report.Freed, "dry_run": c.DryRun})
		}
		if report.Finished > 0 {
			fmt.Fprintf(env.stdout, "%d sessions that an archive before this one was taking out of the log when it was stopped are out of it now.\n", report.Finished)
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

// archiver is one run of the command.
type archiver struct {
	*app

	store  *eventstore.JetStream
	rows   *projections.Operations
	before time.Time
	dir    string

	report archiveReport
}

// archiveAtOnce is how many sessions leave the log at once: each waits for the disk, and many can wait together.
const archiveAtOnce = 4

// rest waits a third as long as the work before took: appends wait while events leave the log.
func rest(ctx context.Context, worked time.Duration) error {
	select {
	case <-time.After(worked / 3):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (x *archiver) run(ctx context.Context, dryRun bool) (r archiveReport, err error) {
	x.report.MadeAt = time.Now().UTC()
	if x.report.Stream, err = streams.Identity(ctx, x.js); err != nil {
		return r, err
	}
	if dryRun {
		_, err := x.export(ctx, func(eventstore.Entry) error { return nil })
		return x.report, err
	}
	if err := x.finish(ctx); err != nil {
		return x.report, fmt.Errorf("take out of the log what an archive before this one left there: %w", err)
	}
	sessions, sums, err := x.write(ctx)
	if err != nil || len(sessions) == 0 {
		return x.report, err
	}
	if err := x.check(sums); err != nil {
		return x.report, fmt.Errorf("the archive %s was written and nothing was taken out of the log: %w", x.report.File, err)
	}
	before, _, err := x.store.Size(ctx)
	if err != nil {
		return x.report, err
	}
	x.report.Kept, err = x.retire(ctx, sessions, func(ctx context.Context, s projections.Archived) (moved bool, err error) {
		s.File = x.report.File
		if err := projections.MarkArchived(ctx, x.pool, s); err != nil {
			return false, err
		}
		return x.leave(ctx, s)
	})
	if err != nil {
		return x.report, err
	}
	after, _, err := x.store.Size(ctx)
	x.report.Freed = before - min(before, after)
	return x.report, err
}

// export hands every event to archive to write, and counts them.
func (x *archiver) export(ctx context.Context, write func(eventstore.Entry) error) ([]projections.Archived, error) {
	r := &x.report
	sessions, err := x.rows.Archivable(ctx, x.before, func(e eventstore.Entry) error {
		if r.Events++; r.Events == 1 {
			r.FirstSeq = e.Seq
		}
		r.LastSeq = e.Seq
		return write(e)
	})
	r.Sessions = len(sessions)
	return sessions, err
}

// write makes the archive and its manifest, whole or not at all.
func (x *archiver) write(ctx context.Context) (sessions []projections.Archived, sums eventstore.ArchiveSums, err error) {
	if err := os.MkdirAll(x.dir, 0o700); err != nil {
		return nil, sums, fmt.Errorf("make the folder of the archives: %w", err)
	}
	name := filepath.Join(x.dir, "kondate-"+x.report.MadeAt.Format("20060102T150405.000000Z")+".ndjson.zst")
	to, err := openDestination(name, "", nil)
	if err != nil {
		return nil, sums, err
	}
	defer to.drop()
	w, err := eventstore.NewArchiveWriter(to.out)
	if err != nil {
		return nil, sums, err
	}
	if sessions, err = x.export(ctx, w.Write); err != nil {
		return nil, sums, err
	}
	if sums, err = w.Close(); err != nil || len(sessions) == 0 {
		return nil, sums, err
	}
	if err := to.keep(); err != nil {
		return nil, sums, err
	}
	x.report.File, x.report.SHA256 = name, sums.File
	return sessions, sums, x.writeManifest(name + ".json")
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

// check reads the archive back: it has to hold what the log held.
func (x *archiver) check(sums eventstore.ArchiveSums) error {
	file, err := os.Open(x.report.File)
	if err != nil {
		return fmt.Errorf("read the archive back: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	return eventstore.CheckArchive(file, sums)
}

// finish takes out of the log what an archive that was stopped has begun to take out.
func (x *archiver) finish(ctx context.Context) error {
	sessions, err := projections.Leaving(ctx, x.pool)
	if err != nil || len(sessions) == 0 {
		return err
	}
	kept, err := x.retire(ctx, sessions, x.leave)
	x.report.Finished = len(sessions) - kept
	return err
}

// retire takes sessions out of the log, some at once, and counts those that have moved on and stay. The next archive
// finishes what this one has marked and not confirmed.
func (x *archiver) retire(ctx context.Context, sessions []projections.Archived, leave func(context.Context, projections.Archived) (moved bool, err error)) (kept int, err error) {
	var stayed atomic.Int64
	g, leaving := errgroup.WithContext(ctx)
	g.SetLimit(archiveAtOnce)
	for _, s := range sessions {
		g.Go(func() error {
			began := time.Now()
			moved, err := leave(leaving, s)
			if err != nil {
				return err
			}
			if moved {
				stayed.Add(1)
			}
			return rest(leaving, time.Since(began))
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return int(stayed.Load()), projections.ConfirmArchived(ctx, x.pool, sessions)
}

// leave takes a session that is marked out of the log. One that has moved on stays, and loses its mark if nothing of it has gone.
func (x *archiver) leave(ctx context.Context, s projections.Archived) (moved bool, err error) {
	if len(s.Seqs) == 0 {
		return false, nil // it was erased
	}
	err = x.store.Retire(ctx, s.Key, s.Seqs)
	if !errors.Is(err, eventstore.ErrMoved) {
		return false, err
	}
	first, err := x.store.LoadPage(ctx, s.Key, 0, 1)
	if err != nil {
		return true, err
	}
	if len(first) == 0 || first[0].Seq != s.Seqs[0] {
		return true, nil // history has what went
	}
	return true, projections.UnmarkArchived(ctx, x.pool, s.Key)
}

package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"kondate/eventstore"
)

// Importer is what a restore needs of the log to fill.
type Importer interface {
	Log
	Reader
	End
	// Import appends entries as they were recorded; the log must end at after.
	Import(ctx context.Context, after uint64, entries []eventstore.Entry) error
}

// Restored says what a restore brought back.
type Restored struct {
	Whole   bool   `json:"whole"`    // the whole log; false: only its lost end
	Events  uint64 `json:"events"`   // in the log now
	LeftOut int64  `json:"left_out"` // messages on subjects of no session, which history does not name
	Lost    uint64 `json:"lost_seq"` // the last event of the old log that history held; what came after it is lost
}

// Reasons why a restore does nothing; matched with errors.Is.
var (
	ErrNothingLost = errors.New("the log holds every event that history holds: there is nothing to restore")
	ErrOwnEvents   = errors.New("the log to restore into is not empty and holds other events than history: restore into an empty one")
)

// Restore fills the log from history: a log that is empty or new with all of it, or one that lost its end with that. In a
// new log the events get new sequences, so the rows are made anew, history is written anew, and the cursors of clients get
// a reset. It needs to be alone: no projector may run. A restore that ends early is taken up by the next one.
func Restore(ctx context.Context, pool *pgxpool.Pool, log Importer, cfg ProjectorConfig, progress func(Progress)) (r Restored, err error) {
	fail := func(err error) (Restored, error) { return r, fmt.Errorf("restore the log from history: %w", err) }
	if progress == nil {
		progress = func(Progress) {}
	}
	identity, err := cfg.Identity(ctx)
	if err != nil {
		return fail(err)
	}
	conn, err := connect(ctx, pool)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, disconnect(ctx, conn)) }()
	for _, lock := range []int{lockRebuild, lockLead} {
		if err := takeLock(ctx, conn, lock); err != nil {
			return fail(fmt.Errorf("stop every kondate serve first, and wait for the end of a rebuild or a verification: %w", err))
		}
	}
	live, err := liveCheckpoint(ctx, conn)
	if err != nil {
		return fail(err)
	}
	last, err := log.Last(ctx)
	if err != nil {
		return fail(err)
	}
	r.Lost = live.seq
	copier := copier{pool: pool, log: log, progress: progress}
	if live.identity == identity {
		if err := live.checkEnd(ctx, conn, log); errors.Is(err, ErrLostInside) {
			return r, err // what to do is its text
		} else if err != nil && !errors.Is(err, ErrLostEnd) {
			return fail(err)
		}
		if r.Events, err = copier.end(ctx, last, live.seq); err != nil {
			return fail(err)
		}
		return r, nil
	}
	r.Whole = true
	if r.Events, r.LeftOut, err = copier.all(ctx, last); err != nil {
		return fail(err)
	}
	if _, err := conn.Exec(ctx, "select public.begin_restored_log($1)", identity); err != nil {
		return fail(err)
	}
	return r, nil
}

// Settle runs a projector until the rows reflect all of the log.
func Settle(ctx context.Context, pool *pgxpool.Pool, log Importer, cfg ProjectorConfig) error {
	last, err := log.Last(ctx)
	if err != nil {
		return err
	}
	g, run := errgroup.WithContext(ctx)
	g.Go(func() error { return NewProjector(pool, log, cfg).Run(run) })
	g.Go(func() error {
		if err := NewQueries(pool).WaitFor(run, last); err != nil {
			return err
		}
		return errSettled
	})
	if err := g.Wait(); !errors.Is(err, errSettled) {
		return err
	}
	return nil
}

// errSettled ends the projector of Settle.
var errSettled = errors.New("the rows reflect the log")

// copier carries events from history to the log.
type copier struct {
	pool     *pgxpool.Pool
	log      Importer
	progress func(Progress)
}

// end copies what a log has lost at its end. The events keep their sequences, so nothing else changes.
func (c copier) end(ctx context.Context, last, checkpoint uint64) (uint64, error) {
	if last >= checkpoint {
		return 0, ErrNothingLost
	}
	for at := last; at < checkpoint; {
		held, err := historyRange(ctx, c.pool, at, checkpoint, readPage)
		if err != nil {
			return 0, err
		}
		entries := make([]eventstore.Entry, len(held))
		for i, row := range held {
			if row.Seq != at+uint64(i)+1 || row.Type == "" {
				return 0, fmt.Errorf("history has no event %d to go on with, so the events after it would get other sequences: remove the stream and restore all of it", at+uint64(i)+1)
			}
			entries[i] = row.entry()
		}
		if len(held) == 0 {
			return 0, fmt.Errorf("history ends at event %d, before its checkpoint %d", at, checkpoint)
		}
		if err := c.log.Import(ctx, at, entries); err != nil {
			return 0, err
		}
		at = held[len(held)-1].Seq
		c.progress(Progress{Seq: at, Target: checkpoint})
	}
	return checkpoint, nil
}

// all copies every event of history, the first one to sequence 1. last events are in the log already: of an earlier
// restore that was stopped.
func (c copier) all(ctx context.Context, last uint64) (copied uint64, leftOut int64, err error) {
	var total int64
	const count = `select count(*) filter (where type <> ''), count(*) filter (where type = '') from public.history`
	if err := c.pool.QueryRow(ctx, count).Scan(&total, &leftOut); err != nil {
		return 0, 0, fmt.Errorf("count the events of history: %w", err)
	}
	at, err := c.resume(ctx, last)
	if err != nil {
		return 0, 0, err
	}
	for copied = last; ; {
		const sql = `select ` + historyColumns + ` from public.history where seq > $1 and type <> '' order by seq limit $2`
		rows, err := c.pool.Query(ctx, sql, toBigint(at), readPage)
		if err != nil {
			return 0, 0, fmt.Errorf("read the history after %d: %w", at, err)
		}
		held, err := pgx.CollectRows(rows, scanHistory)
		if err != nil {
			return 0, 0, fmt.Errorf("read the history after %d: %w", at, err)
		}
		if len(held) == 0 {
			return copied, leftOut, nil
		}
		entries := make([]eventstore.Entry, len(held))
		for i, row := range held {
			entries[i] = row.entry()
		}
		if err := c.log.Import(ctx, copied, entries); err != nil {
			return 0, 0, err
		}
		copied, at = copied+uint64(len(held)), held[len(held)-1].Seq
		c.progress(Progress{Seq: copied, Target: fromBigint(total)})
	}
}

// resume returns the sequence in history of the log's last event, 0 if the log is empty. It refuses a log that holds
// other events.
func (c copier) resume(ctx context.Context, last uint64) (uint64, error) {
	if last == 0 {
		return 0, nil
	}
	entries, err := c.log.Read(ctx, last-1, 1)
	if err != nil {
		return 0, err
	}
	var (
		seq int64
		id  string
	)
	err = c.pool.QueryRow(ctx, `select seq, id from public.history where type <> '' order by seq offset $1 limit 1`, toBigint(last-1)).Scan(&seq, &id)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("look for event %d in history: %w", last, err)
	}
	if err != nil || len(entries) != 1 || cleanText(entries[0].ID) != id {
		return 0, fmt.Errorf("the log ends at event %d: %w", last, ErrOwnEvents)
	}
	return fromBigint(seq), nil
}

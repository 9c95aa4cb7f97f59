package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kondate/eventstore"
)

// Operations are what an operator does to the read models beside a running projector. One goes on at a time.
type Operations struct {
	pool *pgxpool.Pool
	log  Reader
	cfg  ProjectorConfig
}

// NewOperations returns the operations on a database and the log of its rows, which stay the caller's.
func NewOperations(pool *pgxpool.Pool, log Reader, cfg ProjectorConfig) *Operations {
	return &Operations{pool: pool, log: log, cfg: cfg}
}

// Progress says how far an operation is: at sequence Seq of the log on its way to Target.
type Progress struct{ Seq, Target uint64 }

// RebuildOptions are the choices of a rebuild. The zero value is the careful one.
type RebuildOptions struct {
	// Fresh discards what a rebuild that was stopped has made; without it the rebuild goes on from there.
	Fresh bool
	// SkipUnknown passes over events whose type or version this program does not know, as a projector does. Without it
	// they stop the rebuild: a newer program may know them.
	SkipUnknown bool
	// Progress is told after every page; it may be nil.
	Progress func(Progress)
}

// switchLag is how many events a rebuild may be behind when it stops the projector for the moment of the switch.
const switchLag = readPage

// Rebuild makes the next version of the read models from the log's first event on, beside the live one and its
// projector, and when it has caught up changes the views over to it. It returns the version's number. The version before
// is kept until the next rebuild. A rebuild that ends early leaves the readers where they were; the next one goes on.
func (o *Operations) Rebuild(ctx context.Context, options RebuildOptions) (version int, err error) {
	w, end, err := o.begin(ctx, func(tx pgx.Tx, live checkpoint) (checkpoint, error) {
		return resume(ctx, tx, live, options.Fresh)
	})
	if err != nil {
		return 0, fmt.Errorf("rebuild: %w", err)
	}
	defer func() { err = errors.Join(err, end()) }()
	b := builder{writer: w, source: source{o.log, o.pool}, skipUnknown: options.SkipUnknown, progress: options.Progress}
	if err := b.follow(ctx, o.pool); err != nil {
		return 0, fmt.Errorf("rebuild version %d: %w", b.at.version, err)
	}
	if _, err := b.conn.Exec(ctx, fmt.Sprintf("analyze v%[1]d.menus, v%[1]d.sessions", b.at.version)); err != nil {
		return 0, fmt.Errorf("rebuild version %d: %w", b.at.version, err)
	}
	for switched := false; !switched; {
		if err := b.follow(ctx, o.pool); err != nil {
			return 0, fmt.Errorf("rebuild version %d: %w", b.at.version, err)
		}
		if switched, err = b.switchOver(ctx, o.pool); err != nil {
			return 0, fmt.Errorf("change over to version %d: %w", b.at.version, err)
		}
	}
	return b.at.version, nil
}

// begin takes the lock of operations and lets prepare name the version to write, in a transaction. end gives both back.
func (o *Operations) begin(ctx context.Context, prepare func(pgx.Tx, checkpoint) (checkpoint, error)) (w writer, end func() error, err error) {
	conn, err := connect(ctx, o.pool)
	if err != nil {
		return w, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, disconnect(ctx, conn))
		}
	}()
	if err := takeLock(ctx, conn, lockRebuild); err != nil {
		return w, nil, fmt.Errorf("wait for the end of the rebuild, verification or restore that is under way: %w", err)
	}
	identity, err := o.cfg.Identity(ctx)
	if err != nil {
		return w, nil, err
	}
	var at checkpoint
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		live, err := liveCheckpoint(ctx, tx)
		if err != nil {
			return err
		}
		if err := live.check(identity); err != nil {
			return err
		}
		at, err = prepare(tx, live)
		return err
	})
	return newWriter(conn, at, false, o.cfg.Logger), func() error { return disconnect(ctx, conn) }, err
}

// resume finds the version that an earlier rebuild began, or begins one. Versions that nobody needs any more go.
func resume(ctx context.Context, tx pgx.Tx, live checkpoint, fresh bool) (checkpoint, error) {
	begun, err := scanCheckpoint(tx.QueryRow(ctx, sqlCheckpoint, VersionBuilding))
	found := err == nil && begun.identity == live.identity && !fresh
	if err != nil && !errors.Is(err, ErrNotFound) {
		return begun, err
	}
	const drop = `select public.drop_version(version) from public.versions where state <> 'live' and not (state = 'building' and $1)`
	if _, err := tx.Exec(ctx, drop, found); err != nil {
		return begun, fmt.Errorf("remove old versions: %w", err)
	}
	if found {
		return begun, nil
	}
	return createVersion(ctx, tx, VersionBuilding, live.identity)
}

func createVersion(ctx context.Context, tx pgx.Tx, state VersionState, identity string) (checkpoint, error) {
	at := checkpoint{identity: identity}
	if err := tx.QueryRow(ctx, "select public.create_version($1, $2)", state, identity).Scan(&at.version); err != nil {
		return at, fmt.Errorf("make the tables of a new version: %w", err)
	}
	return at, nil
}

// builder writes a version that nobody sees yet.
type builder struct {
	writer
	source

	skipUnknown bool
	progress    func(Progress)
}

// follow builds until the version is at most switchLag events behind the live one.
func (b *builder) follow(ctx context.Context, pool *pgxpool.Pool) error {
	for {
		live, err := liveCheckpoint(ctx, pool)
		if err != nil {
			return err
		}
		if err := live.check(b.at.identity); err != nil {
			return err
		}
		if live.seq <= b.at.seq+switchLag {
			return nil
		}
		if err := b.build(ctx, live.seq); err != nil {
			return err
		}
	}
}

// build writes everything up to a sequence, and nothing beyond: history is the live version's to write, and a version
// that is ahead of it would leave a hole there when it becomes the live one.
func (b *builder) build(ctx context.Context, upTo uint64) error {
	for b.at.seq < upTo {
		entries, through, err := b.read(ctx, b.at.seq, upTo)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !b.skipUnknown && errors.Is(e.Err, eventstore.ErrUnknownEvent) {
				return fmt.Errorf("%w: a newer version of this program may know it, or pass over it with --skip-unknown", e.Err)
			}
		}
		if err := b.store(ctx, entries, func(*page) {}); err != nil {
			return err
		}
		if b.at.seq < through {
			if err := b.moveTo(ctx, through); err != nil {
				return err
			}
		}
		if b.progress != nil {
			b.progress(Progress{Seq: b.at.seq, Target: upTo})
		}
	}
	return nil
}

// switchOver holds the projector at the live checkpoint, builds the last events and changes the views over. It reports
// false if the projector has run ahead meanwhile.
func (b *builder) switchOver(ctx context.Context, pool *pgxpool.Pool) (switched bool, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		live, err := lockLive(ctx, tx)
		if err != nil {
			return err
		}
		if live.seq > b.at.seq+switchLag {
			return nil
		}
		if err := b.build(ctx, live.seq); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "select public.switch_version($1)", b.at.version); err != nil {
			return err
		}
		switched = true
		return nil
	})
	return switched, err
}

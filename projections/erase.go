package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu"
)

// eraseTimeout bounds the removal of one session's events from the log.
const eraseTimeout = time.Minute

// removed says whether an entry is content of an erased session: everything but the tombstone. It is not written down
// anywhere, and the log loses it.
func (p *page) removed(key menu.Key, seq uint64) bool {
	s := p.sessions[key]
	return s != nil && s.Status == menu.SessionErased && seq != s.LastSeq
}

// queueErasures removes the content of sessions that the page erased from everything that belongs to no version, and
// remembers that the log has to lose it too, also what came after a tombstone.
func (p *page) queueErasures(batch *pgx.Batch) {
	var (
		tenants, ids   []string
		seqs, throughs []int64
	)
	for key, s := range p.sessions {
		if s.Status == menu.SessionErased && s.through > 0 {
			tenants, ids = append(tenants, string(key.Tenant)), append(ids, string(key.Session))
			seqs, throughs = append(seqs, toBigint(s.LastSeq)), append(throughs, toBigint(s.through))
		}
	}
	if len(ids) == 0 {
		return
	}
	batch.Queue(sqlEraseHistory, tenants, ids, seqs)
	batch.Queue(sqlEraseIDs, tenants, ids)
	batch.Queue(sqlEraseCache, tenants, ids)
	batch.Queue(sqlErasures, tenants, ids, seqs, throughs)
}

// purge removes erased sessions from the log: at once, whenever a page erased one, and every minute what was left over,
// until ctx ends.
func (t *term) purge(ctx context.Context) error {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		if err := t.purgeDue(ctx); err != nil && ctx.Err() == nil {
			t.projector.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "erased sessions are not out of the log yet", slog.Any("error", err))
		}
		select {
		case <-t.erased:
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// erasure is a session whose events the log has to lose.
type erasure struct {
	key          menu.Key
	seq, through int64
}

func (t *term) purgeDue(ctx context.Context) error {
	const due = `select tenant, session_id, seq, through from public.erasures where purged < through order by tenant, session_id limit $1`
	rows, err := t.projector.pool.Query(ctx, due, sweepBatch)
	if err != nil {
		return fmt.Errorf("look for erased sessions: %w", err)
	}
	erasures, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e erasure, err error) {
		err = row.Scan(&e.key.Tenant, &e.key.Session, &e.seq, &e.through)
		return e, err
	})
	if err != nil {
		return fmt.Errorf("look for erased sessions: %w", err)
	}
	var failed error
	for _, e := range erasures {
		failed = errors.Join(failed, t.purgeOne(ctx, e)) // one that cannot be removed does not keep the others
	}
	return failed
}

func (t *term) purgeOne(ctx context.Context, e erasure) error {
	ctx, cancel := context.WithTimeout(ctx, eraseTimeout)
	defer cancel()
	// Not beyond what was projected: the checkpoint would never reach an event that is gone before it was seen.
	if err := t.projector.log.Erase(ctx, e.key, fromBigint(e.seq), fromBigint(e.through)); err != nil {
		return err
	}
	if err := t.erasePictures(ctx, e.key); err != nil {
		return err
	}
	const done = `update public.erasures set purged = $3, purged_at = now() where tenant = $1 and session_id = $2 and purged < $3`
	if _, err := t.projector.pool.Exec(ctx, done, e.key.Tenant, e.key.Session, e.through); err != nil {
		return fmt.Errorf("note that session %s is out of the log: %w", e.key, err)
	}
	return nil
}

// purgeSoon wakes purge after a page that erased something.
func (t *term) purgeSoon(p *page) {
	for _, s := range p.sessions {
		if s.Status == menu.SessionErased && s.through > 0 {
			select {
			case t.erased <- struct{}{}:
			default: // it is awake
			}
			return
		}
	}
}

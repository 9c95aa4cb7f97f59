package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kondate/domain/menu"
)

// LastLog is what reservations need of the log.
type LastLog interface {
	// LastOf returns the sequence of a session's newest event, 0 for a session that nobody submitted.
	LastOf(ctx context.Context, key menu.Key) (uint64, error)
}

// reservationAge is how old a reservation has to be before the log is asked whether its session was ever submitted.
// Whoever reserves has to append within this time.
const reservationAge = time.Minute

// maxClaims bounds how often one reservation is tried; each try but the first follows the discovery of abandoned sessions.
const maxClaims = 3

// Reservations keeps dish ids unique within a tenant, from before a submission is appended.
type Reservations struct {
	pool *pgxpool.Pool
	log  LastLog
}

// NewReservations returns reservations in the table menu_ids. Pool and log stay the caller's.
func NewReservations(pool *pgxpool.Pool, log LastLog) *Reservations {
	return &Reservations{pool: pool, log: log}
}

// Reserve takes all of ids for a session, or none and returns a [*TakenError] with those that other sessions hold. A
// session may reserve its ids again. A reservation is free after a minute if its session never reached the log.
func (r *Reservations) Reserve(ctx context.Context, key menu.Key, ids []menu.DishID) error {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	slices.Sort(names) // all lock in one order, so nobody waits in a circle
	names = slices.Compact(names)
	abandoned := []string{}
	for range maxClaims {
		done, holders, err := r.claim(ctx, key, names, abandoned)
		if err != nil || done {
			return err
		}
		free, err := r.abandoned(ctx, key.Tenant, holders)
		if err != nil {
			return err
		}
		if taken := notIn(holders, free); len(taken) > 0 {
			return &TakenError{IDs: taken}
		}
		abandoned = append(abandoned, free...)
	}
	return fmt.Errorf("reserve %d menu ids for session %s: others reserve them at the same time, try again", len(ids), key)
}

// holder is another session's hold on an id.
type holder struct {
	id      menu.DishID
	session string
	stale   bool // only reserved, and long ago
}

// errHeld rolls a claim back that did not get every id.
var errHeld = errors.New("held by other sessions")

// claim inserts all names or none; abandoned are sessions whose stale reservations may be taken over. If it was none,
// claim returns who holds the ids that could not be had.
func (r *Reservations) claim(ctx context.Context, key menu.Key, names, abandoned []string) (done bool, holders []holder, err error) {
	const (
		insert = `insert into public.menu_ids as r (tenant, menu_id, session_id)
select $1, id, $2 from unnest($3::text[]) id
on conflict (tenant, menu_id) do update set session_id = excluded.session_id, reserved_at = now()
where r.session_id = excluded.session_id or not r.confirmed and r.reserved_at < now() - $5::interval and r.session_id = any($4)`
		held = `select menu_id, session_id, not confirmed and reserved_at < now() - $4::interval
from public.menu_ids where tenant = $1 and menu_id = any($3) and session_id <> $2 order by menu_id`
	)
	err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, insert, key.Tenant, key.Session, names, abandoned, reservationAge)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == int64(len(names)) {
			return nil
		}
		rows, err := tx.Query(ctx, held, key.Tenant, key.Session, names, reservationAge)
		if err != nil {
			return err
		}
		holders, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (h holder, err error) {
			err = row.Scan(&h.id, &h.session, &h.stale)
			return h, err
		})
		if err != nil {
			return err
		}
		return errHeld
	})
	switch {
	case errors.Is(err, errHeld):
		return false, holders, nil
	case err != nil:
		return false, nil, fmt.Errorf("reserve %d menu ids for session %s: %w", len(names), key, err)
	}
	return true, nil, nil
}

// abandoned returns those sessions among the stale holders that never reached the log. The log is asked and not the
// rows, which may lag.
func (r *Reservations) abandoned(ctx context.Context, tenant menu.Tenant, holders []holder) ([]string, error) {
	asked := map[string]bool{}
	var free []string
	for _, h := range holders {
		if !h.stale || asked[h.session] {
			continue
		}
		asked[h.session] = true
		key := menu.Key{Tenant: tenant, Session: menu.SessionID(h.session)}
		last, err := r.log.LastOf(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("look whether session %s was submitted: %w", key, err)
		}
		if last == 0 {
			free = append(free, h.session)
		}
	}
	return free, nil
}

// notIn returns the ids that are not to be had although the sessions in free are abandoned.
func notIn(holders []holder, free []string) []menu.DishID {
	var ids []menu.DishID
	for _, h := range holders {
		if !h.stale || !slices.Contains(free, h.session) {
			ids = append(ids, h.id)
		}
	}
	return ids
}

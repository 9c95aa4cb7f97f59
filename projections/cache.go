package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kondate/domain/menu"
)

// ResultCache keeps results of the stages' providers in Postgres, those that were used last. It is safe for concurrent
// use, also of several processes.
type ResultCache struct {
	pool     *pgxpool.Pool
	maxBytes int64
	stored   atomic.Int64 // results since the process began
}

// NewResultCache returns a cache of about maxBytes at most. The pool stays the caller's.
func NewResultCache(pool *pgxpool.Pool, maxBytes int64) *ResultCache {
	return &ResultCache{pool: pool, maxBytes: maxBytes}
}

const (
	// evictEvery is after how many results a process looks for those that have to go.
	evictEvery = 100
	// rowBytes is about what a row takes besides its result.
	rowBytes = 200
)

// Lookup returns the result that was stored under a key, and when; false if there is none.
func (c *ResultCache) Lookup(ctx context.Context, key []byte) (result menu.Result, stored time.Time, found bool, err error) {
	// That a row was used is noted once an hour: a cache that is read must not write each time.
	const sql = `with used as (update public.result_cache set used_at = now() where key = $1 and used_at < now() - interval '1 hour')
select result, created_at from public.result_cache where key = $1`
	var raw []byte
	err = c.pool.QueryRow(ctx, sql, key).Scan(&raw, &stored)
	if errors.Is(err, pgx.ErrNoRows) {
		return result, stored, false, nil
	}
	if err != nil {
		return result, stored, false, fmt.Errorf("read the result cache: %w", err)
	}
	if err := json.Unmarshal(raw, &result); err != nil {
		return result, stored, false, fmt.Errorf("read a result of the cache: %w", err)
	}
	return result, stored, true, nil
}

// Store keeps a result until others have been used more recently, or the session that it was made for is erased. Of a
// session that is erased nothing is kept.
func (c *ResultCache) Store(ctx context.Context, session menu.Key, key []byte, result menu.Result) error {
	raw, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode a result for the cache: %w", err)
	}
	err = pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		// A statement of its own: the insert has to see what an erasure committed that was waited for.
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock_shared(public.erasure_lock($1, $2))`, session.Tenant, session.Session); err != nil {
			return err
		}
		const insert = `insert into public.result_cache (key, tenant, session_id, result, bytes)
select $1, $2, $3, $4, $5 where not exists (select from public.erasures where tenant = $2 and session_id = $3)
on conflict (key) do nothing`
		_, err := tx.Exec(ctx, insert, key, session.Tenant, session.Session, raw, len(raw)+rowBytes)
		return err
	})
	if err != nil {
		return fmt.Errorf("store a result in the cache: %w", err)
	}
	if c.stored.Add(1)%evictEvery == 0 {
		return c.evict(ctx)
	}
	return nil
}

// evict removes what was not used for the longest time, down to the cache's size.
func (c *ResultCache) evict(ctx context.Context) error {
	const sql = `delete from public.result_cache where key in (
  select key from (select key, sum(bytes) over (order by used_at desc, key) as total from public.result_cache) t where total > $1)`
	if _, err := c.pool.Exec(ctx, sql, c.maxBytes); err != nil {
		return fmt.Errorf("make room in the result cache: %w", err)
	}
	return nil
}

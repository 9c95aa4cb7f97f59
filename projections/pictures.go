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

// picturesInterval is how often pictures are looked for that an erasure has not reached: their maker died between keeping one
// and recording it, so that nothing in the log speaks of it.
const picturesInterval = time.Hour

// Pictures is what a projector needs of the store of pictures, which an erasure has to reach too; see streams.Images.
type Pictures interface {
	// Erase removes all pictures of a session.
	Erase(ctx context.Context, key menu.Key) error
	// Sessions returns the sessions that have pictures.
	Sessions(ctx context.Context) ([]menu.Key, error)
	// Tidy removes what belongs to no picture.
	Tidy(ctx context.Context) error
}

// erasePictures removes the pictures of an erased session. A picture that is recorded later wakes the purge again.
func (t *term) erasePictures(ctx context.Context, key menu.Key) error {
	if t.projector.cfg.Pictures == nil {
		return nil
	}
	if err := t.projector.cfg.Pictures.Erase(ctx, key); err != nil {
		return fmt.Errorf("erase the pictures of session %s: %w", key, err)
	}
	return nil
}

// sweepPictures removes pictures of erased sessions that nothing in the log speaks of, at once and then every hour, until ctx
// ends.
func (t *term) sweepPictures(ctx context.Context) error {
	if t.projector.cfg.Pictures == nil {
		return nil
	}
	tick := time.NewTicker(picturesInterval)
	defer tick.Stop()
	for {
		if err := t.sweepPicturesOnce(ctx); err != nil && ctx.Err() == nil {
			t.projector.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "pictures of erased sessions cannot be looked for, they are looked for again in an hour", slog.Any("error", err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (t *term) sweepPicturesOnce(ctx context.Context) error {
	pictures := t.projector.cfg.Pictures
	keys, err := pictures.Sessions(ctx)
	if err != nil {
		return err
	}
	tenants, ids := make([]string, len(keys)), make([]string, len(keys))
	for i, key := range keys {
		tenants[i], ids[i] = string(key.Tenant), string(key.Session)
	}
	const sql = `select e.tenant, e.session_id from public.erasures e join unnest($1::text[], $2::text[]) as p (tenant, session_id) using (tenant, session_id)`
	rows, err := t.projector.pool.Query(ctx, sql, tenants, ids)
	if err != nil {
		return fmt.Errorf("look for erased sessions with pictures: %w", err)
	}
	erased, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (key menu.Key, err error) {
		err = row.Scan(&key.Tenant, &key.Session)
		return key, err
	})
	if err != nil {
		return fmt.Errorf("look for erased sessions with pictures: %w", err)
	}
	var failed error
	for _, key := range erased {
		failed = errors.Join(failed, t.erasePictures(ctx, key))
	}
	return errors.Join(failed, pictures.Tidy(ctx))
}

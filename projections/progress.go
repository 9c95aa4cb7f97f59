package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu"
)

// progressPage is how many sessions are read at once.
const progressPage = 1000

// SessionProgress is the body of a progress message: the session as its row shows it.
type SessionProgress struct {
	SessionRow

	Unanswered int `json:"unanswered"` // answers that are missing, dishes × stages
}

// tell says at every interval how far each session is that runs, until ctx ends. Who does not hear it hears the next one.
func (t *term) tell(ctx context.Context) error {
	cfg := t.projector.cfg
	if cfg.Progress == nil || cfg.ProgressInterval <= 0 {
		return nil
	}
	tick := time.NewTicker(cfg.ProgressInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := t.tellAll(ctx); err != nil {
			t.projector.unfinished(ctx, fmt.Errorf("tell the progress of sessions: %w", err))
		}
	}
}

func (t *term) tellAll(ctx context.Context) error {
	var after menu.Key
	for {
		rows, err := t.projector.pool.Query(ctx, t.sql.running, after.Tenant, after.Session, progressPage)
		if err != nil {
			return fmt.Errorf("read the sessions that run: %w", err)
		}
		records, err := pgx.CollectRows(rows, scanSession)
		if err != nil {
			return fmt.Errorf("read the sessions that run: %w", err)
		}
		for _, r := range records {
			after = r.Key
			body, err := json.Marshal(SessionProgress{newSessionRow(r.Session), r.Unanswered()})
			if err != nil {
				return fmt.Errorf("encode the progress of session %s: %w", r.Key, err)
			}
			if err := t.projector.cfg.Progress(r.Key, body); err != nil {
				return err
			}
		}
		if len(records) < progressPage {
			return nil
		}
	}
}

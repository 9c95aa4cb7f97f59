package projections

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"kondate/domain/menu"
)

// SessionAt returns a session's progress as the log had it at a sequence, or [ErrNotFound] if nobody had submitted it by
// then. The rows must have reached the sequence; see [Queries.WaitFor].
func (q *Queries) SessionAt(ctx context.Context, key menu.Key, seq uint64) (SessionRow, error) {
	s, err := q.foldAt(ctx, key, seq)
	return newSessionRow(s), err
}

// MenusAt returns a session's dishes by position as the log had them at a sequence, or [ErrNotFound].
func (q *Queries) MenusAt(ctx context.Context, key menu.Key, seq uint64) ([]MenuRow, error) {
	s, err := q.foldAt(ctx, key, seq)
	if err != nil {
		return nil, err
	}
	dishes := slices.SortedFunc(maps.Values(s.Dishes), func(a, b menu.Dish) int {
		return cmp.Or(cmp.Compare(a.Position, b.Position), cmp.Compare(a.ID, b.ID))
	})
	rows := make([]MenuRow, len(dishes))
	for i, d := range dishes {
		if rows[i], err = newMenuRow(key, d); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// MenuAt returns one dish as the log had it at a sequence, or [ErrNotFound].
func (q *Queries) MenuAt(ctx context.Context, tenant menu.Tenant, id menu.DishID, seq uint64) (MenuRow, error) {
	key := menu.Key{Tenant: tenant}
	err := q.pool.QueryRow(ctx, "select session_id from public.menus where tenant = $1 and id = $2", tenant, id).Scan(&key.Session)
	if err != nil {
		return MenuRow{}, fmt.Errorf("look for the session of dish %s: %w", id, orNotFound(err))
	}
	s, err := q.foldAt(ctx, key, seq)
	if err != nil {
		return MenuRow{}, err
	}
	d, known := s.Dishes[id]
	if !known {
		return MenuRow{}, fmt.Errorf("dish %s at event %d: %w", id, seq, ErrNotFound)
	}
	return newMenuRow(key, d)
}

// foldAt folds what history holds of a session up to a sequence.
func (q *Queries) foldAt(ctx context.Context, key menu.Key, seq uint64) (menu.Session, error) {
	const sql = `select ` + historyColumns + ` from public.history where tenant = $1 and session_id = $2 and seq <= $3 order by seq`
	rows, err := q.pool.Query(ctx, sql, key.Tenant, key.Session, toBigint(seq))
	if err != nil {
		return menu.Session{}, fmt.Errorf("read the history of session %s up to %d: %w", key, seq, err)
	}
	defer rows.Close()
	var s menu.Session
	for rows.Next() {
		row, err := scanHistory(rows)
		if err != nil {
			return s, fmt.Errorf("read the history of session %s up to %d: %w", key, seq, err)
		}
		if e := row.entry(); e.Err == nil {
			s = menu.Evolve(s, e.Recorded)
		}
	}
	if err := rows.Err(); err != nil {
		return s, fmt.Errorf("read the history of session %s up to %d: %w", key, seq, err)
	}
	if !s.Exists() {
		return s, fmt.Errorf("session %s at event %d: %w", key, seq, ErrNotFound)
	}
	return s, nil
}

// newMenuRow shows a dish as its row in Postgres does.
func newMenuRow(key menu.Key, d menu.Dish) (MenuRow, error) {
	stages, err := stageStates(d.Stages)
	if err != nil {
		return MenuRow{}, fmt.Errorf("dish %s: %w", d.ID, err)
	}
	text := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	data := func(stage menu.Stage) []byte {
		if column := resultColumn(d.Stages[stage].Data); column != "" {
			return []byte(column)
		}
		return nil
	}
	translation, category := translationColumns(d.Stages[menu.Translation].Data)
	return MenuRow{
		Tenant: key.Tenant, ID: d.ID, SessionID: key.Session, Position: d.Position, Name: cleanText(d.Name),
		Translation: text(translation), Category: text(cleanText(d.Category)), CategoryTranslation: text(category),
		Price: text(cleanText(d.Price)), Description: text(descriptionColumn(d.Stages[menu.Description].Data)),
		Allergy: data(menu.Allergen), Ingredient: data(menu.Ingredient), SearchEngine: data(menu.SearchEngine),
		GenImage: text(cleanText(d.Image.URL)), Task6Data: data(menu.Task6), Task7Data: data(menu.Task7), Task8Data: data(menu.Task8),
		ProcessingStatus: d.Status(), Stages: []byte(stages), CreatedAt: Time{d.CreatedAt}, UpdatedAt: Time{d.UpdatedAt}, LastSeq: d.LastSeq,
	}, nil
}

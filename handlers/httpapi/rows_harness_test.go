package httpapi_test

import (
	"context"
	"encoding/json"
	"iter"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/httpapi"
	"kondate/projections"
)

// foldedRows answers with rows folded from the log up to a sequence, as a projection that is behind does.
type foldedRows struct {
	log    *eventstore.Memory
	err    error
	behind chan struct{} // nil: always up to date; else nothing is folded before it is closed
}

func (r *foldedRows) fold(ctx context.Context, key menu.Key) (menu.Session, error) {
	if r.err != nil {
		return menu.Session{}, r.err
	}
	if r.behind != nil {
		select {
		case <-r.behind:
		default:
			return menu.Session{}, projections.ErrNotFound
		}
	}
	entries, err := r.log.Load(ctx, key)
	if err != nil {
		return menu.Session{}, err
	}
	if len(entries) == 0 {
		return menu.Session{}, projections.ErrNotFound
	}
	var s menu.Session
	for _, e := range entries {
		s = menu.Evolve(s, e.Recorded)
	}
	return s, nil
}

func (r *foldedRows) Session(ctx context.Context, key menu.Key) (projections.SessionRow, error) {
	s, err := r.fold(ctx, key)
	stages := map[menu.Stage]menu.Tally{}
	for _, stage := range menu.Stages() {
		stages[stage] = s.Stages[stage]
	}
	return projections.SessionRow{SessionID: key.Session, Tenant: key.Tenant, Title: s.Title, Status: s.Status, Items: s.ItemCount, Stages: stages, LastSeq: s.LastSeq}, err
}

func (r *foldedRows) Menus(ctx context.Context, key menu.Key) ([]projections.MenuRow, uint64, error) {
	s, err := r.fold(ctx, key)
	rows := make([]projections.MenuRow, len(s.Dishes))
	for _, d := range s.Dishes {
		rows[d.Position] = dishRow(key, d.Item, d.LastSeq)
	}
	return rows, s.LastSeq, err
}

// dishRow is the row of a dish that no stage has answered.
func dishRow(key menu.Key, item menu.Item, seq uint64) projections.MenuRow {
	stages := map[menu.Stage]menu.StageState{}
	for _, stage := range menu.Stages() {
		stages[stage] = menu.StageState{Status: menu.StagePending}
	}
	text, err := json.Marshal(stages)
	if err != nil {
		panic(err) // nothing in it cannot be written
	}
	return projections.MenuRow{
		Tenant: key.Tenant, ID: item.ID, SessionID: key.Session, Position: item.Position, Name: item.Name,
		ProcessingStatus: menu.BasicCompleted, Stages: text, LastSeq: seq,
	}
}

func (r *foldedRows) Menu(ctx context.Context, tenant menu.Tenant, id menu.DishID) (projections.MenuRow, error) {
	if r.err != nil {
		return projections.MenuRow{}, r.err
	}
	last, err := r.log.Last(ctx)
	if err != nil {
		return projections.MenuRow{}, err
	}
	found, missing := projections.MenuRow{}, projections.ErrNotFound
	stop := context.Canceled
	if last > 0 {
		_ = r.log.Follow(ctx, 0, func(_ context.Context, page []eventstore.Entry) error {
			for _, e := range page {
				if s, ok := e.Event.(menu.Submitted); ok && e.Key.Tenant == tenant {
					for _, item := range s.Items {
						if item.ID == id {
							found, missing = dishRow(e.Key, item, e.Seq), nil
						}
					}
				}
			}
			if page[len(page)-1].Seq >= last {
				return stop
			}
			return nil
		})
	}
	return found, missing
}

func (r *foldedRows) WaitFor(ctx context.Context, seq uint64) error {
	if r.err != nil {
		return r.err
	}
	if r.behind != nil {
		select {
		case <-r.behind:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if last, err := r.log.Last(ctx); err != nil || last >= seq {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// brokenHistory holds nothing, or fails: at once, or in the middle.
type brokenHistory struct {
	httpapi.History

	err   error
	after int // events that come before err
}

func (h *brokenHistory) Events(ctx context.Context, _ projections.EventFilter) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		for i := range h.after {
			if ctx.Err() != nil || !yield(eventstore.Envelope{Seq: uint64(i + 1), Type: "allergen.completed", Version: 1, Data: []byte("{}")}, nil) {
				return
			}
		}
		if h.err != nil {
			yield(eventstore.Envelope{}, h.err)
		}
	}
}

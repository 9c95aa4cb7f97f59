package projections

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// page is a run of the log together with the rows that its events touch.
type page struct {
	entries  []eventstore.Entry
	sessions map[menu.Key]*foldedSession
	owners   map[dishKey]menu.SessionID // who holds the ids that the events name
	ignored  map[uint64]error           // why the fold took an event in part or not at all, by sequence
	log      *slog.Logger
}

// dishKey is the primary key of menus.
type dishKey struct {
	tenant menu.Tenant
	id     menu.DishID
}

// foldedSession is a session with those of its dishes that the page touches.
type foldedSession struct {
	sessionRecord

	dishes  map[menu.DishID]uint64 // LastSeq of the dishes' rows
	changed bool                   // by this page
	erased  bool                   // by this page
	through uint64                 // of an erased session: its last event in this page, 0 if there is none
}

// dish is a dish to write.
type dish struct {
	menu.Dish

	tenant  menu.Tenant
	session menu.SessionID
}

// loadPage reads the rows that the entries touch. It reads outside the page's transaction: whoever changes these rows
// also moves the checkpoint, and then the page does not commit.
func loadPage(ctx context.Context, conn *pgx.Conn, sql statements, entries []eventstore.Entry, log *slog.Logger) (*page, error) {
	p := &page{entries: entries, sessions: map[menu.Key]*foldedSession{}, owners: map[dishKey]menu.SessionID{}, ignored: map[uint64]error{}, log: log}
	var tenants, sessions []string
	ids := map[dishKey]struct{}{}
	for _, e := range entries {
		if e.Key == (menu.Key{}) {
			continue
		}
		if _, seen := p.sessions[e.Key]; !seen {
			p.sessions[e.Key] = &foldedSession{dishes: map[menu.DishID]uint64{}}
			tenants, sessions = append(tenants, string(e.Key.Tenant)), append(sessions, string(e.Key.Session))
		}
		for id := range dishesOf(e.Event) {
			ids[dishKey{e.Key.Tenant, id}] = struct{}{}
		}
	}
	if len(p.sessions) == 0 {
		return p, nil
	}
	idTenants, idNames := make([]string, 0, len(ids)), make([]string, 0, len(ids))
	for k := range ids {
		idTenants, idNames = append(idTenants, string(k.tenant)), append(idNames, string(k.id))
	}
	batch := &pgx.Batch{}
	batch.Queue(sql.loadSessions, tenants, sessions).Query(p.addSessions)
	if len(ids) > 0 {
		batch.Queue(sql.loadDishes, idTenants, idNames).Query(p.addDishes)
	}
	return p, conn.SendBatch(ctx, batch).Close()
}

func (p *page) addSessions(rows pgx.Rows) error {
	records, err := pgx.CollectRows(rows, scanSession)
	for _, r := range records {
		s := p.sessions[r.Key]
		s.sessionRecord = r
		s.Dishes = map[menu.DishID]menu.Dish{}
	}
	return err
}

func (p *page) addDishes(rows pgx.Rows) error {
	records, err := pgx.CollectRows(rows, scanDish)
	for _, r := range records {
		p.owners[dishKey{r.tenant, r.ID}] = r.session
		if s := p.sessions[menu.Key{Tenant: r.tenant, Session: r.session}]; s != nil && s.Dishes != nil {
			s.Dishes[r.ID] = r.Dish
			s.dishes[r.ID] = r.LastSeq
		}
	}
	return err
}

// dishesOf yields the ids that an event names.
func dishesOf(event menu.Event) func(yield func(menu.DishID) bool) {
	return func(yield func(menu.DishID) bool) {
		each := func(ids ...menu.DishID) {
			for _, id := range ids {
				if !yield(id) {
					return
				}
			}
		}
		switch e := event.(type) {
		case menu.Submitted:
			for _, item := range e.Items {
				if !yield(item.ID) {
					return
				}
			}
		case menu.StageCompleted:
			for _, r := range e.Results {
				if !yield(r.ID) {
					return
				}
			}
		case menu.StageAttemptFailed:
			each(e.IDs...)
		case menu.StageFailed:
			each(e.IDs...)
		case menu.StageRetryRequested:
			each(e.IDs...)
		case menu.ImageRequested:
			each(e.ID)
		case menu.ImageCompleted:
			each(e.ID)
		case menu.ImageFailed:
			each(e.ID)
		case menu.Completed, menu.Expired, menu.Erased:
		}
	}
}

// fold carries the page's events into the sessions.
func (p *page) fold(ctx context.Context) {
	for _, e := range p.entries {
		s := p.sessions[e.Key]
		if s != nil && s.Status == menu.SessionErased {
			s.through = e.Seq // a late event, whatever it says
			continue
		}
		if e.Err != nil {
			p.log.LogAttrs(e.Context(ctx), slog.LevelWarn, "event passed over", slog.Any("error", e.Err))
			if guards(e) {
				s.MenuSeq, s.changed = e.Seq, true
			}
			continue
		}
		r := e.Recorded
		if submitted, ok := r.Event.(menu.Submitted); ok {
			r.Event = p.own(ctx, e, submitted)
		}
		before := s.LastSeq
		s.Session = menu.Evolve(s.Session, r)
		if err := strangers(s.Session, r); err != nil { // the fold has ignored them; history says why
			p.ignored[e.Seq] = err
			p.log.LogAttrs(e.Context(ctx), slog.LevelWarn, "event names unknown dishes", slog.Any("error", err))
		}
		if s.LastSeq == before {
			continue
		}
		s.lastID, s.trace, s.changed = e.ID, e.TraceParent(), true
		if s.correlation == "" {
			s.correlation = e.Correlation
		}
		if s.Status == menu.SessionErased {
			s.through, s.correlation = e.Seq, e.Correlation // as a fold of the tombstone alone says
			p.erase(s)
		}
	}
}

// ignored begins the column error of an event that can be read, and of which the fold took nothing or a part.
const ignored = "ignored: "

// strangers names a dish of an event that its session does not have.
func strangers(s menu.Session, r menu.Recorded) error {
	n, first := 0, menu.DishID("")
	for id := range dishesOf(r.Event) {
		if _, known := s.Dishes[id]; !known {
			if n++; n == 1 {
				first = id
			}
		}
	}
	switch {
	case n == 0 || s.Status == menu.SessionErased:
		return nil
	case !s.Exists():
		return fmt.Errorf("%sevent %d is for the session %s, which nobody submitted", ignored, r.Seq, r.Key)
	}
	return fmt.Errorf("%sevent %d names %d dishes that the session %s does not have, the first is %q", ignored, r.Seq, n, r.Key, first)
}

// guards says whether a message stands on a session's menu lane. There it moves the guard of the next append even if
// nobody can read it.
func guards(e eventstore.Entry) bool { return e.Type.Lane() == menu.LaneMenu }

// own gives the dishes of a submission to their session. An id that another session holds already stays with it: the
// reservation prevents that, but a program that writes to the log past it may not cost anybody a row.
func (p *page) own(ctx context.Context, e eventstore.Entry, submitted menu.Submitted) menu.Submitted {
	taken := func(item menu.Item) bool {
		key := dishKey{e.Key.Tenant, item.ID}
		owner, known := p.owners[key]
		if !known {
			p.owners[key] = e.Key.Session
		}
		return known && owner != e.Key.Session
	}
	kept := slices.DeleteFunc(slices.Clone(submitted.Items), taken)
	if n := len(submitted.Items) - len(kept); n > 0 {
		p.log.LogAttrs(e.Context(ctx), slog.LevelWarn, "dishes left out: other sessions hold their ids", slog.Int("dishes", n))
	}
	submitted.Items = kept
	return submitted
}

// erase frees the ids of a session that the page's events just erased.
func (p *page) erase(s *foldedSession) {
	s.erased = true
	clear(s.dishes)
	for key, owner := range p.owners {
		if key.tenant == s.Key.Tenant && owner == s.Key.Session {
			delete(p.owners, key)
		}
	}
}

// changes splits the dishes that the fold made or changed from those it left alone.
func (p *page) changes() (inserted, updated []dish) {
	for key, s := range p.sessions {
		for id, d := range s.Dishes {
			stored, known := s.dishes[id]
			switch change := (dish{d, key.Tenant, key.Session}); {
			case !known:
				inserted = append(inserted, change)
			case stored != d.LastSeq:
				updated = append(updated, change)
			}
		}
	}
	return inserted, updated
}

// due returns the sessions that the page touched and that have every answer, but no menu.completed yet.
func (p *page) due() []sessionRecord {
	var records []sessionRecord
	for _, s := range p.sessions {
		if s.Done() {
			records = append(records, s.sessionRecord)
		}
	}
	return records
}

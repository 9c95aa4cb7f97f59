package projections

import (
	"context"
	"fmt"
	"sync"
	"time"

	"kondate/domain/menu"
)

// ProjectorState is what a projector does.
type ProjectorState string

// The states of a projector.
const (
	ProjectorStarting ProjectorState = "starting" // it has neither asked for the lead nor failed yet
	ProjectorStandby  ProjectorState = "standby"  // another one leads
	ProjectorActive   ProjectorState = "active"   // it leads
	ProjectorFailing  ProjectorState = "failing"  // it cannot work, and tries again
)

// ProjectorStatus is how a projector is at the moment.
type ProjectorStatus struct {
	State       ProjectorState
	StateAt     time.Time // when it came to be in this state
	Err         error     // the last one, also of work beside the projection; nil: there was none
	ErrAt       time.Time // when it was
	Errors      int64
	Completions int64     // menu.completed appended
	PageSince   time.Time // when the page that is being written was begun; zero: none is
	WrittenAt   time.Time // when the last page was committed; zero: none was

	backend uint32 // of Postgres, that holds the lock of the lead
}

// Page is a committed transaction of a projector.
type Page struct {
	Events int
	Took   time.Duration
}

// status is a ProjectorStatus that several goroutines change.
type status struct {
	mu  sync.Mutex // guards now
	now ProjectorStatus
}

func (s *status) change(by func(*ProjectorStatus)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	by(&s.now)
}

// enter notes what a projector does; backend is Postgres' of its lead, 0 where it has none.
func (s *status) enter(state ProjectorState, backend uint32) {
	s.change(func(p *ProjectorStatus) {
		if p.State != state {
			p.State, p.StateAt = state, time.Now()
		}
		p.backend, p.PageSince = backend, time.Time{}
	})
}

func (s *status) failed(err error) {
	s.change(func(p *ProjectorStatus) { p.Err, p.ErrAt = err, time.Now(); p.Errors++ })
}

func (s *status) appended(events []menu.Event) {
	for _, e := range events {
		if _, is := e.(menu.Completed); is {
			s.change(func(p *ProjectorStatus) { p.Completions++ })
		}
	}
}

// begins notes that a page is being written, and returns since when.
func (t *term) begins() time.Time {
	now := time.Now()
	t.projector.status.change(func(p *ProjectorStatus) { p.PageSince = now })
	return now
}

// idle notes that no page is being written.
func (t *term) idle() {
	t.projector.status.change(func(p *ProjectorStatus) { p.PageSince = time.Time{} })
}

// written notes that a page is committed.
func (t *term) written(page *page, began time.Time) {
	now := time.Now()
	t.projector.status.change(func(p *ProjectorStatus) { p.WrittenAt = now })
	if t.projector.cfg.Written != nil {
		t.projector.cfg.Written(Page{Events: len(page.entries), Took: now.Sub(began)})
	}
}

// Status returns how the projector is at the moment.
func (p *Projector) Status() ProjectorStatus {
	p.status.mu.Lock()
	defer p.status.mu.Unlock()
	return p.status.now
}

// Leads asks Postgres whether this projector is the one that works. One that has nothing to write does not notice that it
// lost its connection, and with it the lead, until there is something.
func (p *Projector) Leads(ctx context.Context) (leads bool, err error) {
	s := p.Status()
	if s.State != ProjectorActive {
		return false, nil
	}
	const held = "select exists (select " + sqlLeadLock + " and l.pid = $3)"
	if err := p.pool.QueryRow(ctx, held, lockClass, lockLead, s.backend).Scan(&leads); err != nil {
		return false, fmt.Errorf("ask who holds the lead: %w", err)
	}
	return leads, nil
}

package stage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// maxID bounds the ids that a trigger passes on to our events: with longer ones their headers might not fit the broker.
const maxID = 255

// errSetAside is matched by the error of a message that no attempt will ever make sense of.
var errSetAside = errors.New("the message is set aside")

// work is what a delivery leaves to do: the dishes that its trigger asks for and that have no answer yet.
type work struct {
	trigger eventstore.Entry
	session menu.Session // at least the dishes below
	due     []Request
	waiting []eventstore.Proposed // attempts that failed before and may lack their schedule
	wait    time.Duration         // before the delivery has to come again; 0: it is done with
}

// plan says what a trigger leaves to do. A fresh submission needs no look at the log: nobody can have answered it.
// Otherwise the answers are read first, so that no dish is worked on, and paid for, twice.
func (s *stage) plan(ctx context.Context, trigger eventstore.Entry, fresh bool, now time.Time) (work, error) {
	if trigger.Err != nil {
		return work{}, fmt.Errorf("%w: %w", errSetAside, trigger.Err)
	}
	if len(trigger.ID) > maxID || len(trigger.Correlation) > maxID {
		return work{}, fmt.Errorf("%w: event %d has an id of more than %d bytes", errSetAside, trigger.Seq, maxID)
	}
	w := work{trigger: trigger}
	var p plan
	var err error
	switch e := trigger.Event.(type) {
	case menu.Submitted:
		for _, item := range e.Items {
			p.ids = append(p.ids, item.ID)
		}
		w.session = menu.Evolve(w.session, trigger.Recorded)
		if !fresh {
			err = s.load(ctx, &w, &p, trigger.Seq)
		}
	case menu.StageRetryRequested:
		p.epoch, p.ids = e.Epoch, e.IDs
		err = s.load(ctx, &w, &p, 0)
	case menu.StageAttemptFailed:
		if e.Stage != s.stage {
			return work{}, fmt.Errorf("%w: a retry of stage %s came to stage %s", errSetAside, e.Stage, s.stage)
		}
		if early := e.RetryAt.Sub(now); early > 0 { // the broker's clock is not ours
			w.wait = early
			return w, nil
		}
		p.epoch, p.ids, p.attempts = e.Epoch, e.IDs, e.Attempt
		if err = s.load(ctx, &w, &p, 0); err == nil && w.session.Exists() {
			w.session = menu.Evolve(w.session, trigger.Recorded) // a copy that is read may lag behind
		}
	case menu.Completed, menu.Expired, menu.Erased, menu.StageCompleted, menu.StageFailed,
		menu.ImageRequested, menu.ImageCompleted, menu.ImageFailed:
		return work{}, fmt.Errorf("%w: event %d, a %s, asks stage %s for nothing", errSetAside, trigger.Seq, trigger.Type, s.stage)
	}
	switch {
	case err != nil:
		return work{}, err
	case !w.session.Exists():
		return work{}, fmt.Errorf("%w: session %s of event %d was never submitted", errSetAside, trigger.Key, trigger.Seq)
	}
	s.open(&w, p)
	return w, nil
}

// plan is what a trigger asks for.
type plan struct {
	ids      []menu.DishID
	epoch    int
	attempts int                          // made before the one that the trigger asks for
	failed   map[attempt]eventstore.Entry // the attempts that failed
}

// attempt names one attempt for one dish.
type attempt struct {
	id    menu.DishID
	epoch int
	n     int
}

// open fills in the dishes whose stage waits for an answer in this epoch; an erased session has none. Dishes that have
// had their attempt wait for the next one under a schedule of its own. A crash may have come before that was made.
func (s *stage) open(w *work, p plan) {
	seen := make(map[menu.DishID]bool, len(p.ids))
	waits := map[string]bool{}
	w.due = make([]Request, 0, len(p.ids))
	for _, id := range p.ids {
		dish, known := w.session.Dishes[id]
		state := dish.Stages[s.stage]
		if !known || seen[id] || state.Epoch != p.epoch || state.Answered() {
			continue
		}
		seen[id] = true
		if state.Attempts > p.attempts {
			failed, known := p.failed[attempt{id, p.epoch, state.Attempts}]
			if known && !waits[failed.ID] {
				waits[failed.ID] = true
				w.waiting = append(w.waiting, again(failed))
			}
			continue
		}
		w.due = append(w.due, Request{
			Key: w.trigger.Key, Stage: s.stage, SourceLanguage: w.session.SourceLanguage, TargetLanguage: w.session.TargetLanguage,
			Item: dish.Item, Epoch: p.epoch, Attempt: state.Attempts + 1,
		})
	}
}

// load folds into the work's session what the menu's lane and the stage's own hold after a sequence, and notes the
// attempts that failed.
func (s *stage) load(ctx context.Context, w *work, p *plan, after uint64) error {
	entries, err := s.reads.of(ctx, w.trigger.Key)
	if err != nil {
		return fmt.Errorf("see what stage %s has answered: %w", s.stage, err)
	}
	p.failed = map[attempt]eventstore.Entry{}
	for _, entry := range entries {
		if entry.Seq <= after || entry.Event == nil {
			continue // an event that nobody can read was set aside by whoever it was meant for
		}
		w.session = menu.Evolve(w.session, entry.Recorded)
		if e, ok := entry.Event.(menu.StageAttemptFailed); ok {
			for _, id := range e.IDs {
				ref := attempt{id, e.Epoch, e.Attempt}
				if _, known := p.failed[ref]; !known {
					p.failed[ref] = entry
				}
			}
		}
	}
	return nil
}

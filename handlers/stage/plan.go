package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// maxID bounds the ids that a trigger passes on to our events: with longer ones their headers might not fit the broker.
const maxID = 255

// errSetAside is matched by the error of a message that no attempt will ever make sense of.
var errSetAside = errors.New("the message is set aside")

// attempt names one attempt for one dish.
type attempt struct {
	id    menu.DishID
	epoch int
	n     int
}

// work is what a delivery leaves to do: the dishes that its trigger asks for and that have no answer yet.
type work struct {
	trigger eventstore.Entry
	session menu.Session // at least the dishes below
	due     []Request
	retryAt time.Time // of the earliest dish that waits for its next attempt; zero if none does
}

// plan says what a trigger leaves to do. A fresh one needs no look at the log: nobody can have answered it. Otherwise
// the answers are read first, so that no dish is worked on, and paid for, twice.
func (s *stage) plan(ctx context.Context, trigger eventstore.Entry, fresh bool, now time.Time) (work, error) {
	if trigger.Err != nil {
		return work{}, fmt.Errorf("%w: %w", errSetAside, trigger.Err)
	}
	if len(trigger.ID) > maxID || len(trigger.Correlation) > maxID {
		return work{}, fmt.Errorf("%w: event %d has an id of more than %d bytes", errSetAside, trigger.Seq, maxID)
	}
	var (
		session menu.Session
		retryAt map[attempt]time.Time
		epoch   int
		ids     []menu.DishID
		err     error
	)
	switch e := trigger.Event.(type) {
	case menu.Submitted:
		for _, item := range e.Items {
			ids = append(ids, item.ID)
		}
		session = menu.Evolve(session, trigger.Recorded)
		if !fresh {
			session, retryAt, err = s.load(ctx, session, trigger.Key, trigger.Seq)
		}
	case menu.StageRetryRequested:
		epoch, ids = e.Epoch, e.IDs
		session, retryAt, err = s.load(ctx, session, trigger.Key, 0)
	case menu.Completed, menu.Expired, menu.Erased, menu.StageCompleted, menu.StageAttemptFailed, menu.StageFailed,
		menu.ImageRequested, menu.ImageCompleted, menu.ImageFailed:
		return work{}, fmt.Errorf("%w: event %d, a %s, asks stage %s for nothing", errSetAside, trigger.Seq, trigger.Type, s.stage)
	}
	switch {
	case err != nil:
		return work{}, err
	case !session.Exists():
		return work{}, fmt.Errorf("%w: session %s of event %d was never submitted", errSetAside, trigger.Key, trigger.Seq)
	}
	return s.open(work{trigger: trigger, session: session}, epoch, ids, retryAt, now), nil
}

// open fills in the dishes whose stage waits for an answer in this epoch; an erased session has none.
func (s *stage) open(w work, epoch int, ids []menu.DishID, retryAt map[attempt]time.Time, now time.Time) work {
	seen := make(map[menu.DishID]bool, len(ids))
	w.due = make([]Request, 0, len(ids))
	for _, id := range ids {
		dish, known := w.session.Dishes[id]
		state := dish.Stages[s.stage]
		if !known || seen[id] || state.Epoch != epoch || state.Answered() {
			continue
		}
		seen[id] = true
		if at := retryAt[attempt{id, epoch, state.Attempts}]; at.After(now) {
			w.wait(at)
			continue
		}
		w.due = append(w.due, Request{
			Key: w.trigger.Key, Stage: s.stage, SourceLanguage: w.session.SourceLanguage, TargetLanguage: w.session.TargetLanguage,
			Item: dish.Item, Epoch: epoch, Attempt: state.Attempts + 1,
		})
	}
	return w
}

// wait notes that a dish has its next attempt at a later time.
func (w *work) wait(at time.Time) {
	if w.retryAt.IsZero() || at.Before(w.retryAt) {
		w.retryAt = at
	}
}

// load folds into a session what the menu's lane and the stage's own hold after a sequence. It also says when the
// attempt that follows a failed one is due.
func (s *stage) load(ctx context.Context, session menu.Session, key menu.Key, after uint64) (menu.Session, map[attempt]time.Time, error) {
	var entries []eventstore.Entry
	for _, lane := range []menu.Lane{menu.LaneMenu, s.stage.Lane()} {
		found, err := s.log.LoadLane(ctx, key, lane, after)
		if err != nil {
			return session, nil, fmt.Errorf("read what stage %s has answered in session %s: %w", s.stage, key, err)
		}
		entries = append(entries, found...)
	}
	slices.SortFunc(entries, func(a, b eventstore.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	retryAt := map[attempt]time.Time{}
	for _, entry := range entries {
		if entry.Event == nil {
			continue // set aside by whoever it was meant for
		}
		session = menu.Evolve(session, entry.Recorded)
		if e, ok := entry.Event.(menu.StageAttemptFailed); ok {
			for _, id := range e.IDs {
				ref := attempt{id, e.Epoch, e.Attempt}
				if _, known := retryAt[ref]; !known {
					retryAt[ref] = e.RetryAt
				}
			}
		}
	}
	return session, retryAt, nil
}

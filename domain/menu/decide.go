package menu

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Answer decides which results of one stage are news: it drops those for dishes that have their answer and rejects
// the whole command if one names a dish that the session does not have. No news means no event.
func Answer(s Session, stage Stage, results []DishResult) ([]Event, error) {
	fresh := make([]DishResult, 0, len(results))
	for _, res := range results {
		state, err := s.stage("answer", stage, res.ID)
		if err != nil {
			return nil, err
		}
		if err := res.Result.Validate(); err != nil {
			return nil, fmt.Errorf("%s of dish %s: %w", stage, res.ID, err)
		}
		if res.Epoch == state.Epoch && !state.Answered() {
			fresh = append(fresh, res)
		}
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	return []Event{StageCompleted{Stage: stage, Results: fresh}}, nil
}

// Postpone decides that an attempt failed and another one follows at e.RetryAt.
func Postpone(s Session, e StageAttemptFailed) ([]Event, error) {
	ids, err := s.unanswered("postpone", e.Stage, e.IDs, e.Epoch)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	e.IDs = ids
	return []Event{e}, nil
}

// Park decides that the stage gives these dishes up until somebody asks for a retry.
func Park(s Session, e StageFailed) ([]Event, error) {
	ids, err := s.unanswered("park", e.Stage, e.IDs, e.Epoch)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	e.IDs = ids
	return []Event{e}, nil
}

// Retry takes parked dishes of one stage back to work. Dishes in different epochs need one event each epoch.
// It rejects the command if one of the dishes is not parked.
func Retry(s Session, stage Stage, ids []DishID, by string) ([]Event, error) {
	byEpoch := map[int][]DishID{}
	var order []int
	for _, id := range ids {
		state, err := s.stage("retry", stage, id)
		if err != nil {
			return nil, err
		}
		if !state.Parked() {
			return nil, &RejectedError{Command: "retry", Detail: fmt.Sprintf("%s of dish %s", stage, id), Err: ErrNotParked}
		}
		next := state.Epoch + 1
		if _, known := byEpoch[next]; !known {
			order = append(order, next)
		}
		byEpoch[next] = append(byEpoch[next], id)
	}
	events := make([]Event, len(order))
	for i, epoch := range order {
		events[i] = StageRetryRequested{Stage: stage, IDs: byEpoch[epoch], Epoch: epoch, By: by}
	}
	return events, nil
}

// Complete decides that the session has every answer. at is the time of the decision.
func Complete(s Session, at time.Time) ([]Event, error) {
	if err := s.usable("complete"); err != nil {
		return nil, err
	}
	if s.Unanswered() > 0 {
		return nil, &RejectedError{Command: "complete", Detail: fmt.Sprintf("%d of them", s.Unanswered()), Err: ErrNotAnswered}
	}
	if !s.Done() {
		return nil, nil
	}
	parked := []DishID{}
	for id, d := range s.Dishes {
		if d.Status() == DishFailed {
			parked = append(parked, id)
		}
	}
	slices.SortFunc(parked, func(a, b DishID) int { return cmp.Compare(s.Dishes[a].Position, s.Dishes[b].Position) })
	return []Event{Completed{
		Round: s.Round + 1, Items: s.ItemCount, Completed: s.Completed, Failed: s.Failed,
		FailedMenuIDs: parked, DurationMS: at.Sub(s.CreatedAt).Milliseconds(),
	}}, nil
}

// Expire gives up a session that still misses answers.
func Expire(s Session) ([]Event, error) {
	if err := s.usable("expire"); err != nil {
		return nil, err
	}
	if s.Status != SessionProcessing || s.Unanswered() == 0 {
		return nil, &RejectedError{Command: "expire", Err: ErrClosed}
	}
	return []Event{Expired{Unanswered: s.Unanswered()}}, nil
}

// Erase leaves the tombstone that the removal of the session's content needs. Erasing twice is no news.
func Erase(s Session, by, reason string) ([]Event, error) {
	if !s.Exists() {
		return nil, &RejectedError{Command: "erase", Err: ErrNoSession}
	}
	if s.Status == SessionErased {
		return nil, nil
	}
	return []Event{Erased{By: by, Reason: reason}}, nil
}

// RequestImage asks for a generated picture of a dish.
func RequestImage(s Session, id DishID) ([]Event, error) {
	d, err := s.dish("request image", id)
	if err != nil {
		return nil, err
	}
	if d.Image.Open {
		return nil, &RejectedError{Command: "request image", Detail: "dish " + string(id), Err: ErrImageOpen}
	}
	return []Event{ImageRequested{ID: id, Epoch: d.Image.Epoch + 1}}, nil
}

func (s Session) usable(command string) error {
	switch {
	case s.Status == SessionErased:
		return &RejectedError{Command: command, Err: ErrErased}
	case !s.Exists():
		return &RejectedError{Command: command, Err: ErrNoSession}
	}
	return nil
}

func (s Session) dish(command string, id DishID) (Dish, error) {
	if err := s.usable(command); err != nil {
		return Dish{}, err
	}
	d, known := s.Dishes[id]
	if !known {
		return Dish{}, &RejectedError{Command: command, Detail: "dish " + string(id), Err: ErrNoDish}
	}
	return d, nil
}

func (s Session) stage(command string, stage Stage, id DishID) (StageState, error) {
	d, err := s.dish(command, id)
	return d.Stages[stage], err
}

// unanswered returns those of ids whose stage waits for an answer in this epoch.
func (s Session) unanswered(command string, stage Stage, ids []DishID, epoch int) ([]DishID, error) {
	var open []DishID
	for _, id := range ids {
		state, err := s.stage(command, stage, id)
		if err != nil {
			return nil, err
		}
		if state.Epoch == epoch && !state.Answered() {
			open = append(open, id)
		}
	}
	return open, nil
}

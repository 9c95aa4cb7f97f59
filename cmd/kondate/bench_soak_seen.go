package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"kondate/cmd/kondate/bench"
	"kondate/domain/menu"
)

// errTorn says that a stream did not bring what it has to.
var errTorn = errors.New("a stream missed an event or brought one twice")

// dishStage is the work of a stage on a dish.
type dishStage struct {
	dish  menu.DishID
	stage menu.Stage
}

// streamSeen is what a client has seen of a session's stream.
type streamSeen struct {
	session   string
	seq       uint64                 // of the last event
	results   map[dishStage]struct{} // one that was delivered again may come twice
	parked    map[dishStage]struct{}
	completed time.Time // when menu.completed came; zero: it did not yet
}

func newStreamSeen(session string) *streamSeen {
	return &streamSeen{session: session, results: map[dishStage]struct{}{}, parked: map[dishStage]struct{}{}}
}

// take takes a frame. Events have to come in the log's order.
func (s *streamSeen) take(fr frame) error {
	e, ok, err := fr.stored()
	if err != nil || !ok {
		return err
	}
	if e.Seq <= s.seq {
		return fmt.Errorf("%w: session %s: event %d after %d", errTorn, s.session, e.Seq, s.seq)
	}
	s.seq = e.Seq
	if e.Type == (menu.Completed{}).Type() {
		s.completed = time.Now()
		return nil
	}
	var data struct {
		menu.StageCompleted

		IDs []menu.DishID `json:"menu_ids"` // of a failure
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return fmt.Errorf("read event %d: %w", e.Seq, err)
	}
	for _, r := range data.Results {
		s.results[dishStage{r.ID, data.Stage}] = struct{}{}
	}
	if e.Type == (menu.StageFailed{Stage: data.Stage}).Type() {
		for _, id := range data.IDs {
			s.parked[dishStage{id, data.Stage}] = struct{}{}
		}
	}
	return nil
}

// whole says whether the stream brought everything: of each dish what became of it in each stage, and the end.
func (s *streamSeen) whole() error {
	const all = menu.StageCount * bench.Dishes
	for w := range s.results {
		delete(s.parked, w) // what came late counts
	}
	switch {
	case s.completed.IsZero():
		return fmt.Errorf("%w: session %s ended without %s", errTorn, s.session, (menu.Completed{}).Type())
	case len(s.results)+len(s.parked) != all:
		return fmt.Errorf("%w: session %s: %d results of %d, and %d parked", errTorn, s.session, len(s.results), all, len(s.parked))
	}
	return nil
}

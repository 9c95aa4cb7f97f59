package menu_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
)

func fold(events ...menu.Event) menu.Session {
	return menu.Replay(menutest.Record(menutest.Key("s1"), events...))
}

func allStages(ids ...menu.DishID) []menu.Event {
	var events []menu.Event
	for _, stage := range menu.Stages() {
		events = append(events, menutest.Completed(stage, ids...))
	}
	return events
}

func parked(stage menu.Stage, epoch int, ids ...menu.DishID) menu.StageFailed {
	return menu.StageFailed{Stage: stage, IDs: ids, Epoch: epoch, Attempts: 3, Reason: "timeout", Error: "no answer", Provider: "test"}
}

func TestProcessingStatus(t *testing.T) {
	t.Parallel()
	submitted := menutest.Submitted(menutest.Items("d", 1))
	seven := allStages("d-0")[:7]
	tests := map[string]struct {
		events []menu.Event
		want   menu.ProcessingStatus
	}{
		"Submitted":      {nil, menu.BasicCompleted},
		"AttemptFailed":  {[]menu.Event{menu.StageAttemptFailed{Stage: menu.Task8, IDs: []menu.DishID{"d-0"}, Attempt: 1}}, menu.BasicCompleted},
		"OneAnswer":      {[]menu.Event{menutest.Completed(menu.Task8, "d-0")}, menu.Processing},
		"OneParked":      {[]menu.Event{parked(menu.Task8, 0, "d-0")}, menu.Processing},
		"SevenAnswers":   {seven, menu.Processing},
		"EightAnswers":   {allStages("d-0"), menu.DishCompleted},
		"SevenAndParked": {append(seven[:7:7], parked(menu.Task8, 0, "d-0")), menu.DishFailed},
		"RetryAsked": {append(seven[:7:7], parked(menu.Task8, 0, "d-0"),
			menu.StageRetryRequested{Stage: menu.Task8, IDs: []menu.DishID{"d-0"}, Epoch: 1}), menu.Processing},
		"RetryOfTheOnlyAnswer": {[]menu.Event{
			parked(menu.Task8, 0, "d-0"),
			menu.StageRetryRequested{Stage: menu.Task8, IDs: []menu.DishID{"d-0"}, Epoch: 1},
		}, menu.Processing},
		"UnknownDish":     {[]menu.Event{menutest.Completed(menu.Task8, "nobody")}, menu.BasicCompleted},
		"AnswerOfTheNext": {[]menu.Event{parked(menu.Task8, 1, "d-0")}, menu.BasicCompleted},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fold(append([]menu.Event{submitted}, test.events...)...)
			if got := s.Dishes["d-0"].Status(); got != test.want {
				t.Fatalf("status = %s, want %s", got, test.want)
			}
		})
	}
}

func TestUnknownDishChangesNothing(t *testing.T) {
	t.Parallel()
	s := fold(menutest.Submitted(menutest.Items("d", 1)))
	after := menu.Evolve(fold(menutest.Submitted(menutest.Items("d", 1))), menu.Recorded{
		Seq: 2, Key: menutest.Key("s1"), Time: menutest.Start(), Event: menutest.Completed(menu.Allergen, "nobody"),
	})
	if len(after.Dishes) != 1 || after.Stages != s.Stages || after.Dishes["d-0"].LastSeq != s.Dishes["d-0"].LastSeq {
		t.Fatalf("the session changed: %+v", after)
	}
}

// A completion that somebody recorded before the submission leaves no trace in the session.
func TestCompletionBeforeSubmissionChangesNothing(t *testing.T) {
	t.Parallel()
	early := fold(menu.Completed{Round: 3})
	if early.Exists() || early.Status != "" || early.Round != 0 {
		t.Fatalf("the completion made a session: %+v", early)
	}
	if s := fold(menu.Completed{Round: 3}, menutest.Submitted(menutest.Items("d", 1))); s.Round != 0 || !s.CompletedAt.IsZero() {
		t.Fatalf("the submitted session is in round %d, completed at %s", s.Round, s.CompletedAt)
	}
}

func TestFirstTerminalAnswerWins(t *testing.T) {
	t.Parallel()
	second := menutest.Completed(menu.Allergen, "d-0")
	second.Results[0].Result.Provider = "late"
	s := fold(menutest.Submitted(menutest.Items("d", 1)), menutest.Completed(menu.Allergen, "d-0"), second, parked(menu.Allergen, 0, "d-0"))
	if got := s.Dishes["d-0"].Stages[menu.Allergen]; got.Provider != "test" || got.Seq != 2 || got.Status != "ok" {
		t.Fatalf("state = %+v, want the first answer", got)
	}
	if s.Stages[menu.Allergen] != (menu.Tally{Completed: 1}) {
		t.Fatalf("tally = %+v", s.Stages[menu.Allergen])
	}
}

func TestClosing(t *testing.T) {
	t.Parallel()
	retry := menu.StageRetryRequested{Stage: menu.Task8, IDs: []menu.DishID{"d-0"}, Epoch: 1}
	again := menutest.Completed(menu.Task8, "d-0")
	again.Results[0].Epoch = 1
	image := menu.ImageRequested{ID: "d-0", Epoch: 1}
	events := append([]menu.Event{menutest.Submitted(menutest.Items("d", 1))}, allStages("d-0")[:7]...)
	events = append(events, parked(menu.Task8, 0, "d-0"))
	steps := []struct {
		event        menu.Event
		closed, done bool
	}{
		{menu.Completed{Round: 1}, true, false},
		{image, false, false},
		{menu.ImageCompleted{ID: "d-0", Epoch: 1, URL: "/x"}, true, false},
		{retry, false, false},
		{again, false, true},
		{menu.Completed{Round: 2}, true, false},
		{menu.Completed{Round: 1}, true, false},
		{menu.Erased{By: "me"}, true, false},
		{again, true, false},
	}
	if s := fold(events...); s.Closed() || !s.Done() {
		t.Fatalf("before the completion: closed %v, done %v", s.Closed(), s.Done())
	}
	for i, step := range steps {
		events = append(events, step.event)
		if s := fold(events...); s.Closed() != step.closed || s.Done() != step.done {
			t.Fatalf("after step %d (%s): closed %v, done %v; want %v, %v", i, step.event.Type(), s.Closed(), s.Done(), step.closed, step.done)
		}
	}
}

// A retry may reach the log between the decision to complete and its event: the completion must not close the retry's round.
func TestRetryOvertakesCompletion(t *testing.T) {
	t.Parallel()
	events := append([]menu.Event{menutest.Submitted(menutest.Items("d", 1))}, allStages("d-0")[:7]...)
	events = append(events, parked(menu.Task8, 0, "d-0"),
		menu.StageRetryRequested{Stage: menu.Task8, IDs: []menu.DishID{"d-0"}, Epoch: 1}, menu.Completed{Round: 1})
	if s := fold(events...); s.Status != menu.SessionProcessing || s.Closed() {
		t.Fatalf("status %s, closed %v; want an open session", s.Status, s.Closed())
	}
	again := menutest.Completed(menu.Task8, "d-0")
	again.Results[0].Epoch = 1
	s := fold(append(events, again)...)
	if s.Closed() || !s.Done() || s.Round != 1 {
		t.Fatalf("closed %v, done %v, round %d; want a second round to be due", s.Closed(), s.Done(), s.Round)
	}
}

func TestErasedIsFinal(t *testing.T) {
	t.Parallel()
	s := fold(menutest.Submitted(menutest.Items("d", 2)), menu.Erased{By: "guest", Reason: "asked"}, menutest.Completed(menu.Allergen, "d-0"))
	if s.Status != menu.SessionErased || len(s.Dishes) != 0 || s.Title != "" || s.LastSeq != 2 {
		t.Fatalf("state after an erasure and a late result: %+v", s)
	}
}

// outcome is what a row says, without what depends on the order of the log (sequences, times).
func outcome(s menu.Session) map[menu.DishID]menu.Dish {
	rows := make(map[menu.DishID]menu.Dish, len(s.Dishes))
	for id, d := range s.Dishes {
		d.CreatedAt, d.UpdatedAt, d.LastSeq = time.Time{}, time.Time{}, 0
		for i := range d.Stages {
			d.Stages[i].Seq = 0
		}
		rows[id] = d
	}
	return rows
}

// life draws what one stage says of one dish, in the only order in which it can happen: attempts, an answer or parking,
// perhaps a retry and the same again.
func life(t *rapid.T, stage menu.Stage, id menu.DishID) []menu.Event {
	var events []menu.Event
	for epoch := 0; ; epoch++ {
		attempts := rapid.IntRange(0, 2).Draw(t, "failed attempts")
		for a := 1; a <= attempts; a++ {
			events = append(events, menu.StageAttemptFailed{Stage: stage, IDs: []menu.DishID{id}, Epoch: epoch, Attempt: a, Reason: "timeout"})
		}
		switch rapid.IntRange(0, 3).Draw(t, "end") {
		case 0:
			return events // still running
		case 1, 2:
			e := menutest.Completed(stage, id)
			e.Results[0].Epoch, e.Results[0].Attempt = epoch, attempts+1
			return append(events, e)
		}
		e := parked(stage, epoch, id)
		e.Attempts = attempts + 1
		events = append(events, e)
		if epoch == 2 || !rapid.Bool().Draw(t, "retry") {
			return events
		}
		events = append(events, menu.StageRetryRequested{Stage: stage, IDs: []menu.DishID{id}, Epoch: epoch + 1})
	}
}

// Every interleaving of stage results, failures, retries and duplicates folds to the same rows, statuses never go
// backwards within an epoch, and the session's counters always equal a count of its dishes.
func TestInterleavings(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		items := menutest.Items("d", rapid.IntRange(1, 3).Draw(t, "dishes"))
		var lives [][]menu.Event
		for _, item := range items {
			for _, stage := range menu.Stages() {
				lives = append(lives, life(t, stage, item.ID))
			}
		}
		want := outcome(interleave(t, items, lives, false))
		got := interleave(t, items, lives, true)
		for id, row := range outcome(got) {
			if !sameDish(row, want[id]) {
				t.Fatalf("dish %s folded to\n%+v\nand in another order to\n%+v", id, row, want[id])
			}
		}
	})
}

// interleave folds the lives one after the other or, shuffled, in a drawn interleaving with repeated events.
func interleave(t *rapid.T, items []menu.Item, lives [][]menu.Event, shuffled bool) menu.Session {
	events := []menu.Event{menutest.Submitted(items)}
	left := make([][]menu.Event, len(lives))
	copy(left, lives)
	for len(left) > 0 {
		i := 0
		if shuffled {
			i = rapid.IntRange(0, len(left)-1).Draw(t, "next")
		}
		if len(left[i]) == 0 {
			left = append(left[:i:i], left[i+1:]...)
			continue
		}
		events = append(events, left[i][0])
		left[i] = left[i][1:]
		if shuffled && rapid.IntRange(0, 3).Draw(t, "repeat") == 0 {
			events = append(events, events[rapid.IntRange(1, len(events)-1).Draw(t, "which")])
		}
	}
	var s menu.Session
	for _, r := range menutest.Record(menutest.Key("s1"), events...) {
		before := s.Dishes
		epochs := map[menu.DishID][menu.StageCount]int{}
		for id, d := range before {
			var e [menu.StageCount]int
			for i := range d.Stages {
				e[i] = d.Stages[i].Epoch*2 + b2i(d.Stages[i].Answered())
			}
			epochs[id] = e
		}
		s = menu.Evolve(s, r)
		for id, e := range epochs {
			for i, st := range s.Dishes[id].Stages {
				if now := st.Epoch*2 + b2i(st.Answered()); now < e[i] {
					t.Fatalf("%s of %s went backwards at event %d", menu.Stage(i), id, r.Seq)
				}
			}
		}
		checkCounters(t, s)
	}
	return s
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func checkCounters(t *rapid.T, s menu.Session) {
	var tallies [menu.StageCount]menu.Tally
	done, failed, retries := 0, 0, 0
	for _, d := range s.Dishes {
		switch d.Status() {
		case menu.DishCompleted:
			done++
		case menu.DishFailed:
			failed++
		case menu.Pending, menu.BasicCompleted, menu.Processing:
		}
		for i, st := range d.Stages {
			switch {
			case st.Parked():
				tallies[i].Failed++
			case st.Answered():
				tallies[i].Completed++
			case st.Epoch > 0:
				retries++
			}
		}
	}
	if tallies != s.Stages || done != s.Completed || failed != s.Failed || retries != s.OpenRetries {
		t.Fatalf("counters %v %d %d %d, counted %v %d %d %d", s.Stages, s.Completed, s.Failed, s.OpenRetries, tallies, done, failed, retries)
	}
}

func sameDish(a, b menu.Dish) bool {
	if a.Item != b.Item || a.Image != b.Image || a.Status() != b.Status() {
		return false
	}
	for i := range a.Stages {
		x, y := a.Stages[i], b.Stages[i]
		if string(x.Data) != string(y.Data) {
			return false
		}
		if x.Status != y.Status || x.Provider != y.Provider || x.Attempts != y.Attempts || x.Epoch != y.Epoch || x.Reason != y.Reason {
			return false
		}
	}
	return true
}

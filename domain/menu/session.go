package menu

import "time"

// SessionStatus is how far a session has come.
type SessionStatus string

// The statuses of a session. Those of a session that can take no more without a new request are completed, expired, erased.
const (
	SessionProcessing SessionStatus = "processing"
	SessionCompleted  SessionStatus = "completed"
	SessionExpired    SessionStatus = "expired"
	SessionErased     SessionStatus = "erased"
)

// Tally counts the dishes for which a stage has its terminal answer.
type Tally struct {
	Completed int `json:"completed"`
	Failed    int `json:"failed"`
}

// Session is the state of one submitted menu. The zero value is a session that nobody submitted.
//
// Its counters do not need all of Dishes: whoever keeps sessions and dishes elsewhere may fold an event into a
// session that holds only the dishes the event names.
type Session struct {
	Key            Key
	Title          string
	SourceLanguage string
	TargetLanguage string
	ItemCount      int // as submitted
	Loaded         int // dishes folded so far; below ItemCount while chunks are missing
	Status         SessionStatus
	Round          int // menu.completed events so far
	Dishes         map[DishID]Dish

	Completed   int // dishes that are completed
	Failed      int // dishes that ended with a parked stage
	Stages      [StageCount]Tally
	OpenRetries int // answers asked for again and not there yet
	OpenImages  int

	CreatedAt   time.Time
	UpdatedAt   time.Time
	CompletedAt time.Time // of the last round; zero while the session runs
	MenuSeq     uint64    // last event of the lane menu: what guards the next one
	LastSeq     uint64    // last event of the session
}

// Exists says whether the session was submitted.
func (s Session) Exists() bool { return s.ItemCount > 0 || s.Status == SessionErased }

// Unanswered counts the answers that are missing, dishes × stages.
func (s Session) Unanswered() int {
	n := s.ItemCount * StageCount
	for _, t := range s.Stages {
		n -= t.Completed + t.Failed
	}
	return n
}

// Done says that every answer is there and menu.completed is due.
func (s Session) Done() bool {
	return s.Exists() && s.Unanswered() == 0 && (s.Status == SessionProcessing || s.Status == SessionExpired)
}

// Closed says that no event follows unless somebody asks for one: a stream of this session may end.
func (s Session) Closed() bool {
	switch s.Status {
	case SessionErased:
		return true
	case SessionCompleted, SessionExpired:
		return s.OpenRetries == 0 && s.OpenImages == 0
	case SessionProcessing:
	}
	return false
}

// Evolve folds one recorded event into a session. It never fails: a recorded event is a fact, and one that adds
// nothing (a second answer, an answer for a dish that does not exist, anything after an erasure) changes no dish.
// Evolve takes ownership of s, as append does of its slice: use the value it returns.
func Evolve(s Session, r Recorded) Session {
	if s.Status == SessionErased {
		return s
	}
	s.Key, s.LastSeq, s.UpdatedAt = r.Key, r.Seq, r.Time
	if r.Event.Type().Lane() == LaneMenu {
		s.MenuSeq = r.Seq
	}
	switch e := r.Event.(type) {
	case Submitted:
		s = s.submitted(e, r)
	case Completed:
		s = s.completed(e, r)
	case Expired:
		if s.Status == SessionProcessing {
			s.Status = SessionExpired
		}
	case Erased:
		// Nothing of the events before: they are removed, and a fold of the tombstone alone has to say the same.
		s = Session{Key: r.Key, Status: SessionErased, MenuSeq: r.Seq, LastSeq: r.Seq, UpdatedAt: r.Time}
	case StageCompleted:
		for _, res := range e.Results {
			s = s.change(res.ID, r, func(d *Dish) { d.Stages[e.Stage].complete(res, r.Seq) })
		}
	case StageAttemptFailed:
		for _, id := range e.IDs {
			s = s.change(id, r, func(d *Dish) { d.Stages[e.Stage].attemptFailed(e, r.Seq) })
		}
	case StageFailed:
		for _, id := range e.IDs {
			s = s.change(id, r, func(d *Dish) { d.Stages[e.Stage].park(e, r.Seq) })
		}
	case StageRetryRequested:
		for _, id := range e.IDs {
			s = s.change(id, r, func(d *Dish) { d.Stages[e.Stage].retry(e, r.Seq) })
		}
	case ImageRequested:
		s = s.change(e.ID, r, func(d *Dish) { d.Image.request(e) })
	case ImageCompleted:
		s = s.change(e.ID, r, func(d *Dish) { d.Image.complete(e) })
	case ImageFailed:
		s = s.change(e.ID, r, func(d *Dish) { d.Image.fail(e) })
	}
	return s
}

// Replay folds a session's history from nothing.
func Replay(history []Recorded) Session {
	var s Session
	for _, r := range history {
		s = Evolve(s, r)
	}
	return s
}

func (s Session) submitted(e Submitted, r Recorded) Session {
	if s.ItemCount == 0 {
		s.Title, s.SourceLanguage, s.TargetLanguage = e.Title, e.SourceLanguage, e.TargetLanguage
		s.ItemCount, s.Status, s.CreatedAt = e.ItemCount, SessionProcessing, r.Time
	}
	if s.Dishes == nil {
		s.Dishes = make(map[DishID]Dish, len(e.Items))
	}
	for _, item := range e.Items {
		if _, known := s.Dishes[item.ID]; known {
			continue
		}
		s.Dishes[item.ID] = Dish{Item: item, CreatedAt: r.Time, UpdatedAt: r.Time, LastSeq: r.Seq}
		s.Loaded++
	}
	return s
}

// completed closes the round. A retry may have come between the decision and its event: then the session goes on,
// and the next round closes it. Before the submission there is nothing to complete.
func (s Session) completed(e Completed, r Recorded) Session {
	if s.ItemCount == 0 || e.Round <= s.Round {
		return s
	}
	s.Round = e.Round
	if s.Unanswered() == 0 {
		s.Status, s.CompletedAt = SessionCompleted, r.Time
	}
	return s
}

// change applies fn to one dish and, if the dish is another one afterwards, moves the counters by the difference.
func (s Session) change(id DishID, r Recorded, fn func(*Dish)) Session {
	before, known := s.Dishes[id]
	if !known {
		return s
	}
	after := before
	fn(&after)
	if !changed(before, after) {
		return s
	}
	after.LastSeq, after.UpdatedAt = r.Seq, r.Time
	s.Dishes[id] = after
	s.count(before, -1)
	s.count(after, +1)
	if s.Status == SessionCompleted && s.Unanswered() > 0 {
		s.Status, s.CompletedAt = SessionProcessing, time.Time{} // a retry reopens the session until its next round
	}
	return s
}

// changed compares what an event can change; a stage's state has changed exactly when its Seq has.
func changed(a, b Dish) bool {
	if a.Image != b.Image {
		return true
	}
	for i := range a.Stages {
		if a.Stages[i].Seq != b.Stages[i].Seq {
			return true
		}
	}
	return false
}

func (s *Session) count(d Dish, by int) {
	switch d.Status() {
	case DishCompleted:
		s.Completed += by
	case DishFailed:
		s.Failed += by
	case Pending, BasicCompleted, Processing:
	}
	for i, st := range d.Stages {
		switch {
		case st.Parked():
			s.Stages[i].Failed += by
		case st.Answered():
			s.Stages[i].Completed += by
		case st.Epoch > 0:
			s.OpenRetries += by
		}
	}
	if d.Image.Open {
		s.OpenImages += by
	}
}

// complete takes the first terminal result of the current epoch; every later one is ignored.
func (s *StageState) complete(res DishResult, seq uint64) {
	if res.Epoch != s.Epoch || s.Answered() {
		return
	}
	r := res.Result
	*s = StageState{
		Status: StageStatus(r.Status), Provider: r.Provider, Basis: r.Basis, Confidence: r.Confidence,
		Attempts: res.Attempt, Epoch: s.Epoch, Seq: seq, Data: r.Data,
	}
}

func (s *StageState) attemptFailed(e StageAttemptFailed, seq uint64) {
	if e.Epoch != s.Epoch || s.Answered() || e.Attempt <= s.Attempts {
		return
	}
	s.Status, s.Attempts, s.Reason, s.Error, s.Seq = StageRetrying, e.Attempt, e.Reason, e.Error, seq
}

func (s *StageState) park(e StageFailed, seq uint64) {
	if e.Epoch != s.Epoch || s.Answered() {
		return
	}
	*s = StageState{
		Status: StageParked, Provider: e.Provider, Basis: BasisNone,
		Attempts: e.Attempts, Epoch: s.Epoch, Seq: seq, Reason: e.Reason, Error: e.Error,
	}
}

// retry opens the next epoch of a parked stage; nothing else can be retried.
func (s *StageState) retry(e StageRetryRequested, seq uint64) {
	if !s.Parked() || e.Epoch != s.Epoch+1 {
		return
	}
	*s = StageState{Status: StagePending, Epoch: e.Epoch, Seq: seq}
}

func (i *ImageState) request(e ImageRequested) {
	if i.Open || e.Epoch != i.Epoch+1 {
		return
	}
	i.Epoch, i.Open = e.Epoch, true
}

func (i *ImageState) complete(e ImageCompleted) {
	if !i.Open || e.Epoch != i.Epoch {
		return
	}
	i.Open, i.URL = false, e.URL
}

func (i *ImageState) fail(e ImageFailed) {
	if !i.Open || e.Epoch != i.Epoch {
		return
	}
	i.Open = false
}

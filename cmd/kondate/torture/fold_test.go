package torture_test

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// stageState is what one stage has said of one dish.
type stageState struct {
	status, provider, basis string
	confidence              float64
	attempts, epoch         int
	seq                     uint64
	reason, err             string
	data                    json.RawMessage
}

func (s stageState) parked() bool { return s.status == "failed" }
func (s stageState) answered() bool {
	return s.status != "" && s.status != "pending" && s.status != "retrying"
}

// dishState is a dish as the log has it.
type dishState struct {
	item             itemBody
	stages           [8]stageState
	imageEpoch       int
	imageOpen        bool
	imageURL         string
	created, updated time.Time
	lastSeq          uint64
}

func (d *dishState) status() string {
	answered, parked, begun := 0, false, false
	for _, s := range d.stages {
		if s.answered() {
			answered++
		}
		parked = parked || s.parked()
		begun = begun || s.answered() || s.epoch > 0
	}
	switch {
	case answered == len(d.stages) && !parked:
		return "completed"
	case answered == len(d.stages):
		return "failed"
	case begun:
		return "processing"
	}
	return "basic_completed"
}

// sessionState is a session as the log has it.
type sessionState struct {
	key                         key
	title, source, target       string
	items, round                int
	status                      string
	dishes                      map[string]*dishState
	created, updated, completed time.Time
	menuSeq, lastSeq            uint64
	correlation, lastID         string
}

// folded is the whole log, folded: sessions, and who holds which dish.
type folded struct {
	sessions map[key]*sessionState
	owners   map[[2]string]key // tenant and dish
}

func newFold() *folded {
	return &folded{sessions: map[key]*sessionState{}, owners: map[[2]string]key{}}
}

// foldAll folds entries from nothing.
func foldAll(entries []entry) *folded {
	f := newFold()
	for i := range entries {
		f.evolve(&entries[i])
	}
	return f
}

// evolve takes the next entry.
func (f *folded) evolve(e *entry) {
	if e.key == (key{}) {
		return
	}
	s := f.sessions[e.key]
	if s == nil {
		s = &sessionState{key: e.key, dishes: map[string]*dishState{}}
		f.sessions[e.key] = s
	}
	if s.status == "erased" {
		return
	}
	if e.lane == "menu" {
		s.menuSeq = e.Seq // it moves the guard even if nobody can read it
	}
	if e.state != readable {
		return
	}
	s.lastSeq, s.updated, s.lastID = e.Seq, e.at, e.id
	s.correlation = cmp.Or(s.correlation, e.correlation)
	switch {
	case e.typ == "menu.submitted":
		f.submit(s, e)
	case e.typ == "menu.completed":
		if s.items > 0 && e.completed.Round > s.round {
			if s.round = e.completed.Round; s.unanswered() == 0 {
				s.status, s.completed = "completed", e.at
			}
		}
	case e.typ == "menu.expired":
		if s.status == "processing" {
			s.status = "expired"
		}
	case e.typ == "menu.erased":
		for id := range s.dishes {
			delete(f.owners, [2]string{s.key.tenant, id})
		}
		*s = sessionState{key: s.key, status: "erased", menuSeq: e.Seq, lastSeq: e.Seq, updated: e.at, correlation: e.correlation, lastID: e.id}
	case e.lane == "image":
		s.change(e, e.image.ID, func(d *dishState) bool { return d.picture(e) })
	case e.name == "completed":
		for _, r := range e.results.Results {
			s.change(e, r.ID, func(d *dishState) bool { return d.stages[e.stage()].complete(r, e.Seq) })
		}
	default:
		for _, id := range e.failure.IDs {
			s.change(e, id, func(d *dishState) bool { return d.stages[e.stage()].trouble(e) })
		}
	}
}

func (e *entry) stage() int { return slices.Index(stageNames, e.lane) }

func (f *folded) submit(s *sessionState, e *entry) {
	if s.items == 0 {
		s.title, s.source, s.target = e.submitted.Title, e.submitted.Source, e.submitted.Target
		s.items, s.status, s.created = e.submitted.ItemCount, "processing", e.at
	}
	for _, item := range e.submitted.Items {
		at := [2]string{s.key.tenant, item.ID}
		if owner, taken := f.owners[at]; taken && owner != s.key {
			continue // whoever had the id first keeps it
		}
		f.owners[at] = s.key
		if s.dishes[item.ID] == nil {
			s.dishes[item.ID] = &dishState{item: item, created: e.at, updated: e.at, lastSeq: e.Seq}
		}
	}
}

// change lets an event act on a dish; fn says whether it did.
func (s *sessionState) change(e *entry, id string, fn func(*dishState) bool) {
	d := s.dishes[id]
	if d == nil || !fn(d) {
		return
	}
	d.updated, d.lastSeq = e.at, e.Seq
	if s.status == "completed" && s.unanswered() > 0 {
		s.status, s.completed = "processing", time.Time{} // a retry: the next round closes it again
	}
}

// complete takes the first terminal result of the epoch.
func (s *stageState) complete(r resultBody, seq uint64) bool {
	if r.Epoch != s.epoch || s.answered() {
		return false
	}
	*s = stageState{
		status: r.Result.Status, provider: r.Result.Provider, basis: r.Result.Basis, confidence: r.Result.Confidence,
		attempts: r.Attempt, epoch: s.epoch, seq: seq, data: r.Result.Data,
	}
	return true
}

// trouble takes attempt_failed, failed and retry_requested.
func (s *stageState) trouble(e *entry) bool {
	f := e.failure
	switch {
	case e.name == "attempt_failed" && f.Epoch == s.epoch && !s.answered() && f.Attempt > s.attempts:
		s.status, s.attempts, s.reason, s.err, s.seq = "retrying", f.Attempt, f.Reason, f.Error, e.Seq
	case e.name == "failed" && f.Epoch == s.epoch && !s.answered():
		*s = stageState{
			status: "failed", provider: f.Provider, basis: "none", attempts: f.Attempts, epoch: s.epoch, seq: e.Seq,
			reason: f.Reason, err: f.Error,
		}
	case e.name == "retry_requested" && s.parked() && f.Epoch == s.epoch+1:
		*s = stageState{status: "pending", epoch: f.Epoch, seq: e.Seq}
	default:
		return false
	}
	return true
}

// picture takes the events of the lane image.
func (d *dishState) picture(e *entry) bool {
	switch {
	case e.name == "requested" && !d.imageOpen && e.image.Epoch == d.imageEpoch+1:
		d.imageEpoch, d.imageOpen = e.image.Epoch, true
	case e.name == "completed" && d.imageOpen && e.image.Epoch == d.imageEpoch:
		d.imageOpen, d.imageURL = false, e.image.URL
	case e.name == "failed" && d.imageOpen && e.image.Epoch == d.imageEpoch:
		d.imageOpen = false
	default:
		return false
	}
	return true
}

// unanswered counts the answers that are missing.
func (s *sessionState) unanswered() int {
	n := s.items * len(stageNames)
	for _, d := range s.dishes {
		for _, st := range d.stages {
			if st.answered() {
				n--
			}
		}
	}
	return n
}

// exists says whether the session has a row.
func (s *sessionState) exists() bool { return s.items > 0 || s.status == "erased" }

// closed says that no event follows unless somebody asks for one.
func (s *sessionState) closed() bool {
	retries, images := s.open()
	return s.status == "erased" || (s.status == "completed" || s.status == "expired") && retries+images == 0
}

// open counts the retries and pictures that were asked for and are not there yet.
func (s *sessionState) open() (retries, images int) {
	for _, d := range s.dishes {
		for _, st := range d.stages {
			if st.epoch > 0 && !st.answered() {
				retries++
			}
		}
		if d.imageOpen {
			images++
		}
	}
	return retries, images
}

// row is the session's row, as to_jsonb shows it.
func (s *sessionState) row() map[string]any {
	retries, images := s.open()
	completed, failed := 0, 0
	stages := map[string]any{}
	for i, name := range stageNames {
		done, parked := 0, 0
		for _, d := range s.dishes {
			if d.stages[i].parked() {
				parked++
			} else if d.stages[i].answered() {
				done++
			}
		}
		stages[name] = map[string]any{"completed": done, "failed": parked}
	}
	for _, d := range s.dishes {
		switch d.status() {
		case "completed":
			completed++
		case "failed":
			failed++
		}
	}
	return canonical(map[string]any{
		"tenant": s.key.tenant, "session_id": s.key.session, "title": s.title, "source_language": s.source, "target_language": s.target,
		"status": s.status, "items": s.items, "loaded": len(s.dishes), "completed": completed, "failed": failed, "stages": stages,
		"round": s.round, "open_retries": retries, "open_images": images,
		"done":       s.exists() && s.unanswered() == 0 && (s.status == "processing" || s.status == "expired"),
		"created_at": orNil(s.created), "updated_at": orNil(s.updated), "completed_at": orNil(s.completed),
		"menu_seq": s.menuSeq, "last_seq": s.lastSeq, "correlation_id": s.correlation, "last_id": s.lastID,
	})
}

// row is the dish's row, as HTTP and to_jsonb show it.
func (d *dishState) row(k key) map[string]any {
	stages, columns := map[string]any{}, [8]any{}
	for i, name := range stageNames {
		s := d.stages[i]
		stages[name] = map[string]any{
			"status": cmp.Or(s.status, "pending"), "provider": s.provider, "basis": s.basis, "confidence": s.confidence,
			"attempts": s.attempts, "epoch": s.epoch, "seq": s.seq,
		}
		if s.reason != "" {
			stages[name].(map[string]any)["reason"] = s.reason
		}
		if s.err != "" {
			stages[name].(map[string]any)["error"] = s.err
		}
		if len(s.data) > 0 {
			_ = json.Unmarshal(s.data, &columns[i]) // it was read before
		}
	}
	text := func(of any, field string) any {
		object, _ := of.(map[string]any)
		value, _ := object[field].(string)
		return orNil(value)
	}
	return canonical(map[string]any{
		"tenant": k.tenant, "id": d.item.ID, "session_id": k.session, "position": d.item.Position, "name": d.item.Name,
		"category": orNil(d.item.Category), "price": orNil(d.item.Price),
		"translation": text(columns[0], "translation"), "category_translation": text(columns[0], "category_translation"),
		"description": text(columns[1], "description"), "allergy": columns[2], "ingredient": columns[3], "search_engine": columns[4],
		"task6_data": columns[5], "task7_data": columns[6], "task8_data": columns[7], "gen_image": orNil(d.imageURL),
		"processing_status": d.status(), "stages": stages, "created_at": d.created, "updated_at": d.updated, "last_seq": d.lastSeq,
	})
}

// orNil makes nil of a zero value.
func orNil[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

// canonical brings a row into one form, wherever it comes from: what JSON makes of it, times in UTC with microseconds, and
// U+FFFD for the character that Postgres cannot hold.
func canonical(row map[string]any) map[string]any {
	raw, err := json.Marshal(row)
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	raw = []byte(strings.ReplaceAll(string(raw), `\u0000`, `\ufffd`))
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		return map[string]any{"error": err.Error()}
	}
	for _, column := range []string{"created_at", "updated_at", "completed_at"} {
		if text, is := out[column].(string); is {
			if at, err := time.Parse(time.RFC3339, text); err == nil {
				out[column] = at.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano)
			}
		}
	}
	return out
}

// rowHash is a digest of a row in its canonical form.
func rowHash(row map[string]any) string {
	raw, err := json.Marshal(canonical(row))
	if err != nil {
		return err.Error()
	}
	return hashOf(raw)
}

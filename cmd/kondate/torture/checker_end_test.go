package torture_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// complete looks for sessions that did not come to their end.
func (t *trial) complete() {
	for k, s := range t.clean.sessions {
		if !s.exists() {
			continue
		}
		if retries, images := s.open(); !s.closed() || s.status != "erased" && len(s.dishes) != s.items {
			v := violation{Session: k.session, Seq: s.lastSeq, Want: "completed, expired or erased"}
			v.Have = fmt.Sprintf("%s, %d of %d dishes, %d answers are missing, %d retries and %d pictures open", s.status, len(s.dishes), s.items, s.unanswered(), retries, images)
			t.report(ruleComplete, v, "the session did not come to its end")
		}
	}
}

// attemptsCounted looks at the numbers of attempts, as far as the fold counts them: 1, 2, … and then an answer. Whoever was
// paused may answer with an older attempt; a number that was left out is an attempt that a crash has used up.
func (t *trial) attemptsCounted() {
	f := newFold()
	for i := range t.entries {
		e := &t.entries[i]
		if e.foreign {
			continue
		}
		if e.state == readable && e.isStage() && f.sessions[e.key] != nil {
			for _, r := range e.results.Results {
				t.attempt(f.sessions[e.key], e, r.ID, r.Epoch, r.Attempt)
			}
			for _, id := range e.failure.IDs {
				switch e.name {
				case "attempt_failed":
					t.attempt(f.sessions[e.key], e, id, e.failure.Epoch, e.failure.Attempt)
				case "failed":
					t.attempt(f.sessions[e.key], e, id, e.failure.Epoch, e.failure.Attempts)
				}
			}
		}
		f.evolve(e)
	}
}

// attempt looks at one attempt of one dish, before its event is folded.
func (t *trial) attempt(s *sessionState, e *entry, id string, epoch, attempt int) {
	d := s.dishes[id]
	if d == nil {
		if s.status != "erased" {
			t.report(ruleComplete, violation{Session: s.key.session, Dish: id, Seq: e.Seq}, "%s names a dish that the session does not have", e.typ)
		}
		return
	}
	st := d.stages[e.stage()]
	if epoch != st.epoch || st.answered() {
		return // not counted
	}
	v := violation{Session: s.key.session, Dish: id, Seq: e.Seq, Have: fmt.Sprint(attempt), Want: fmt.Sprint(st.attempts + 1)}
	if attempt < 1 || attempt > st.attempts+1 {
		t.report(ruleComplete, v, "attempt of %s in epoch %d", e.typ, epoch)
	}
	if t.attempts > 0 && e.name == "failed" && !e.failure.Permanent && attempt != t.attempts {
		v.Want = fmt.Sprint(t.attempts)
		t.report(ruleComplete, v, "%s was parked before its attempts were used up", e.lane)
	}
	if t.attempts > 0 && e.name == "attempt_failed" && attempt >= t.attempts {
		v.Want = "failed"
		t.report(ruleComplete, v, "%s goes on after its last attempt", e.lane)
	}
}

// poisonless holds the fold of everything against that of what the program wrote.
func (t *trial) poisonless() {
	for k, clean := range t.clean.sessions {
		if !clean.exists() {
			continue
		}
		all := t.fold.sessions[k]
		have, want := all.row(), clean.row()
		for _, column := range []string{"updated_at", "last_seq", "last_id", "menu_seq"} {
			delete(have, column) // where the session's last event is, whoever wrote it
			delete(want, column)
		}
		if !reflect.DeepEqual(have, want) {
			t.report(rulePoison, violation{Session: k.session, Have: fmt.Sprint(have), Want: fmt.Sprint(want)}, "what the harness published changed the session")
		}
		for id, d := range all.dishes {
			if c := clean.dishes[id]; c == nil || !reflect.DeepEqual(d, c) {
				t.report(rulePoison, violation{Session: k.session, Dish: id, Seq: d.lastSeq}, "what the harness published changed the dish")
			}
		}
	}
}

// object and list are the shape of a result: the keys that it may have.
type (
	object map[string]any
	list   struct{ of any }
)

// allergenData is everything that the stage allergen may say. No key says that a dish is free of something.
var allergenData = object{
	"allergens":   list{object{"code": nil, "level": nil, "source_ingredient": nil, "confidence": nil}},
	"by_standard": object{"jp": list{nil}, "eu": list{nil}, "us": list{nil}}, "completeness": nil, "declared_by_restaurant": list{nil},
	"ask_staff": object{"ja": nil, "translated": nil}, "disclaimer": nil,
}

// neverSafe looks at what the allergen results say.
func (t *trial) neverSafe() {
	for i := range t.entries {
		e := &t.entries[i]
		if e.typ != "allergen.completed" || e.state != readable || e.foreign {
			continue
		}
		for _, r := range e.results.Results {
			if bad := unsafe(r.Result); bad != "" {
				t.report(ruleUnknown, violation{Session: e.key.session, Dish: r.ID, Seq: e.Seq, Have: string(r.Result.Data)}, "%s", bad)
			}
		}
	}
}

// unsafe says what is wrong with an allergen result; empty: nothing.
func unsafe(r envelopeBody) string {
	var data any
	if err := json.Unmarshal(r.Data, &data); err != nil {
		return err.Error()
	}
	if data == nil {
		if r.Status == "ok" || r.Status == "partial" {
			return "status " + r.Status + " without data"
		}
		return ""
	}
	if bad := stranger("data", data, allergenData); bad != "" {
		return bad + " is nothing that an allergen result may say"
	}
	var says struct {
		Allergens    []struct{ Level string }
		Completeness string
	}
	if err := json.Unmarshal(r.Data, &says); err != nil {
		return err.Error()
	}
	for _, a := range says.Allergens {
		if !slices.Contains([]string{"contains", "likely", "may_contain"}, a.Level) {
			return fmt.Sprintf("level %q", a.Level)
		}
	}
	if says.Completeness == "unknown" && r.Status == "ok" {
		return "nothing is known, and the status is ok"
	}
	return ""
}

// stranger names the first place in a value that its shape does not have.
func stranger(at string, value, shape any) string {
	switch v := value.(type) {
	case map[string]any:
		keys, is := shape.(object)
		if !is {
			return at
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			inner, known := keys[name]
			if !known {
				return at + "." + name
			}
			if bad := stranger(at+"."+name, v[name], inner); bad != "" {
				return bad
			}
		}
	case []any:
		of, is := shape.(list)
		if !is {
			return at
		}
		for _, item := range v {
			if bad := stranger(at+"[]", item, of.of); bad != "" {
				return bad
			}
		}
	}
	return ""
}

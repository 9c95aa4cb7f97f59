package torture_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// rule is what a violation breaks.
type rule int

// The rules, in the order in which they are reported.
const (
	ruleKept     rule = iota + 1 // nothing acknowledged is lost
	ruleOnce                     // nothing is doubled, nothing comes from nowhere
	ruleHistory                  // history is the log
	ruleRows                     // rows are the log, folded
	ruleStreams                  // a client saw its session, no gap and no repeat
	ruleComplete                 // every session comes to its end, attempts are counted
	rulePoison                   // what the harness published changed nothing
	ruleUnknown                  // unknown is never safe
)

func (r rule) String() string {
	return [...]string{"", "kept", "once", "history", "rows", "streams", "complete", "poison", "unknown is not safe"}[r]
}

// violation is one difference.
type violation struct {
	Rule    rule
	Session string
	Dish    string
	Seq     uint64
	What    string
	Have    string // both sides, where there are two
	Want    string
}

// String is for people.
func (v violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rule %d (%s)", v.Rule, v.Rule)
	for _, part := range []struct{ name, value string }{{"session", v.Session}, {"dish", v.Dish}} {
		if part.value != "" {
			fmt.Fprintf(&b, ", %s %s", part.name, part.value)
		}
	}
	if v.Seq > 0 {
		fmt.Fprintf(&b, ", event %d", v.Seq)
	}
	b.WriteString(": " + v.What)
	if v.Have != "" || v.Want != "" {
		fmt.Fprintf(&b, ": %s, want %s", short(v.Have), short(v.Want))
	}
	return b.String()
}

func short(s string) string {
	const most = 300
	if len(s) > most {
		return s[:most] + "…"
	}
	return cmp.Or(s, "nothing")
}

// check holds ledger, log, history, rows and transcripts against each other. The fleet has to be whole and quiet (see
// awaitQuiet), and the clients to have stopped. An error says that something could not be read.
func check(ctx context.Context, l *ledger, s sources) ([]violation, error) {
	ev, err := collect(ctx, l, s)
	if err != nil {
		return nil, err
	}
	return judge(l, ev), nil
}

// trial is a check on its way.
type trial struct {
	evidence
	ledger *ledger

	entries []entry
	of      map[key][]*entry // by session
	fold    *folded
	clean   *folded // without what is foreign
	hashes  map[version]string
	found   []violation
}

// version is a dish as an event left it.
type version struct {
	key  key
	dish string
	seq  uint64
}

// hash is rowHash of a dish's row, worked out once for each of its versions.
func (t *trial) hash(k key, d *dishState) string {
	at := version{k, d.item.ID, d.lastSeq}
	if t.hashes[at] == "" {
		t.hashes[at] = rowHash(d.row(k))
	}
	return t.hashes[at]
}

// judge finds every violation in the evidence.
func judge(l *ledger, ev evidence) []violation {
	t := newTrial(l, ev)
	t.kept()
	t.requestsKept()
	t.once()
	t.sessionsOnce()
	t.historyIsLog()
	t.rowsAreFold()
	t.readsAreFold()
	t.streams()
	t.complete()
	t.attemptsCounted()
	t.poisonless()
	t.neverSafe()
	slices.SortStableFunc(t.found, func(a, b violation) int { return cmp.Compare(a.Rule, b.Rule) })
	return t.found
}

func newTrial(l *ledger, ev evidence) *trial {
	t := &trial{evidence: ev, ledger: l, of: map[key][]*entry{}, hashes: map[version]string{}}
	for _, m := range ev.log {
		e := decode(m)
		e.foreign = ev.foreign[m.Seq] || len(m.Header[foreignHeader]) > 0
		t.entries = append(t.entries, e)
	}
	t.clean = newFold()
	for i := range t.entries {
		e := &t.entries[i]
		t.of[e.key] = append(t.of[e.key], e)
		if !e.foreign {
			t.clean.evolve(e)
		}
	}
	t.fold = foldAll(t.entries)
	return t
}

func (t *trial) report(r rule, v violation, what string, args ...any) {
	v.Rule, v.What = r, fmt.Sprintf(what, args...)
	t.found = append(t.found, v)
}

// public is the session's key: the clients are those of one tenant.
func public(session string) key { return key{"public", session} }

// status is the session's status as the log has it; empty: the log does not know it.
func (t *trial) status(k key) string {
	if s := t.fold.sessions[k]; s != nil && s.exists() {
		return s.status
	}
	return ""
}

// kept holds what was accepted against the log.
func (t *trial) kept() {
	titled := map[string][]key{}
	for k, s := range t.clean.sessions {
		if s.items > 0 {
			titled[s.title] = append(titled[s.title], k)
		}
	}
	for _, s := range t.ledger.submissions {
		most := 0 // sessions that may come of it
		if s.Key == "" {
			most = len(s.Accepted) + s.Unclear
		} else if len(s.Accepted)+s.Unclear > 0 {
			most = 1
		}
		if got := titled[s.Ref]; len(got) > most {
			t.report(ruleOnce, violation{Session: got[0].session, Have: fmt.Sprint(got), Want: fmt.Sprint(most)}, "menu %s became %d sessions", s.Ref, len(got))
		}
		for _, a := range s.Accepted {
			if first := s.Accepted[0]; a.Session != first.Session || a.Seq != first.Seq {
				t.report(ruleOnce, violation{Session: a.Session, Have: fmt.Sprint(a.Session, a.Seq), Want: fmt.Sprint(first.Session, first.Seq)}, "menu %s was accepted in two ways", s.Ref)
			}
			t.submissionKept(s, a)
		}
		if len(s.Accepted) == 0 {
			if s.Refused != 0 && s.Refused != http.StatusGone {
				t.report(ruleKept, violation{Have: s.Problem}, "menu %s was refused with %d", s.Ref, s.Refused)
			}
			continue
		}
		t.answeredAgain(s)
	}
}

// answeredAgain looks at the answers to what was sent again under a key that had its session.
func (t *trial) answeredAgain(s *submission) {
	v := violation{Session: s.Accepted[0].Session}
	gone := 0 // what stands for an erased session
	if t.status(public(v.Session)) == "erased" {
		gone = http.StatusGone
	}
	for _, status := range s.Repeats {
		if v.Have, v.Want = fmt.Sprint(status), "202"; status != gone {
			t.report(ruleOnce, v, "menu %s was sent again under its key", s.Ref)
		}
	}
	for _, status := range s.Reuse {
		if v.Have, v.Want = fmt.Sprint(status), "422"; status != http.StatusUnprocessableEntity && status != gone {
			t.report(ruleOnce, v, "another menu was sent under the key of menu %s", s.Ref)
		}
	}
}

// submissionKept holds one answer against the log.
func (t *trial) submissionKept(s *submission, a accepted) {
	k := public(a.Session)
	v := violation{Session: a.Session, Seq: a.Seq}
	switch t.status(k) {
	case "erased":
		return
	case "":
		t.report(ruleKept, v, "menu %s was accepted, and the log does not have it", s.Ref)
		return
	}
	var (
		items []itemBody
		last  uint64
	)
	for _, e := range t.of[k] {
		if e.typ == "menu.submitted" && e.state == readable && !e.foreign {
			items, last = append(items, e.submitted.Items...), e.Seq
		}
	}
	if last != a.Seq {
		t.report(ruleKept, violation{Session: a.Session, Seq: a.Seq, Have: fmt.Sprint(last), Want: fmt.Sprint(a.Seq)}, "the submission does not stand where the answer said")
	}
	if len(items) != len(s.Items) || len(a.IDs) != len(s.Items) {
		v.Have, v.Want = fmt.Sprintf("%d, %d ids in the answer", len(items), len(a.IDs)), fmt.Sprint(len(s.Items))
		t.report(ruleKept, v, "not every dish of menu %s is in the log", s.Ref)
		return
	}
	slices.SortStableFunc(items, func(x, y itemBody) int { return cmp.Compare(x.Position, y.Position) })
	for i, sent := range s.Items {
		want := itemBody{cmp.Or(sent.ID, a.IDs[i]), i, sent.Name, sent.Category, sent.Price}
		if items[i] != want || a.IDs[i] != want.ID {
			v.Dish, v.Have, v.Want = a.IDs[i], fmt.Sprintf("%+v", items[i]), fmt.Sprintf("%+v", want)
			t.report(ruleKept, v, "the dish is another one in the log")
			return
		}
	}
}

// requestsKept holds retries, pictures and erasures against the log.
func (t *trial) requestsKept() {
	for _, q := range t.ledger.requests {
		k := public(q.Session)
		erased := t.status(k) == "erased"
		if q.Status != http.StatusAccepted || erased && q.Kind != askErase {
			continue
		}
		found := slices.ContainsFunc(t.of[k], func(e *entry) bool {
			switch {
			case e.foreign || e.state != readable:
				return false
			case q.Kind == askErase:
				return e.typ == "menu.erased" && e.Seq == q.Seq
			case q.Kind == askImage:
				return e.typ == "image.requested" && e.image.ID == q.Dish && e.image.Epoch == q.Epoch
			}
			return e.lane == q.Stage && e.name == "retry_requested" && slices.Contains(e.failure.IDs, q.Dish)
		})
		if !found {
			t.report(ruleKept, violation{Session: q.Session, Dish: q.Dish, Seq: q.Seq}, "%s %s %s was accepted, and the log does not have it", q.Ref, q.Kind, q.Stage)
		}
	}
	for k, s := range t.fold.sessions {
		for _, e := range t.of[k] {
			if s.status == "erased" && e.Seq != s.lastSeq {
				t.report(ruleKept, violation{Session: k.session, Seq: e.Seq}, "the session was erased, and the log has its %s still", e.typ)
			}
		}
	}
	for id, shown := range t.shown {
		if want := t.status(public(id)); shown != want {
			t.report(ruleRows, violation{Session: id, Have: shown, Want: want}, "status over HTTP")
		}
	}
}

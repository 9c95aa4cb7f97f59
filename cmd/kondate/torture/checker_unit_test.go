package torture_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// broken is evidence in which one thing is wrong, and what the checker has to say of it.
type broken struct {
	name  string
	rule  rule
	says  string
	spoil func(*scene)
}

// TestChecker runs the program, unharmed, and finds nothing; then it breaks the evidence in one place after the other, and
// the checker has to find each.
func TestChecker(t *testing.T) {
	t.Parallel()
	s, l := runSmall(t)
	found, err := check(t.Context(), l, s.sources)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
	ev, err := collect(t.Context(), l, s.sources)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events, %+v", len(ev.log), l.count())
	if t.Failed() {
		return
	}
	for _, b := range slices.Concat(brokenLogs(), brokenRows(), brokenStreams()) {
		t.Run(b.rule.String()+"/"+b.name, func(t *testing.T) {
			t.Parallel()
			sc := newScene(t, l, ev)
			b.spoil(sc)
			found := judge(sc.ledger, sc.evidence)
			if !slices.ContainsFunc(found, func(v violation) bool { return v.Rule == b.rule && strings.Contains(v.String(), b.says) }) {
				t.Errorf("no violation of rule %d says %q; found: %v", b.rule, b.says, found)
			}
		})
	}
}

// scene is a copy of good evidence, to be spoiled.
type scene struct {
	evidence

	t      *testing.T
	ledger *ledger
}

func newScene(t *testing.T, l *ledger, ev evidence) *scene {
	t.Helper()
	s := &scene{t: t, ledger: newLedger(nil), evidence: ev}
	s.log, s.history = slices.Clone(ev.log), slices.Clone(ev.history)
	s.menus, s.sessions = nil, nil // or the copies would share their maps
	s.foreign, s.shown = maps.Clone(ev.foreign), maps.Clone(ev.shown)
	copyJSON(t, ev.menus, &s.menus)
	copyJSON(t, ev.sessions, &s.sessions)
	copyJSON(t, l.submissions, &s.ledger.submissions)
	copyJSON(t, l.requests, &s.ledger.requests)
	copyJSON(t, l.transcripts, &s.ledger.transcripts)
	copyJSON(t, l.reads, &s.ledger.reads)
	return s
}

func copyJSON(t *testing.T, from, to any) {
	t.Helper()
	raw, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, to); err != nil {
		t.Fatal(err)
	}
}

// event returns the place of the first message of a type that the program wrote, in a session that was not erased.
func (s *scene) event(typ string) int { return s.eventWith(typ, "") }

// eventWith is event for the first one whose body holds a text.
func (s *scene) eventWith(typ, text string) int {
	s.t.Helper()
	i := slices.IndexFunc(s.log, func(m logged) bool {
		return strings.HasSuffix(m.Subject, "."+typ) && len(m.Header[foreignHeader]) == 0 && bytes.Contains(m.Data, []byte(text))
	})
	if i < 0 {
		s.t.Fatalf("the log has no %s with %q", typ, text)
	}
	return i
}

// remove takes messages out of the log, and only there.
func (s *scene) remove(which func(logged) bool) { s.log = slices.DeleteFunc(s.log, which) }

// replace changes the text of a message's body, and only in the log.
func (s *scene) replace(typ, old, replacement string) {
	s.t.Helper()
	m := &s.log[s.eventWith(typ, old)]
	m.Data = bytes.Replace(m.Data, []byte(old), []byte(replacement), 1)
}

// again appends a copy of a message to the log, as the program would write it.
func (s *scene) again(typ string, change func(*logged)) {
	s.t.Helper()
	m := s.log[s.event(typ)]
	m.Header = maps.Clone(m.Header)
	m.Seq = s.log[len(s.log)-1].Seq + 1
	change(&m)
	s.log = append(s.log, m)
}

// accepted returns a submission that was accepted and whose session is there.
func (s *scene) accepted() *submission {
	for _, sub := range s.ledger.submissions {
		if len(sub.Accepted) > 0 && !s.erasedSession(sub.Accepted[0].Session) {
			return sub
		}
	}
	s.t.Fatal("no menu was accepted")
	return nil
}

func (s *scene) erasedSession(id string) bool {
	return slices.ContainsFunc(s.ledger.requests, func(q *request) bool { return q.Kind == askErase && q.Session == id })
}

func (s *scene) request(kind string) *request {
	i := slices.IndexFunc(s.ledger.requests, func(q *request) bool { return q.Kind == kind && q.Status == 202 })
	if i < 0 {
		s.t.Fatalf("no %s was accepted", kind)
	}
	return s.ledger.requests[i]
}

func brokenLogs() []broken {
	return []broken{
		{"a session is lost", ruleKept, "the log does not have it", func(s *scene) {
			id := s.accepted().Accepted[0].Session
			s.remove(func(m logged) bool { return strings.Contains(m.Subject, id) })
		}},
		{"another place", ruleKept, "where the answer said", func(s *scene) { s.accepted().Accepted[0].Seq++ }},
		{"another dish", ruleKept, "another one in the log", func(s *scene) { s.accepted().Items[0].Name = "別" }},
		{"another id", ruleKept, "another one in the log", func(s *scene) { s.accepted().Accepted[0].IDs[0] = "other" }},
		{"a dish too few", ruleKept, "not every dish", func(s *scene) {
			sub := s.accepted()
			sub.Items = append(sub.Items, dish{Name: "冷奴"})
		}},
		{"a refusal", ruleKept, "refused with 409", func(s *scene) {
			s.ledger.submissions = append(s.ledger.submissions, &submission{Ref: "new", Refused: 409})
		}},
		{"a retry is lost", ruleKept, "x-retry retry task8 was accepted", func(s *scene) {
			s.remove(func(m logged) bool { return strings.HasSuffix(m.Subject, ".retry_requested") })
		}},
		{"a picture is lost", ruleKept, "x-image image", func(s *scene) { s.request(askImage).Epoch++ }},
		{"an erasure is lost", ruleKept, "x-erase erase", func(s *scene) { s.request(askErase).Seq-- }},
		{"an erased event stays", ruleKept, "has its menu.submitted still", func(s *scene) {
			id := s.request(askErase).Session
			s.again("menu.submitted", func(m *logged) { m.Subject = "menu.evt.public." + id + ".menu.submitted" })
		}},

		{"an event twice", ruleOnce, "has the id", func(s *scene) { s.again("allergen.completed", func(*logged) {}) }},
		{"another Nats-Msg-Id", ruleOnce, "Nats-Msg-Id", func(s *scene) {
			s.again("allergen.completed", func(m *logged) { m.Header["Nats-Msg-Id"] = []string{"x"} })
		}},
		{"an id of nothing", ruleOnce, "does not follow", func(s *scene) { s.replace("task6.completed", `"attempt":1`, `"attempt":2`) }},
		{"an unreadable event", ruleOnce, "nobody can read", func(s *scene) { s.replace("task6.completed", `{`, `[`) }},
		{"a round twice", ruleOnce, "menu.completed does not fit", func(s *scene) {
			s.again("menu.completed", func(m *logged) { m.Stored = m.Stored.Add(time.Hour) })
		}},
		{"half a menu", ruleOnce, "the submission is not whole", func(s *scene) {
			s.remove(func(m logged) bool { return bytes.Contains(m.Data, []byte(`"chunk":2,`)) })
		}},
		{"a position twice", ruleOnce, "there twice", func(s *scene) { s.replace("menu.submitted", `"position":1,`, `"position":0,`) }},
		{"a menu of nobody", ruleOnce, "nobody submitted this menu", func(s *scene) { s.accepted().Ref = "other" }},
		{"two sessions", ruleOnce, "became 2 sessions", func(s *scene) {
			s.again("menu.submitted", func(m *logged) { m.Subject = "menu.evt.public.second.menu.submitted" })
		}},
		{"accepted twice", ruleOnce, "accepted in two ways", func(s *scene) {
			sub := s.accepted()
			sub.Accepted = append(sub.Accepted, accepted{Session: "other", IDs: sub.Accepted[0].IDs})
		}},
		{"a key for two menus", ruleOnce, "under the key", func(s *scene) { sub := s.accepted(); sub.Reuse = append(sub.Reuse, 202) }},
		{"an answer without a submission", ruleOnce, "no submission", func(s *scene) {
			s.again("task6.completed", func(m *logged) { m.Subject = "menu.evt.public.nobody.task6.completed" })
		}},

		{"a session runs on", ruleComplete, "did not come to its end", func(s *scene) {
			id := s.accepted().Accepted[0].Session
			s.remove(func(m logged) bool { return strings.Contains(m.Subject, id+".menu.completed") })
		}},
		{"an attempt is used up", ruleComplete, "attempt of task8.attempt_failed", func(s *scene) { s.replace("task8.attempt_failed", `"attempt":1`, `"attempt":2`) }},
		{"an attempt is missing", ruleComplete, "attempt of task8.failed", func(s *scene) {
			s.remove(func(m logged) bool { return strings.HasSuffix(m.Subject, ".attempt_failed") })
		}},
		{"parked too early", ruleComplete, "before its attempts were used up", func(s *scene) { s.attempts = 3 }},

		{"poison counts", rulePoison, "changed the dish", func(s *scene) { s.foreign[s.log[s.event("ingredient.completed")].Seq] = true }},
		{"poison closes", rulePoison, "changed the session", func(s *scene) {
			for _, m := range s.log {
				s.foreign[m.Seq] = s.foreign[m.Seq] || strings.HasSuffix(m.Subject, ".menu.completed")
			}
		}},

		{"free of something", ruleUnknown, "data.free_of", func(s *scene) { s.replace("allergen.completed", `"allergens":`, `"free_of":["egg"],"allergens":`) }},
		{"a level of absence", ruleUnknown, `level "none"`, func(s *scene) { s.replace("allergen.completed", `"level":"contains"`, `"level":"none"`) }},
		{"unknown is ok", ruleUnknown, "the status is ok", func(s *scene) {
			s.replace("allergen.completed", `"completeness":"recipe"`, `"completeness":"unknown"`)
		}},
	}
}

package torture_test

import (
	"slices"
	"strings"
)

// row returns a row of history.
func (s *scene) row() *historyRow {
	s.t.Helper()
	i := slices.IndexFunc(s.history, func(h historyRow) bool { return h.Type == "menu.completed" && h.ErrorMessage == "" })
	if i < 0 {
		s.t.Fatal("history has no menu.completed")
	}
	return &s.history[i]
}

func brokenRows() []broken {
	return []broken{
		{"a row is missing", ruleHistory, "not in history", func(s *scene) { s.history = s.history[1:] }},
		{"a row too many", ruleHistory, "not in the log", func(s *scene) { h := *s.row(); h.Seq = 1 << 40; s.history = append(s.history, h) }},
		{"an erased row", ruleHistory, "was erased", func(s *scene) {
			h := *s.row()
			h.Seq, h.Session = 1<<40, s.request(askErase).Session
			s.history = append(s.history, h)
		}},
		{"other data", ruleHistory, "data of the row", func(s *scene) { s.row().Data = []byte("{}") }},
		{"another header", ruleHistory, "header", func(s *scene) { h := s.row(); h.Headers = []byte(`{"ce-id":["x"]}`) }},
		{"another type", ruleHistory, "type of the row", func(s *scene) { s.row().Type = "menu.expired" }},
		{"another id", ruleHistory, "id of the row", func(s *scene) { s.row().ID = "x" }},
		{"another time", ruleHistory, "time of the row", func(s *scene) { h := s.row(); h.Time = h.Time.AddDate(0, 0, 1) }},
		{"set aside", ruleHistory, "error of the row", func(s *scene) { s.row().ErrorMessage = "unreadable" }},
		{"poison is not set aside", ruleHistory, "nobody can read it", func(s *scene) {
			for i := range s.history {
				s.history[i].ErrorMessage = ""
			}
		}},

		{"the rows are behind", ruleRows, "behind the log", func(s *scene) { s.checkpoint-- }},
		{"a dish is missing", ruleRows, "no row", func(s *scene) { s.menus = s.menus[1:] }},
		{"a session is missing", ruleRows, "no row", func(s *scene) { s.sessions = s.sessions[1:] }},
		{"a dish too many", ruleRows, "does not explain", func(s *scene) {
			s.menus = append(s.menus, map[string]any{"tenant": "public", "id": "new", "session_id": "x"})
		}},
		{"a column", ruleRows, "column allergy", func(s *scene) { s.menus[0]["allergy"].(map[string]any)["disclaimer"] = "none" }},
		{"a text", ruleRows, "column translation", func(s *scene) { s.menus[0]["translation"] = nil }},
		{"a status", ruleRows, "column processing_status", func(s *scene) { s.menus[0]["processing_status"] = "processing" }},
		{"a second answer", ruleRows, "column stages", func(s *scene) {
			s.menus[0]["stages"].(map[string]any)["allergen"].(map[string]any)["seq"] = 1e6
		}},
		{"progress", ruleRows, "column completed", func(s *scene) { s.sessions[0]["completed"] = 1e6 }},
		{"the guard", ruleRows, "column menu_seq", func(s *scene) { s.sessions[0]["menu_seq"] = 1e6 }},
		{"status over HTTP", ruleRows, "status over HTTP", func(s *scene) { s.shown[s.accepted().Accepted[0].Session] = "processing" }},
		{"an old read", ruleRows, "older than min_seq", func(s *scene) { r := s.read(); r.MinSeq = r.Seq + 1 }},
		{"a wrong read", ruleRows, "a client read is another one", func(s *scene) {
			r := s.read()
			for id, seen := range r.Rows {
				r.Rows[id] = rowSeen{seen.LastSeq, "x"}
			}
		}},
		{"a read too short", ruleRows, "number of rows", func(s *scene) { clear(s.read().Rows) }},
	}
}

// read returns what a client read of a session that was not erased.
func (s *scene) read() *rowsRead {
	s.t.Helper()
	i := slices.IndexFunc(s.ledger.reads, func(r *rowsRead) bool { return r.Status == 200 && !s.erasedSession(r.Session) })
	if i < 0 {
		s.t.Fatal("no client read rows")
	}
	return s.ledger.reads[i]
}

// stream returns a connection with at least three frames, of a client that began at the start.
func (s *scene) stream() (*transcript, *connection) {
	s.t.Helper()
	for _, script := range s.ledger.transcripts {
		for _, n := range script.Connections {
			if script.From == "start" && len(n.Frames) >= 3 && !s.erasedSession(script.Session) {
				return script, n
			}
		}
	}
	s.t.Fatal("no client saw three events")
	return nil, nil
}

func brokenStreams() []broken {
	frames := func(change func([]frame) []frame) func(*scene) {
		return func(s *scene) {
			_, n := s.stream()
			n.Frames = change(n.Frames)
		}
	}
	return []broken{
		{"a gap", ruleStreams, "a gap after", frames(func(f []frame) []frame { return slices.Delete(f, 1, 2) })},
		{"a repeat", ruleStreams, "came again", frames(func(f []frame) []frame { return slices.Insert(f, 1, f[0]) })},
		{"the order", ruleStreams, "a gap after", frames(func(f []frame) []frame { f[1], f[2] = f[2], f[1]; return f })},
		{"other data", ruleStreams, "the data are others", frames(func(f []frame) []frame { f[1].Hash = "x"; return f })},
		{"another event", ruleStreams, "the event is another one", frames(func(f []frame) []frame { f[1].Event = "menu.erased"; return f })},
		{"another id", ruleStreams, "the event is another one", frames(func(f []frame) []frame { f[1].ID = "x"; return f })},
		{"another log", ruleStreams, "the id of the frame", frames(func(f []frame) []frame { f[1].Cursor = "x" + f[1].Cursor; return f })},
		{"two clients, two events", ruleStreams, "than the others", frames(func(f []frame) []frame { f[0].Hash = "x"; return f })},
		{"an event of nowhere", ruleStreams, "a gap after", frames(func(f []frame) []frame { f[len(f)-1].Seq += 1 << 20; return f })},
		{"the end of the session is missing", ruleStreams, "was not closed", func(s *scene) {
			for _, script := range s.ledger.transcripts {
				for _, n := range script.Connections {
					if i := slices.IndexFunc(n.Frames, func(f frame) bool { return f.Event == "menu.completed" }); i > 0 && n.Ended == endedEnd {
						n.Frames = n.Frames[:i]
					}
				}
			}
		}},
		{"another reason", ruleStreams, "the reason of the end", func(s *scene) {
			for _, script := range s.ledger.transcripts {
				for _, n := range script.Connections {
					n.End = strings.Replace(n.End, "completed", "expired", 1)
				}
			}
		}},
		{"a reset", ruleStreams, "nothing explains", func(s *scene) {
			_, n := s.stream()
			n.Resets = append(n.Resets, `{"reason":"future"}`)
		}},
		{"another start", ruleStreams, "did not start at the first event", func(s *scene) {
			script, _ := s.stream()
			first := script.Connections[slices.IndexFunc(script.Connections, func(n *connection) bool { return n.Primed != "" })]
			first.Primed = strings.TrimSuffix(first.Primed, ".0") + ".1"
		}},
		{"another place", ruleStreams, "from another place", func(s *scene) {
			for _, script := range s.ledger.transcripts {
				for _, n := range script.Connections {
					if n.Sent != "" {
						n.Primed += "0"
					}
				}
			}
		}},
		{"not found", ruleStreams, "an accepted session", func(s *scene) { _, n := s.stream(); n.Status = 404 }},
		{"204 too early", ruleStreams, "204 to a client", func(s *scene) {
			script, n := s.stream()
			script.Connections = append(script.Connections, &connection{Status: 204, Sent: n.Frames[0].Cursor, Ended: endedNone})
		}},
	}
}

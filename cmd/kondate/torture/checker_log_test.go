package torture_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// dedupe is how long the broker remembers an id: after that the same fact may be recorded again.
const dedupe = 2 * time.Minute

// once looks for what is in the log twice, and for what the program should not have written.
func (t *trial) once() {
	first := map[string]*entry{}
	for i := range t.entries {
		e := &t.entries[i]
		v := violation{Session: e.key.session, Seq: e.Seq}
		switch {
		case e.foreign:
			continue
		case e.state != readable:
			t.report(ruleOnce, v, "the program wrote %s version %d, which nobody can read", e.Subject, e.version)
			continue
		case !slices.Equal(e.Header["Nats-Msg-Id"], []string{e.id}):
			v.Have, v.Want = fmt.Sprint(e.Header["Nats-Msg-Id"]), e.id
			t.report(ruleOnce, v, "Nats-Msg-Id is not the event's id")
		case e.contentID() != e.id:
			v.Have, v.Want = e.id, e.contentID()
			t.report(ruleOnce, v, "the id does not follow from the content")
		}
		if before := first[e.id]; before != nil && e.Stored.Sub(before.Stored) < dedupe {
			t.report(ruleOnce, v, "%s has the id %s of event %d", e.typ, e.id, before.Seq)
		}
		first[e.id] = e
	}
}

// sessionsOnce looks at each session's submission and rounds.
func (t *trial) sessionsOnce() {
	refs := map[string]bool{}
	for _, s := range t.ledger.submissions {
		refs[s.Ref] = true
	}
	for k, all := range t.of {
		s := t.clean.sessions[k]
		if k == (key{}) || s == nil || s.status == "erased" {
			continue
		}
		var chunks []*entry
		rounds := 0
		for _, e := range all {
			switch {
			case e.foreign || e.state != readable:
			case e.typ == "menu.submitted":
				chunks = append(chunks, e)
			case e.typ == "menu.completed":
				c := e.completed
				if rounds++; c.Round != rounds || c.Items != s.items || c.Completed+c.Failed != c.Items || len(c.FailedIDs) != c.Failed {
					t.report(ruleOnce, violation{Session: k.session, Seq: e.Seq, Have: fmt.Sprintf("%+v", c), Want: fmt.Sprintf("round %d of %d dishes", rounds, s.items)},
						"menu.completed does not fit")
				}
			}
		}
		if len(chunks) == 0 {
			if slices.ContainsFunc(all, func(e *entry) bool { return !e.foreign }) && s.items == 0 && !t.fromForeign(k) {
				t.report(ruleOnce, violation{Session: k.session, Seq: all[0].Seq}, "the session has events and no submission")
			}
			continue
		}
		if title := chunks[0].submitted.Title; !refs[title] {
			t.report(ruleOnce, violation{Session: k.session, Seq: chunks[0].Seq, Have: title}, "nobody submitted this menu")
		}
		t.whole(k, chunks)
	}
}

// fromForeign says whether the harness submitted the session.
func (t *trial) fromForeign(k key) bool {
	return slices.ContainsFunc(t.of[k], func(e *entry) bool { return e.foreign && e.typ == "menu.submitted" })
}

// whole says whether a submission is there whole, its chunks one behind the other.
func (t *trial) whole(k key, chunks []*entry) {
	positions := map[int]bool{}
	count := chunks[0].submitted.ItemCount
	for i, e := range chunks {
		v := violation{Session: k.session, Seq: e.Seq}
		if e.submitted.Chunk != i+1 || e.submitted.Chunks != len(chunks) || e.Seq != chunks[0].Seq+uint64(i) || e.submitted.ItemCount != count {
			v.Have, v.Want = fmt.Sprintf("chunk %d of %d", e.submitted.Chunk, e.submitted.Chunks), fmt.Sprintf("chunk %d of %d at event %d", i+1, len(chunks), chunks[0].Seq+uint64(i))
			t.report(ruleOnce, v, "the submission is not whole")
			return
		}
		for _, item := range e.submitted.Items {
			if positions[item.Position] || item.Position < 0 || item.Position >= count {
				t.report(ruleOnce, violation{Session: k.session, Dish: item.ID, Seq: e.Seq}, "position %d of %d is there twice or out of place", item.Position, count)
			}
			positions[item.Position] = true
		}
	}
	if len(positions) != count {
		t.report(ruleOnce, violation{Session: k.session, Seq: chunks[0].Seq, Have: fmt.Sprint(len(positions)), Want: fmt.Sprint(count)}, "dishes are missing in the submission")
	}
}

// historyIsLog holds history against the log, row by row.
func (t *trial) historyIsLog() {
	rows := make(map[uint64]*historyRow, len(t.history))
	for i := range t.history {
		h := &t.history[i]
		rows[h.Seq] = h
	}
	inLog := make(map[uint64]bool, len(t.entries))
	for i := range t.entries {
		e := &t.entries[i]
		inLog[e.Seq] = true
		s := t.fold.sessions[e.key]
		erased := s != nil && s.status == "erased" && e.Seq != s.lastSeq
		h := rows[e.Seq]
		switch {
		case h == nil && !erased:
			t.report(ruleHistory, violation{Session: e.key.session, Seq: e.Seq}, "%s is in the log and not in history", e.Subject)
		case h != nil && !erased:
			t.sameRow(e, h)
		}
	}
	for seq, h := range rows {
		k := key{h.Tenant, h.Session}
		erased := t.status(k) == "erased" && seq != t.fold.sessions[k].lastSeq
		switch {
		case erased:
			t.report(ruleHistory, violation{Session: h.Session, Seq: seq}, "the session was erased, and history has its %s still", h.Type)
		case !inLog[seq]:
			t.report(ruleHistory, violation{Session: h.Session, Seq: seq}, "%s is in history and not in the log", h.Type)
		}
	}
}

// sameRow holds one row of history against its message.
func (t *trial) sameRow(e *entry, h *historyRow) {
	v := violation{Session: e.key.session, Seq: e.Seq}
	different := func(what string, have, want any) {
		if fmt.Sprint(have) != fmt.Sprint(want) {
			v.Have, v.Want = fmt.Sprint(have), fmt.Sprint(want)
			t.report(ruleHistory, v, "%s of the row is another one", what)
		}
	}
	body := h.Data
	if h.Raw != nil {
		body = h.Raw
	}
	if !bytes.Equal(body, e.Data) {
		different("data", string(body), string(e.Data))
	}
	var headers map[string][]string
	if err := json.Unmarshal(h.Headers, &headers); err != nil {
		different("headers", err, "JSON")
	}
	for name, values := range e.Header {
		want := make([]string, len(values))
		for i, value := range values {
			want[i] = strings.ReplaceAll(strings.ToValidUTF8(value, "\ufffd"), "\x00", "\ufffd")
		}
		different("header "+name, headers[name], want)
	}
	different("number of headers", len(headers), len(e.Header))
	different("tenant and session", key{h.Tenant, h.Session}, e.key)
	different("type", h.Type, e.typ)
	if e.state == readable {
		different("id", h.ID, e.id)
		different("version", h.Version, e.version)
		different("time", h.Time.UTC().Truncate(time.Microsecond), e.at.Truncate(time.Microsecond))
	}
	if aside := h.ErrorMessage != "" && !strings.HasPrefix(h.ErrorMessage, "ignored: "); aside != (e.state != readable) {
		different("error", h.ErrorMessage, map[bool]string{true: "a reason: nobody can read it", false: "none"}[e.state != readable])
	}
}

// rowsAreFold holds every column of every row against the fold.
func (t *trial) rowsAreFold() {
	if n := len(t.entries); n > 0 && t.checkpoint < t.entries[n-1].Seq {
		t.report(ruleRows, violation{Seq: t.entries[n-1].Seq, Have: fmt.Sprint(t.checkpoint)}, "the rows are behind the log")
	}
	dishes, sessions := map[[2]string]map[string]any{}, map[[2]string]map[string]any{}
	for k, s := range t.fold.sessions {
		if !s.exists() {
			continue
		}
		sessions[[2]string{k.tenant, k.session}] = s.row()
		for id, d := range s.dishes {
			dishes[[2]string{k.tenant, id}] = d.row(k)
		}
	}
	t.sameRows(t.sessions, sessions, "session_id")
	t.sameRows(t.menus, dishes, "id")
}

// sameRows holds the rows of a table against those that the fold makes, whose key is tenant and the column id.
func (t *trial) sameRows(have []map[string]any, want map[[2]string]map[string]any, id string) {
	for _, raw := range have {
		row := canonical(raw)
		at := [2]string{fmt.Sprint(row["tenant"]), fmt.Sprint(row[id])}
		v := violation{Session: fmt.Sprint(row["session_id"])}
		if id == "id" {
			v.Dish = at[1]
		}
		folded := want[at]
		if delete(want, at); folded == nil {
			t.report(ruleRows, v, "a row that the log does not explain")
			continue
		}
		for column, value := range folded {
			if !reflect.DeepEqual(row[column], value) {
				v.Have, v.Want = fmt.Sprint(row[column]), fmt.Sprint(value)
				t.report(ruleRows, v, "column %s", column)
			}
		}
	}
	for _, row := range want {
		v := violation{Session: fmt.Sprint(row["session_id"])}
		if id == "id" {
			v.Dish = fmt.Sprint(row[id])
		}
		t.report(ruleRows, v, "there is no row")
	}
}

// readsAreFold holds what clients read over HTTP against the fold as it was at that event.
func (t *trial) readsAreFold() {
	reads := map[key][]*rowsRead{}
	for _, r := range t.ledger.reads {
		if k := public(r.Session); r.Status == 200 && t.status(k) != "erased" {
			reads[k] = append(reads[k], r)
		}
	}
	for k, of := range reads {
		slices.SortFunc(of, func(a, b *rowsRead) int { return int(a.Seq) - int(b.Seq) })
		f, rest := newFold(), t.of[k]
		for _, r := range of {
			for ; len(rest) > 0 && rest[0].Seq <= r.Seq; rest = rest[1:] {
				f.evolve(rest[0])
			}
			t.sameRead(k, r, f.sessions[k])
		}
	}
}

func (t *trial) sameRead(k key, r *rowsRead, s *sessionState) {
	v := violation{Session: k.session, Seq: r.Seq}
	if r.Seq < r.MinSeq {
		v.Have, v.Want = fmt.Sprint(r.Seq), fmt.Sprint(r.MinSeq)
		t.report(ruleRows, v, "rows were older than min_seq")
	}
	want := 0
	if s != nil {
		want = len(s.dishes)
	}
	if len(r.Rows) != want {
		v.Have, v.Want = fmt.Sprint(len(r.Rows)), fmt.Sprint(want)
		t.report(ruleRows, v, "number of rows that a client read")
		return
	}
	for id, seen := range r.Rows {
		v.Dish = id
		d := s.dishes[id]
		if d == nil {
			t.report(ruleRows, v, "a client read a row that the log does not explain")
			continue
		}
		if seen.Hash != t.hash(k, d) {
			v.Have, v.Want = fmt.Sprintf("last_seq %d", seen.LastSeq), fmt.Sprintf("last_seq %d: %v", d.lastSeq, d.row(k))
			t.report(ruleRows, v, "the row that a client read is another one")
		}
	}
}

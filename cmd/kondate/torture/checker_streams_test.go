package torture_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// parseCursor reads an id of a stream, <incarnation>.<sequence>; our clients take it as a whole, only the checker looks into it.
func parseCursor(id string) (incarnation string, seq uint64, err error) {
	incarnation, digits, found := strings.Cut(id, ".")
	if !found || incarnation == "" {
		return "", 0, fmt.Errorf("%q is no id of a stream", id)
	}
	seq, err = strconv.ParseUint(digits, 10, 64)
	return incarnation, seq, err
}

// viewing is what the checker knows of one transcript on its way through it.
type viewing struct {
	*trial

	script *transcript
	key    key
	want   []*entry // the session's events that streams show, in order
	union  []uint64 // of an erased session: what all its clients saw together, in order
	tomb   uint64   // its tombstone; 0: not erased
	at     uint64   // everything up to here was seen, or not asked for
}

// streams holds every transcript against the log.
func (t *trial) streams() {
	incarnation := ""
	agreed := map[uint64]frame{} // what the first client saw
	union := map[key][]uint64{}
	for _, script := range t.ledger.transcripts {
		for _, n := range script.Connections {
			for _, f := range n.Frames {
				v := violation{Session: script.Session, Seq: f.Seq}
				inc, seq, err := parseCursor(f.Cursor)
				if incarnation == "" {
					incarnation = inc
				}
				if err != nil || seq != f.Seq || inc != incarnation {
					v.Have, v.Want = f.Cursor, fmt.Sprintf("%s.%d", incarnation, f.Seq)
					t.report(ruleStreams, v, "client %s: the id of the frame", script.Ref)
				}
				first, again := agreed[f.Seq]
				if again && (first.ID != f.ID || first.Hash != f.Hash || first.Event != f.Event) {
					v.Have, v.Want = fmt.Sprint(f), fmt.Sprint(first)
					t.report(ruleStreams, v, "client %s saw another event than the others", script.Ref)
				}
				if !again {
					agreed[f.Seq] = f
					union[public(script.Session)] = append(union[public(script.Session)], f.Seq)
				}
			}
		}
	}
	for _, seqs := range union {
		slices.Sort(seqs)
	}
	for _, script := range t.ledger.transcripts {
		w := viewing{trial: t, script: script, key: public(script.Session)}
		for _, e := range t.of[w.key] {
			if e.state != malformed {
				w.want = append(w.want, e)
			}
		}
		if t.status(w.key) == "erased" {
			w.tomb, w.union = t.fold.sessions[w.key].lastSeq, union[w.key]
		}
		for _, n := range script.Connections {
			if !w.connection(n) {
				break // what follows a first difference follows from it
			}
		}
	}
}

// wrong reports a difference and says that the rest need not be looked at.
func (w *viewing) wrong(seq uint64, have, want any, what string, args ...any) bool {
	v := violation{Session: w.script.Session, Seq: seq, Have: fmt.Sprint(have), Want: fmt.Sprint(want)}
	w.report(ruleStreams, v, "client %s: %s", w.script.Ref, fmt.Sprintf(what, args...))
	return false
}

// connection takes the next connection of the transcript.
func (w *viewing) connection(n *connection) bool {
	switch {
	case n.Status == http.StatusNotFound || n.Status == http.StatusBadRequest:
		return w.wrong(0, n.Status, 200, "the stream of an accepted session: %s", n.Why)
	case n.Status == http.StatusNoContent:
		return w.over(n, "")
	case n.Status != http.StatusOK:
		return true
	case n.Ended == endedBroken && strings.Contains(n.Why, "lines of data"):
		return w.wrong(0, n.Why, "one line", "a frame")
	case n.Primed == "" && len(n.Frames) > 0:
		return w.wrong(0, "", "an id", "the stream did not say where it starts")
	case n.Primed == "":
		return true // cut before
	}
	_, start, err := parseCursor(n.Primed)
	if err != nil {
		return w.wrong(0, err, "an id", "where the stream starts")
	}
	for _, reset := range n.Resets {
		var body struct{ Reason string }
		err := json.Unmarshal([]byte(reset), &body)
		// Whoever comes back while a session is erased may ask for events that are out already.
		erased := w.tomb > 0 && body.Reason == "expired"
		if err != nil || !w.resets[body.Reason] && !erased {
			return w.wrong(start, reset, "none", "a reset that nothing explains")
		}
	}
	switch {
	case len(n.Resets) > 0:
		w.at = start
	case n.Sent != "":
		if n.Primed != n.Sent {
			return w.wrong(start, n.Primed, n.Sent, "the stream went on from another place")
		}
		if start != w.at {
			return w.wrong(start, start, w.at, "the client came back with another event than its last")
		}
	case w.script.From == "start" && start != 0:
		return w.wrong(start, start, 0, "the stream did not start at the first event")
	default:
		w.at = start
	}
	for _, f := range n.Frames {
		if ok := w.frame(n, f); !ok {
			return false
		}
	}
	if n.Ended == endedEnd {
		return w.over(n, n.End)
	}
	return true
}

// frame takes the next frame.
func (w *viewing) frame(n *connection, f frame) bool {
	if f.Seq <= w.at {
		return w.wrong(f.Seq, f.Seq, fmt.Sprintf("more than %d", w.at), "an event came again, or too late")
	}
	if w.tomb > 0 && f.Seq < w.tomb {
		return w.erasedFrame(n, f)
	}
	i := slices.IndexFunc(w.want, func(e *entry) bool { return e.Seq > w.at })
	if w.tomb > 0 {
		i = slices.IndexFunc(w.want, func(e *entry) bool { return e.Seq == w.tomb })
	}
	if i < 0 {
		return w.wrong(f.Seq, f.Event, "nothing more", "an event that the log does not have")
	}
	e := w.want[i]
	if e.Seq != f.Seq {
		return w.wrong(f.Seq, fmt.Sprintf("event %d", f.Seq), fmt.Sprintf("event %d, a %s", e.Seq, e.typ), "a gap after event %d", w.at)
	}
	if f.Event != e.typ || f.ID != e.id {
		return w.wrong(f.Seq, f.Event+" "+f.ID, e.typ+" "+e.id, "the event is another one")
	}
	if older := e.state == readable && e.version < e.newest(); !older && f.Hash != hashOf(oneLine(e)) {
		return w.wrong(f.Seq, "digest "+f.Hash, string(oneLine(e)), "the data are others")
	}
	w.at = f.Seq
	return true
}

// erasedFrame takes a frame of a session whose log is gone: the clients' transcripts have to agree. Only right before the
// tombstone may one of them miss something, and where it read while the events were taken out.
func (w *viewing) erasedFrame(n *connection, f frame) bool {
	i := slices.IndexFunc(w.union, func(seq uint64) bool { return seq > w.at })
	tomb := slices.IndexFunc(w.want, func(e *entry) bool { return e.Seq == w.tomb })
	meanwhile := tomb >= 0 && n.Over.After(w.want[tomb].at) && slices.Contains(w.union, f.Seq)
	if i < 0 || w.union[i] != f.Seq && !meanwhile {
		return w.wrong(f.Seq, f.Seq, w.union[max(i, 0)], "a gap after event %d that another client does not have", w.at)
	}
	w.at = f.Seq
	return true
}

func oneLine(e *entry) []byte {
	line := e.line()
	if !bytes.ContainsAny(line, "\r\n") {
		return line
	}
	var b bytes.Buffer
	if err := json.Compact(&b, line); err != nil {
		return line
	}
	return b.Bytes()
}

// over holds the end of a stream against the session as it was then.
func (w *viewing) over(n *connection, end string) bool {
	if w.tomb > 0 {
		return true // whether it was closed before cannot be known any more
	}
	if n.Status == http.StatusNoContent {
		if _, at, err := parseCursor(n.Sent); err != nil || at != w.at {
			return w.wrong(w.at, n.Sent, w.at, "204 to a client that has not seen everything")
		}
	}
	f := newFold()
	for _, e := range w.of[w.key] {
		if e.Seq > w.at {
			break
		}
		f.evolve(e)
	}
	s := f.sessions[w.key]
	if s == nil || !s.closed() {
		return w.wrong(w.at, n.Ended, "no end", "the stream ended, and the session was not closed")
	}
	if end == "" {
		return true
	}
	var body struct{ Reason string }
	if err := json.Unmarshal([]byte(end), &body); err != nil || body.Reason != s.status {
		return w.wrong(w.at, end, s.status, "the reason of the end")
	}
	return true
}

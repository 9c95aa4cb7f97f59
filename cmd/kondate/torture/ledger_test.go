package torture_test

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// ledger is what the clients sent and what they were told. Whoever holds a pointer to one of its entries changes it in
// [ledger.note] only. With a writer it is written down as it goes, one JSON line for each change: of two lines for the
// same kind and ref the later one counts.
type ledger struct {
	mu          sync.Mutex // guards the rest, and the entries
	out         io.Writer  // nil: nothing is written down
	err         error      // the first failure to write
	submissions []*submission
	requests    []*request
	transcripts []*transcript
	reads       []*rowsRead
}

// newLedger returns an empty ledger. out may be nil.
func newLedger(out io.Writer) *ledger { return &ledger{out: out} }

// dish is an item of a submission, as sent.
type dish struct {
	ID       string `json:"id,omitempty"` // empty: the server gives one
	Name     string `json:"name"`
	Category string `json:"category,omitempty"`
	Price    string `json:"price,omitempty"`
}

// submission is one menu that a client wants to have taken in. Its ref is the menu's title too: that is how a session
// whose answer was lost is found in the log.
type submission struct {
	Ref      string     `json:"ref"`
	Key      string     `json:"key,omitempty"` // Idempotency-Key; empty: none, and no attempt after one without an answer
	Items    []dish     `json:"items"`
	Attempts int        `json:"attempts"`          // how often it was sent
	Unclear  int        `json:"unclear"`           // attempts that may or may not have been recorded
	Accepted []accepted `json:"accepted"`          // every 202
	Refused  int        `json:"refused"`           // status of a refusal that ended it; 0: none
	Repeats  []int      `json:"repeats,omitempty"` // answers other than 202 when it was sent again after one
	Reuse    []int      `json:"reuse,omitempty"`   // answers to another menu under the same key
	Problem  string     `json:"detail,omitempty"`  // of the refusal
}

// accepted is the answer 202 to a submission.
type accepted struct {
	Session string   `json:"session"`
	Seq     uint64   `json:"seq"`
	IDs     []string `json:"ids"` // of the dishes, by position
}

// The kinds of a request.
const (
	askRetry = "retry"
	askImage = "image"
	askErase = "erase"
)

// request is a retry, a picture or an erasure that a client asked for.
type request struct {
	Ref     string    `json:"ref"`
	Kind    string    `json:"kind"`
	Session string    `json:"session"`
	Dish    string    `json:"dish,omitempty"`
	Stage   string    `json:"stage,omitempty"`
	Unclear int       `json:"unclear"` // attempts without an answer
	Status  int       `json:"status"`  // of the last answer; 0: none
	Epoch   int       `json:"epoch,omitempty"`
	Seq     uint64    `json:"seq,omitempty"`
	At      time.Time `json:"at"`
}

// transcript is everything that one SSE client saw of one session.
type transcript struct {
	Ref         string        `json:"ref"`
	Session     string        `json:"session"`
	From        string        `json:"from"` // how it began: start or live
	Connections []*connection `json:"connections"`
	Done        bool          `json:"done"` // it saw the end

	on string // url of its first connection, which it keeps; empty: any, and it cuts some
}

// How a connection ended, as its client saw it.
const (
	endedEnd     = "end"     // event: end
	endedClosing = "closing" // event: closing
	endedCut     = "cut"     // the client cut it
	endedBroken  = "broken"  // it broke, or stood still for too long
	endedNone    = "204"     // there is nothing more
	endedRefused = "refused" // any other status than 200 and 204, or no connection
)

// connection is one request for a session's stream.
type connection struct {
	Began    time.Time `json:"began"`
	Answered time.Time `json:"answered"` // with 200 or 204; zero: never
	Over     time.Time `json:"over"`
	Ref      string    `json:"ref"`
	URL      string    `json:"url"`
	Sent     string    `json:"sent"`   // Last-Event-ID; empty: none
	Status   int       `json:"status"` // 0: no answer
	Primed   string    `json:"primed"` // id of the block that every stream begins with
	Frames   []frame   `json:"frames"`
	Live     []string  `json:"live,omitempty"` // names of events without an id, but for end, closing, reset and caught-up
	Resets   []string  `json:"resets,omitempty"`
	End      string    `json:"end,omitempty"` // data of event: end
	Ended    string    `json:"ended"`
	Why      string    `json:"why,omitempty"` // the error, for people
}

// frame is a stored event as it came over a stream.
type frame struct {
	Cursor string `json:"cursor"` // field id
	Event  string `json:"event"`  // field event
	ID     string `json:"id"`     // of the event
	Seq    uint64 `json:"seq"`    // in data
	Hash   string `json:"hash"`   // of data, see hashOf
	Reset  int    `json:"reset"`  // resets of the connection before this frame
}

// rowsRead is an answer to GET /v1/sessions/{id}/menus?min_seq=N.
type rowsRead struct {
	Session string             `json:"session"`
	MinSeq  uint64             `json:"min_seq"`
	Status  int                `json:"status"`
	Seq     uint64             `json:"seq"` // the rows are as the log was here
	Rows    map[string]rowSeen `json:"rows"`
}

// rowSeen is one dish of a rowsRead.
type rowSeen struct {
	LastSeq uint64 `json:"last_seq"`
	Hash    string `json:"hash"` // of the row, see rowHash
}

// add takes an entry up: a *submission, *request, *transcript or *rowsRead.
func (l *ledger) add(entry any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e := entry.(type) {
	case *submission:
		l.submissions = append(l.submissions, e)
	case *request:
		l.requests = append(l.requests, e)
	case *transcript:
		l.transcripts = append(l.transcripts, e)
	case *rowsRead:
		l.reads = append(l.reads, e)
	}
	l.write(entry)
}

// note changes an entry, or one of a transcript's connections, and writes it down.
func (l *ledger) note(entry any, change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.write(entry)
}

// change is note for what need not be written down yet: a frame comes with its connection.
func (l *ledger) change(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
}

func (l *ledger) write(entry any) {
	if l.out == nil || l.err != nil {
		return
	}
	if t, is := entry.(*transcript); is {
		brief := *t // its connections have lines of their own
		brief.Connections = nil
		entry = &brief
	}
	raw, err := json.Marshal(map[string]any{"at": time.Now().UTC(), fmt.Sprintf("%T", entry)[len("*torture_test."):]: entry})
	if err == nil {
		_, err = l.out.Write(append(raw, '\n'))
	}
	l.err = err
}

// broken returns the first failure to write.
func (l *ledger) broken() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// counts are the figures of a summary.
type counts struct {
	Menus, Accepted, Unclear, Dishes int // submissions; with an answer 202; with none; dishes of the accepted ones
	Requests                         int // retries, pictures, erasures
	Followers, Done                  int // SSE clients; those that saw the end
	Connections, Frames, Resets      int
	Reads                            int
}

// count counts.
func (l *ledger) count() counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := counts{Menus: len(l.submissions), Requests: len(l.requests), Followers: len(l.transcripts), Reads: len(l.reads)}
	for _, s := range l.submissions {
		switch {
		case len(s.Accepted) > 0:
			c.Accepted++
			c.Dishes += len(s.Items)
		case s.Refused == 0:
			c.Unclear++
		}
	}
	for _, t := range l.transcripts {
		if t.Done {
			c.Done++
		}
		c.Connections += len(t.Connections)
		for _, n := range t.Connections {
			c.Frames += len(n.Frames)
			c.Resets += len(n.Resets)
		}
	}
	return c
}

// sessions returns the ids of the accepted sessions, in the order of their submissions.
func (l *ledger) sessions() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for _, s := range l.submissions {
		for _, a := range s.Accepted {
			if !slices.Contains(ids, a.Session) {
				ids = append(ids, a.Session)
			}
		}
	}
	return ids
}

// missing names the SSE clients that did not see the end of their sessions.
func (l *ledger) missing() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var refs []string
	for _, t := range l.transcripts {
		if !t.Done {
			refs = append(refs, t.Ref+" of session "+t.Session)
		}
	}
	return refs
}

// wasCut says whether a server ended a client's first connection before its stream was at its end.
func (l *ledger) wasCut(t *transcript) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return t.Connections[0].cut()
}

// cut says whether a server ended the connection before the stream was at its end.
func (n *connection) cut() bool { return n.Ended == endedClosing || n.Ended == endedBroken }

// longestCut returns how long a client was without its stream at most, of those whose stream a server ended since a time.
func (l *ledger) longestCut(since time.Time) (longest time.Duration, cuts int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.transcripts {
		var cut time.Time
		for _, n := range t.Connections {
			if !cut.IsZero() && !n.Answered.IsZero() {
				longest, cut = max(longest, n.Answered.Sub(cut)), time.Time{}
			}
			if n.Over.After(since) && n.cut() {
				cut = n.Over
				cuts++
			}
		}
		if !cut.IsZero() { // it waits still
			longest = max(longest, time.Since(cut))
		}
	}
	return longest, cuts
}

package torture_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// stageNames are the eight stages, and the column of each that is not plain text.
var stageNames = []string{"translation", "description", "allergen", "ingredient", "search_engine", "task6", "task7", "task8"}

// logged is a message of the log as the broker gives it.
type logged struct {
	Seq     uint64
	Subject string
	Stored  time.Time
	Header  map[string][]string
	Data    []byte
}

// What a reader can make of a message.
const (
	readable  = iota // an event of a type and version of the contract
	unknown          // well-formed, but of another type or version: readers of streams see it, rows do not
	malformed        // nobody can read it
)

// key names a session across tenants.
type key struct{ tenant, session string }

func (k key) String() string { return k.tenant + "/" + k.session }

// entry is a message of the log with what it says.
type entry struct {
	logged

	key                        key // zero: the subject names no session
	lane, name, typ            string
	id, correlation, causation string
	at                         time.Time
	version                    int
	state                      int
	foreign                    bool // the harness published it past the program

	submitted submittedBody
	completed completedBody
	results   resultsBody
	failure   failureBody
	image     imageBody
}

type submittedBody struct {
	Title     string     `json:"title"`
	Source    string     `json:"source_language"`
	Target    string     `json:"target_language"`
	ItemCount int        `json:"item_count"`
	Chunk     int        `json:"chunk"`
	Chunks    int        `json:"chunks"`
	Items     []itemBody `json:"items"`
}

type itemBody struct {
	ID       string `json:"menu_id"`
	Position int    `json:"position"`
	Name     string `json:"name"`
	Category string `json:"category"`
	Price    string `json:"price"`
}

type completedBody struct {
	Round     int      `json:"round"`
	Items     int      `json:"items"`
	Completed int      `json:"completed"`
	Failed    int      `json:"failed"`
	FailedIDs []string `json:"failed_menu_ids"`
}

type resultsBody struct {
	Stage   string       `json:"stage"`
	Results []resultBody `json:"results"`
}

type resultBody struct {
	ID      string       `json:"menu_id"`
	Epoch   int          `json:"epoch"`
	Attempt int          `json:"attempt"`
	Result  envelopeBody `json:"result"`
}

type envelopeBody struct {
	Stage      string          `json:"stage"`
	Status     string          `json:"status"`
	Provider   string          `json:"provider"`
	Basis      string          `json:"basis"`
	Confidence float64         `json:"confidence"`
	Data       json.RawMessage `json:"data"`
}

// failureBody is the body of attempt_failed, failed and retry_requested.
type failureBody struct {
	Stage     string    `json:"stage"`
	IDs       []string  `json:"menu_ids"`
	Epoch     int       `json:"epoch"`
	Attempt   int       `json:"attempt"`
	Attempts  int       `json:"attempts"`
	Reason    string    `json:"reason"`
	Error     string    `json:"error"`
	Provider  string    `json:"provider"`
	Permanent bool      `json:"permanent"`
	RetryAt   time.Time `json:"retry_at"`
}

type imageBody struct {
	ID    string `json:"menu_id"`
	Epoch int    `json:"epoch"`
	URL   string `json:"url"`
}

// token is what every part of a subject has to look like.
var token = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// decode reads a message as the contract says.
func decode(m logged) entry {
	e := entry{logged: m, state: malformed}
	parts := strings.Split(m.Subject, ".")
	if len(parts) != 6 || parts[0] != "menu" || parts[1] != "evt" ||
		slices.ContainsFunc(parts[2:], func(s string) bool { return !token.MatchString(s) }) {
		return e
	}
	e.key, e.lane, e.name, e.typ = key{parts[2], parts[3]}, parts[4], parts[5], parts[4]+"."+parts[5]
	single := func(name string) string {
		if v := m.Header[name]; len(v) == 1 {
			return v[0]
		}
		return ""
	}
	first := func(name string) string {
		if v := m.Header[name]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	var err error
	id, at := single("ce-id"), single("ce-time")
	if e.at, err = time.Parse(time.RFC3339, at); err != nil || id == "" {
		return e
	}
	if e.version, err = strconv.Atoi(single("Kondate-Schema")); err != nil {
		return e
	}
	e.id, e.at, e.correlation, e.causation = id, e.at.UTC(), first("Kondate-Correlation-Id"), first("Kondate-Causation-Id")
	switch known := e.known(); {
	case !known && json.Valid(m.Data):
		e.state = unknown
	case known && e.read() == nil:
		e.state = readable
	}
	return e
}

func (e *entry) isStage() bool { return slices.Contains(stageNames, e.lane) }

// newest is the version in which an event is written today.
func (e *entry) newest() int {
	if e.isStage() && (e.name == "completed" || e.name == "attempt_failed") {
		return 2
	}
	return 1
}

// known says whether the contract has the type and version.
func (e *entry) known() bool {
	events := []string{"completed", "attempt_failed", "failed", "retry_requested"}
	switch {
	case e.lane == "menu":
		events = []string{"submitted", "completed", "expired", "erased"}
	case e.lane == "image":
		events = []string{"requested", "completed", "failed"}
	case !e.isStage():
		return false
	}
	return slices.Contains(events, e.name) && e.version >= 1 && e.version <= e.newest()
}

// read decodes the body.
func (e *entry) read() error {
	switch {
	case e.typ == "menu.submitted":
		return json.Unmarshal(e.Data, &e.submitted)
	case e.typ == "menu.completed":
		return json.Unmarshal(e.Data, &e.completed)
	case e.lane == "menu":
		var body struct{}
		return json.Unmarshal(e.Data, &body)
	case e.lane == "image":
		return json.Unmarshal(e.Data, &e.image)
	case e.name != "completed":
		if err := json.Unmarshal(e.Data, &e.failure); err != nil {
			return err
		}
		return e.sameStage(e.failure.Stage)
	}
	if err := json.Unmarshal(e.Data, &e.results); err != nil {
		return err
	}
	for _, r := range e.results.Results {
		if err := r.Result.check(e.lane); err != nil {
			return err
		}
	}
	return e.sameStage(e.results.Stage)
}

func (e *entry) sameStage(stage string) error {
	if stage != e.lane {
		return fmt.Errorf("stage %q on lane %s", stage, e.lane)
	}
	return nil
}

// check says what makes an envelope unfit for the log.
func (r envelopeBody) check(stage string) error {
	data := strings.TrimSpace(string(r.Data))
	switch {
	case !slices.Contains([]string{"ok", "partial", "unknown", "skipped"}, r.Status):
		return fmt.Errorf("status %q", r.Status)
	case !slices.Contains([]string{"exact", "composed", "glossary", "category", "model", "search", "declared", "none"}, r.Basis):
		return fmt.Errorf("basis %q", r.Basis)
	case r.Provider == "":
		return fmt.Errorf("no provider")
	case !(r.Confidence >= 0 && r.Confidence <= 1):
		return fmt.Errorf("confidence %v", r.Confidence)
	case data != "" && data != "null" && data[0] != '{':
		return fmt.Errorf("data is no object")
	case r.Stage != stage:
		return fmt.Errorf("a result of %q", r.Stage)
	}
	return nil
}

// idSpace is the namespace of event ids.
var idSpace = uuid.MustParse("6f0b7c1e-3f0a-5c52-9d0e-1a7c3b9e4d21")

// contentID derives an event's id from what it says: the UUIDv5 over
// [tenant, session, lane, event, causation, n, [[menu_id, epoch, attempt], …]].
func (e *entry) contentID() string {
	n, refs := 0, [][]any{}
	switch {
	case e.typ == "menu.submitted":
		n = e.submitted.Chunk
		for _, item := range e.submitted.Items {
			refs = append(refs, []any{item.ID, 0, 0})
		}
	case e.typ == "menu.completed":
		n = e.completed.Round
	case e.lane == "image":
		refs = append(refs, []any{e.image.ID, e.image.Epoch, 0})
	case e.isStage() && e.name == "completed":
		for _, r := range e.results.Results {
			refs = append(refs, []any{r.ID, r.Epoch, r.Attempt})
		}
	case e.isStage():
		attempt := e.failure.Attempt
		if e.name == "failed" {
			attempt = e.failure.Attempts
		}
		for _, id := range e.failure.IDs {
			refs = append(refs, []any{id, e.failure.Epoch, attempt})
		}
	}
	name, err := json.Marshal([]any{e.key.tenant, e.key.session, e.lane, e.name, e.causation, n, refs})
	if err != nil {
		return err.Error()
	}
	return uuid.NewSHA1(idSpace, name).String()
}

// line is the event as a session's stream shows it, in the field data.
func (e *entry) line() []byte {
	quoted := func(s string) string {
		raw, err := json.Marshal(s)
		if err != nil {
			return err.Error()
		}
		return string(raw)
	}
	return fmt.Appendf(nil, `{"id":%s,"type":%s,"seq":%d,"time":%s,"tenant":%s,"session_id":%s,"data":%s}`, quoted(e.id), quoted(e.typ), e.Seq,
		quoted(e.at.Format("2006-01-02T15:04:05.000000Z07:00")), quoted(e.key.tenant), quoted(e.key.session), e.Data)
}

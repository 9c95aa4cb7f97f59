package menu

import (
	"strings"
	"time"
)

// Lane is the part of a session's history that one kind of writer appends to: "menu", "image" or a stage's name.
type Lane string

// The lanes that are no stage.
const (
	LaneMenu  Lane = "menu"
	LaneImage Lane = "image"
)

// Type is an event's type, "<lane>.<event>", for instance "translation.completed".
type Type string

// Lane returns the part before the dot.
func (t Type) Lane() Lane { lane, _, _ := strings.Cut(string(t), "."); return Lane(lane) }

// Name returns the part after the dot.
func (t Type) Name() string { _, name, _ := strings.Cut(string(t), "."); return name }

// Event is a fact about a session. The set is closed: the types of this file.
//
//sumtype:decl
type Event interface {
	// Type returns the event's type.
	Type() Type
	event()
}

// Recorded is an event with its place in the log and what the log knows about it.
type Recorded struct {
	Seq         uint64    // sequence in the stream; grows over all sessions, with gaps in one session
	ID          string    // deterministic UUIDv5, see eventstore
	Key         Key       // the session
	Time        time.Time // the appender's clock, UTC, microseconds
	Correlation string    // what started the chain: the submission's id
	Causation   string    // id of the event that led to this one, or empty
	Event       Event
}

// Item is one printed line of a submitted menu: the text exactly as sent.
type Item struct {
	ID       DishID `json:"menu_id"`
	Position int    `json:"position"` // 0-based place on the menu
	Name     string `json:"name"`
	Category string `json:"category"` // empty: not printed
	Price    string `json:"price"`    // empty: not printed
}

// Submitted says that a menu came in. A long menu is several chunks, appended together or not at all.
type Submitted struct {
	Title          string `json:"title"`           // as sent; empty: none
	SourceLanguage string `json:"source_language"` // BCP 47
	TargetLanguage string `json:"target_language"` // BCP 47
	ItemCount      int    `json:"item_count"`      // of the whole submission
	Chunk          int    `json:"chunk"`           // 1-based
	Chunks         int    `json:"chunks"`          // how many there are
	Items          []Item `json:"items"`           // of this chunk
}

// Completed says that every dish has an answer of every stage. A retry leads to another one, with the next round.
type Completed struct {
	Round         int      `json:"round"`           // 1-based
	Items         int      `json:"items"`           // dishes of the session
	Completed     int      `json:"completed"`       // dishes with eight results
	Failed        int      `json:"failed"`          // dishes with at least one parked stage
	FailedMenuIDs []DishID `json:"failed_menu_ids"` // those, by position
	DurationMS    int64    `json:"duration_ms"`     // since the submission
}

// Expired says that the session was given up before every answer was there.
type Expired struct {
	Unanswered int `json:"unanswered"` // answers that are missing, dishes × stages
}

// Erased is the tombstone of a session whose content was removed on request.
type Erased struct {
	By     string `json:"by"`     // who asked
	Reason string `json:"reason"` // what they gave as the reason; may be empty
}

// StageCompleted carries the results of one stage that were ready together.
type StageCompleted struct {
	Stage   Stage        `json:"stage"`   // the lane
	Results []DishResult `json:"results"` // one for each dish
}

// DishResult is one stage's result for one dish.
type DishResult struct {
	ID      DishID `json:"menu_id"` // the dish
	Epoch   int    `json:"epoch"`   // 0, and one more for every retry that was asked for
	Attempt int    `json:"attempt"` // 1-based within the epoch
	Result  Result `json:"result"`  // the answer
}

// StageAttemptFailed says that an attempt failed and another one follows at RetryAt.
type StageAttemptFailed struct {
	Stage    Stage     `json:"stage"`    // the lane
	IDs      []DishID  `json:"menu_ids"` // the dishes that failed alike
	Epoch    int       `json:"epoch"`    // 0, and one more for every retry that was asked for
	Attempt  int       `json:"attempt"`  // 1-based within the epoch
	Reason   string    `json:"reason"`   // short, groups failures: "timeout", "rate_limited"
	Error    string    `json:"error"`    // what the provider said
	Provider string    `json:"provider"` // who failed; empty in events that were recorded as version 1
	RetryAt  time.Time `json:"retry_at"` // not before
}

// StageFailed says that the stage is parked for these dishes: no attempt follows unless somebody asks for a retry.
type StageFailed struct {
	Stage     Stage    `json:"stage"`     // the lane
	IDs       []DishID `json:"menu_ids"`  // the dishes that failed alike
	Epoch     int      `json:"epoch"`     // 0, and one more for every retry that was asked for
	Attempts  int      `json:"attempts"`  // made in this epoch
	Reason    string   `json:"reason"`    // short, groups failures
	Error     string   `json:"error"`     // what the provider said last
	Provider  string   `json:"provider"`  // who failed
	Permanent bool     `json:"permanent"` // false: the attempts were used up
}

// StageRetryRequested takes parked dishes back to work under a new epoch.
type StageRetryRequested struct {
	Stage Stage    `json:"stage"`    // the lane
	IDs   []DishID `json:"menu_ids"` // the dishes to work on again
	Epoch int      `json:"epoch"`    // the new one
	By    string   `json:"by"`       // who asked
}

// ImageRequested asks for a generated picture of a dish.
type ImageRequested struct {
	ID    DishID `json:"menu_id"` // the dish
	Epoch int    `json:"epoch"`   // 1-based: which request of the dish this is
}

// ImageCompleted says where the picture is.
type ImageCompleted struct {
	ID          DishID `json:"menu_id"`     // the dish
	Epoch       int    `json:"epoch"`       // of the request
	URL         string `json:"url"`         // of the picture
	MediaType   string `json:"media_type"`  // of the picture
	Generated   bool   `json:"generated"`   // it shows no real dish
	Attribution string `json:"attribution"` // whose it is
}

// ImageFailed says why there is no picture.
type ImageFailed struct {
	ID     DishID `json:"menu_id"` // the dish
	Epoch  int    `json:"epoch"`   // of the request
	Reason string `json:"reason"`  // for people
}

// The names of the events, the part of a [Type] after the dot.
const (
	submitted      = "submitted"
	completed      = "completed"
	expired        = "expired"
	erased         = "erased"
	attemptFailed  = "attempt_failed"
	failed         = "failed"
	retryRequested = "retry_requested"
	requested      = "requested"
)

func typeOf(lane Lane, name string) Type { return Type(string(lane) + "." + name) }

// Type returns "menu.submitted".
func (Submitted) Type() Type { return typeOf(LaneMenu, submitted) }

// Type returns "menu.completed".
func (Completed) Type() Type { return typeOf(LaneMenu, completed) }

// Type returns "menu.expired".
func (Expired) Type() Type { return typeOf(LaneMenu, expired) }

// Type returns "menu.erased".
func (Erased) Type() Type { return typeOf(LaneMenu, erased) }

// Type returns "<stage>.completed".
func (e StageCompleted) Type() Type { return typeOf(e.Stage.Lane(), completed) }

// Type returns "<stage>.attempt_failed".
func (e StageAttemptFailed) Type() Type { return typeOf(e.Stage.Lane(), attemptFailed) }

// Type returns "<stage>.failed".
func (e StageFailed) Type() Type { return typeOf(e.Stage.Lane(), failed) }

// Type returns "<stage>.retry_requested".
func (e StageRetryRequested) Type() Type { return typeOf(e.Stage.Lane(), retryRequested) }

// Type returns "image.requested".
func (ImageRequested) Type() Type { return typeOf(LaneImage, requested) }

// Type returns "image.completed".
func (ImageCompleted) Type() Type { return typeOf(LaneImage, completed) }

// Type returns "image.failed".
func (ImageFailed) Type() Type { return typeOf(LaneImage, failed) }

func (Submitted) event()           {}
func (Completed) event()           {}
func (Expired) event()             {}
func (Erased) event()              {}
func (StageCompleted) event()      {}
func (StageAttemptFailed) event()  {}
func (StageFailed) event()         {}
func (StageRetryRequested) event() {}
func (ImageRequested) event()      {}
func (ImageCompleted) event()      {}
func (ImageFailed) event()         {}

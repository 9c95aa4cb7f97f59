package menu

import (
	"encoding/json"
	"time"
)

// ProcessingStatus is how far a dish has come; it is the column processing_status.
type ProcessingStatus string

// The statuses of a dish, in the order in which it passes through them.
const (
	Pending        ProcessingStatus = "pending"         // a row before any event was folded into it
	BasicCompleted ProcessingStatus = "basic_completed" // the submission is folded
	Processing     ProcessingStatus = "processing"      // a stage has answered, or a retry was asked for
	DishCompleted  ProcessingStatus = "completed"       // all eight stages answered with a result
	DishFailed     ProcessingStatus = "failed"          // all eight ended, at least one is parked
)

// StageStatus is what one stage has said of one dish: the result's status once there is one.
type StageStatus string

// The statuses of a stage besides those of a result (ok, partial, unknown, skipped).
const (
	StagePending  StageStatus = "pending"  // no answer yet
	StageRetrying StageStatus = "retrying" // an attempt failed, another one follows
	StageParked   StageStatus = "failed"   // parked until somebody asks for a retry
)

// StageState is one stage's answer for one dish. The zero value is "pending, never tried".
type StageState struct {
	Status     StageStatus `json:"status"`
	Provider   string      `json:"provider"`
	Basis      Basis       `json:"basis"`
	Confidence float64     `json:"confidence"`
	Attempts   int         `json:"attempts"` // made in this epoch
	Epoch      int         `json:"epoch"`
	Seq        uint64      `json:"seq"`              // the event that led to this state
	Reason     string      `json:"reason,omitempty"` // of the last failure
	Error      string      `json:"error,omitempty"`

	Data json.RawMessage `json:"-"` // the result's data; it has a column of its own
}

// Answered says whether the epoch has its terminal answer: a result, or parked.
func (s StageState) Answered() bool {
	switch s.Status {
	case "", StagePending, StageRetrying:
		return false
	case StageParked:
		return true
	}
	return true
}

// Parked says whether the stage ended without a result.
func (s StageState) Parked() bool { return s.Status == StageParked }

// Troubled says that the last attempt failed: the stage is parked, or waits for the next one.
func (s StageState) Troubled() bool { return s.Status == StageParked || s.Status == StageRetrying }

// ImageState is the state of a dish's generated picture.
type ImageState struct {
	Epoch int    // 0: never asked for
	Open  bool   // asked for and not answered
	URL   string // of the newest picture
}

// Dish is the state of one dish: one row of the table menus.
type Dish struct {
	Item
	Stages    [StageCount]StageState
	Image     ImageState
	CreatedAt time.Time
	UpdatedAt time.Time
	LastSeq   uint64
}

// Status derives the processing status.
func (d Dish) Status() ProcessingStatus {
	answered, parked, retried := 0, 0, false
	for _, s := range d.Stages {
		if s.Answered() {
			answered++
		}
		if s.Parked() {
			parked++
		}
		retried = retried || s.Epoch > 0
	}
	switch {
	case answered == StageCount && parked == 0:
		return DishCompleted
	case answered == StageCount:
		return DishFailed
	case answered > 0 || retried:
		return Processing
	}
	return BasicCompleted
}

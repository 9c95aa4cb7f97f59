package menu

import (
	"errors"
	"fmt"
	"strings"
)

// Why a command is rejected; matched with errors.Is.
var (
	ErrExists      = errors.New("the session was submitted before")
	ErrNoSession   = errors.New("there is no such session")
	ErrNoDish      = errors.New("the session has no such dish")
	ErrErased      = errors.New("the session was erased")
	ErrNotParked   = errors.New("the stage is not parked for this dish")
	ErrNotAnswered = errors.New("answers are missing")
	ErrClosed      = errors.New("the session has ended")
	ErrImageOpen   = errors.New("a picture of this dish is being made")
)

// RejectedError says that a command cannot be carried out in the session's present state. Nothing was recorded.
type RejectedError struct {
	Command string
	Detail  string // which dish or stage; may be empty
	Err     error  // one of the sentinels of this package
}

// Error names the command and the reason.
func (e *RejectedError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("%s rejected: %v", e.Command, e.Err)
	}
	return fmt.Sprintf("%s rejected: %s: %v", e.Command, e.Detail, e.Err)
}

// Unwrap returns the reason.
func (e *RejectedError) Unwrap() error { return e.Err }

// FieldError says what is wrong with one field of a submission.
type FieldError struct {
	Field   string `json:"field"`   // "items[3].name"
	Problem string `json:"problem"` // "is empty"
}

// InvalidError lists what is wrong with a submission. Nothing was recorded.
type InvalidError struct{ Fields []FieldError }

// Error lists the fields and their problems.
func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Field + " " + f.Problem
	}
	return strings.Join(parts, "; ")
}

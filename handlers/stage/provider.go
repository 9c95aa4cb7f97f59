package stage

import (
	"context"
	"errors"
	"time"

	"kondate/domain/menu"
)

// Provider answers one stage for one dish at a time; the engine does the rest: parallelism, time-outs, retries,
// recording. It is called from several goroutines at once.
type Provider interface {
	// Name is the provider's name in results and failures, for instance "local".
	Name() string
	// Version tells results of different knowledge apart.
	Version() string
	// Answer returns the stage's result. It ends when ctx does; one that does not is abandoned. An [*Error] says what
	// kind of failure it is; any other error is a temporary one. A panic counts as a temporary failure.
	Answer(ctx context.Context, r Request) (menu.Result, error)
}

// Request is what a provider may know of the dish it answers for.
type Request struct {
	Key            menu.Key
	Stage          menu.Stage
	SourceLanguage string // BCP 47
	TargetLanguage string // BCP 47
	Item           menu.Item
	Epoch          int // 0, and one more for every retry that was asked for
	Attempt        int // 1-based within the epoch
}

// The reasons that the engine itself gives for a failed attempt.
const (
	ReasonError         = "error"          // the provider did not say which
	ReasonTimeout       = "timeout"        // no answer within the task time-out
	ReasonPanic         = "panic"          // the provider panicked
	ReasonInvalidResult = "invalid_result" // the result is unfit for the log
	ReasonTooLarge      = "too_large"      // the result is larger than an event may be
)

// ReasonClass returns a reason that is one of a fixed set, for metrics and traces: the engine's reasons and those of the providers of
// this program, and "other" for whatever another team's worker says.
func ReasonClass(reason string) string {
	switch reason {
	case ReasonError, ReasonTimeout, ReasonPanic, ReasonInvalidResult, ReasonTooLarge,
		"rate_limited", "quota_used_up", "unauthorized", "misconfigured", "unreachable", "server_error", "bad_request",
		"too_long", "refused", "answer_cut_off", "no_responders", "incomplete":
		return reason
	}
	return "other"
}

// Error is a provider's failure with its kind.
type Error struct {
	Reason     string        // short, groups failures: "rate_limited", "refused"
	Permanent  bool          // another attempt would fail the same way
	Away       bool          // the provider as a whole does not answer: it says nothing about the dish
	RetryAfter time.Duration // the provider's wish; 0: none
	Err        error         // may be nil
}

// Error returns the reason and the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// classify returns the failure's kind: what the provider said, or a temporary failure.
func classify(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Reason: ReasonError, Err: err}
}

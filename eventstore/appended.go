package eventstore

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// Answer is how an append ended.
type Answer string

// The answers of an append.
const (
	AnswerCommitted Answer = "committed"
	AnswerAlready   Answer = "already_committed"
	AnswerConflict  Answer = "conflict"
	AnswerFull      Answer = "full"   // the log has no room
	AnswerFailed    Answer = "failed" // any other error; whether the events are in the log is not known if the broker did not answer
)

// Answers returns all of them.
func Answers() []Answer {
	return []Answer{AnswerCommitted, AnswerAlready, AnswerConflict, AnswerFull, AnswerFailed}
}

// Appended says how one append went.
type Appended struct {
	Answer   Answer
	Events   int
	Bytes    int           // of the bodies
	Took     time.Duration // the wait for a turn included
	ReadBack bool          // the broker's answer did not say how it ended: the log had to be looked at
}

func newAppended(msgs []*nats.Msg, receipt Receipt, err error, readBack bool, took time.Duration) Appended {
	a := Appended{Answer: AnswerCommitted, Events: len(msgs), Took: took, ReadBack: readBack}
	for _, m := range msgs {
		a.Bytes += len(m.Data)
	}
	switch {
	case errors.Is(err, ErrConflict):
		a.Answer = AnswerConflict
	case errors.Is(err, ErrFull):
		a.Answer = AnswerFull
	case err != nil:
		a.Answer = AnswerFailed
	case receipt.Already:
		a.Answer = AnswerAlready
	}
	return a
}

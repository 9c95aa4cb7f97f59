package streams

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
)

const (
	// RetryStream is the name of the stream that holds the attempts that wait for their time. The log cannot hold them: a
	// stream that refuses new messages when it is full has no schedules.
	RetryStream = "MENU_RETRIES"

	// AllRetries is the filter of everything in [RetryStream].
	AllRetries = retryRoot + ".>"

	retryRoot = "menu.retry"

	// headerSubject keeps the subject that a waiting message has in the log.
	headerSubject = "Kondate-Subject"

	// retryDuplicates is how long a repeated schedule is recognised. It covers the deliveries that come again because their
	// process died between the schedule and its acknowledgement.
	retryDuplicates = 10 * time.Minute
)

func (t Topology) ensureRetryStream(ctx context.Context, js jetstream.JetStream) error {
	// A message is in it until it is acknowledged: first as a schedule, then as a message that is due.
	want := jetstream.StreamConfig{
		Name: RetryStream, Description: "attempts of the stages that wait for their time", Subjects: []string{AllRetries},
		Storage: jetstream.FileStorage, Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardOld,
		AllowMsgSchedules: true, AllowRollup: true, AllowDirect: true, Duplicates: retryDuplicates,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1, Replicas: t.Replicas,
	}
	stream, err := js.Stream(ctx, RetryStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err = createStream(ctx, js, want); err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("make stream %s with %d replicas: %w", RetryStream, want.Replicas, err)
		}
		stream, err = js.Stream(ctx, RetryStream) // another process was quicker
	}
	if err != nil {
		return fmt.Errorf("look for stream %s: %w", RetryStream, err)
	}
	have := stream.CachedInfo().Config
	if err := compatible("stream "+RetryStream, retryAdvice, []setting{
		{"subjects", have.Subjects, want.Subjects},
		{"storage", have.Storage, want.Storage},
		{"retention", have.Retention, want.Retention},
		{"allow_msg_schedules", have.AllowMsgSchedules, want.AllowMsgSchedules},
		// What follows would lose retries without a word.
		{"max_age", have.MaxAge, want.MaxAge},
		{"max_msgs", have.MaxMsgs, want.MaxMsgs},
		{"max_bytes", have.MaxBytes, want.MaxBytes},
		{"max_msgs_per_subject", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject},
		{"sealed", have.Sealed, want.Sealed},
	}); err != nil {
		return err
	}
	if have.Duplicates == want.Duplicates && have.Replicas == want.Replicas {
		return nil
	}
	next := have
	next.Duplicates, next.Replicas = want.Duplicates, want.Replicas
	if _, err := js.UpdateStream(ctx, next); err != nil {
		return fmt.Errorf("change stream %s to %d replicas: %w", RetryStream, next.Replicas, err)
	}
	return nil
}

// RetryConsumer names the durable consumer of a stage's attempts that are due.
func RetryConsumer(stage menu.Stage) string { return "stage-" + stage.String() + "-retry-v1" }

// retryDue is the subject to which a stage's waiting messages move when their time has come.
func retryDue(stage menu.Stage) string { return retryRoot + ".due." + stage.String() }

// retryAt is the subject of one waiting message. A schedule replaces the one on its subject.
func retryAt(stage menu.Stage, id string) string {
	return retryRoot + ".at." + stage.String() + "." + id
}

// Retries is the clock of attempts that have to wait: the broker keeps a message until its time and then hands it to the
// stage's retry consumer. What waits takes up no place in the stage's own consumer and survives every restart.
type Retries struct{ js jetstream.JetStream }

// NewRetries returns the clock over a connection, which stays the caller's.
func NewRetries(js jetstream.JetStream) *Retries { return &Retries{js: js} }

// Schedule delivers a message of the log to the stage's retry consumer at a time, a quarter of a second late at most.
// Scheduling a message again changes nothing. It returns once the broker has stored it.
func (r *Retries) Schedule(ctx context.Context, stage menu.Stage, event *nats.Msg, at time.Time) error {
	id := event.Header.Get(jetstream.MsgIDHeader)
	return r.publish(ctx, retryAt(stage, id), id, event, nats.Header{
		// The client's own option cuts the time to a second, and would fire too early.
		jetstream.ScheduleHeader:       {"@at " + at.UTC().Format(time.RFC3339Nano)},
		jetstream.ScheduleTargetHeader: {retryDue(stage)},
	})
}

// Redeliver hands a message of the log to the stage's retry consumer now, because its schedule was lost. The broker drops
// a repetition that comes within ten minutes.
func (r *Retries) Redeliver(ctx context.Context, stage menu.Stage, event *nats.Msg) error {
	return r.publish(ctx, retryDue(stage), event.Header.Get(jetstream.MsgIDHeader)+".late", event, nil)
}

func (r *Retries) publish(ctx context.Context, subject, id string, event *nats.Msg, more nats.Header) error {
	msg := &nats.Msg{Subject: subject, Header: maps.Clone(event.Header), Data: event.Data}
	maps.Copy(msg.Header, more)
	msg.Header.Set(headerSubject, event.Subject)
	msg.Header.Set(jetstream.MsgIDHeader, id)
	if _, err := r.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("give the retry %s to stream %s: %w", id, RetryStream, err)
	}
	return nil
}

// Idle says that the stage's retry consumer has nothing to do: no message that is due waits or is at work. The broker counts
// a message a moment after it has acknowledged it.
func (r *Retries) Idle(ctx context.Context, stage menu.Stage) (bool, error) {
	consumer, err := r.js.Consumer(ctx, RetryStream, RetryConsumer(stage))
	if err != nil {
		return false, fmt.Errorf("look at consumer %s: %w", RetryConsumer(stage), err)
	}
	info := consumer.CachedInfo()
	return info.NumPending == 0 && info.NumAckPending == 0, nil
}

// LogSubject returns the subject that the message of a delivery has in the log. That of a message that waited in
// [RetryStream] stands in a header; anywhere else such a header means nothing.
func LogSubject(msg jetstream.Msg, meta *jetstream.MsgMetadata) string {
	if meta.Stream == RetryStream {
		return msg.Headers().Get(headerSubject)
	}
	return msg.Subject()
}

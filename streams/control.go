package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
)

const (
	// reportSubject is where every process that runs stages answers with what they do.
	reportSubject = "menu.stages.report"
	// reportWait is how long the first process may take to answer, reportPause how long each further one.
	reportWait  = 2 * time.Second
	reportPause = 200 * time.Millisecond
	// pauseForEver is the length of a pause without an end: the broker needs one.
	pauseForEver = 100 * 365 * 24 * time.Hour
)

// Backlog is what a stage has before it, in all processes together.
type Backlog struct {
	Stage       menu.Stage `json:"stage"`
	Pending     uint64     `json:"pending"`      // messages that nobody has taken yet
	InHand      int        `json:"in_hand"`      // messages that a process has taken and not answered, or handed back for later
	Waiting     uint64     `json:"waiting"`      // failed attempts that wait for their time
	Paused      bool       `json:"paused"`       // by somebody
	PausedUntil time.Time  `json:"paused_until"` // zero: it is not paused, or until somebody resumes it

	Consumers []ConsumerBacklog `json:"-"` // of which the numbers above are the sum
}

// ConsumerBacklog is what one consumer of a stage has before it.
type ConsumerBacklog struct {
	Name        string
	Pending     uint64 // messages that nobody has taken yet
	InHand      int    // messages that were delivered and are not answered
	Redelivered int    // of these, those that were delivered before
	Paused      bool
}

// Backlogs looks at the consumers of all stages, and at the retries that wait.
func Backlogs(ctx context.Context, js jetstream.JetStream) ([]Backlog, error) {
	all, err := ConsumerBacklogs(ctx, js)
	if err != nil {
		return nil, err
	}
	retries, err := js.Stream(ctx, RetryStream)
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", RetryStream, err)
	}
	info, err := retries.Info(ctx, jetstream.WithSubjectFilter(retryRoot+".at.>"))
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", RetryStream, err)
	}
	for i := range all {
		for subject, n := range info.State.Subjects {
			if within(subject, retryAt(all[i].Stage, "")) {
				all[i].Waiting += n
			}
		}
	}
	return all, nil
}

// ConsumerBacklogs is [Backlogs] without the retries that wait: it takes no longer where there are many.
func ConsumerBacklogs(ctx context.Context, js jetstream.JetStream) ([]Backlog, error) {
	all := make([]Backlog, menu.StageCount)
	g, ctx := errgroup.WithContext(ctx)
	for i, stage := range menu.Stages() {
		g.Go(func() error {
			var err error
			all[i], err = stageConsumers(ctx, js, stage)
			return err
		})
	}
	return all, g.Wait()
}

// stageConsumers looks at the consumers of a stage.
func stageConsumers(ctx context.Context, js jetstream.JetStream, stage menu.Stage) (Backlog, error) {
	b := Backlog{Stage: stage}
	for _, c := range consumers(stage) {
		consumer, err := js.Consumer(ctx, c.stream, c.name)
		if err != nil {
			return b, fmt.Errorf("look at consumer %s: %w", c.name, err)
		}
		info := consumer.CachedInfo()
		b.Pending += info.NumPending
		b.InHand += info.NumAckPending
		b.Consumers = append(b.Consumers, ConsumerBacklog{c.name, info.NumPending, info.NumAckPending, info.NumRedelivered, info.Paused})
		if info.Paused {
			b.Paused = true
			if until := info.Config.PauseUntil; until != nil && time.Until(*until) < pauseForEver/2 {
				b.PausedUntil = *until
			}
		}
	}
	return b, nil
}

func within(subject, prefix string) bool {
	return len(subject) > len(prefix) && subject[:len(prefix)] == prefix
}

// PauseStage stops the deliveries of a stage, in all processes, for a time or (0) until [ResumeStage]. What is in hand is
// finished. A pause outlives restarts.
func PauseStage(ctx context.Context, js jetstream.JetStream, stage menu.Stage, length time.Duration) error {
	if length == 0 {
		length = pauseForEver
	}
	for _, c := range consumers(stage) {
		if _, err := js.PauseConsumer(ctx, c.stream, c.name, time.Now().Add(length)); err != nil {
			return fmt.Errorf("pause consumer %s: %w", c.name, err)
		}
	}
	return nil
}

// ResumeStage lets a stage's deliveries come again.
func ResumeStage(ctx context.Context, js jetstream.JetStream, stage menu.Stage) error {
	for _, c := range consumers(stage) {
		if _, err := js.ResumeConsumer(ctx, c.stream, c.name); err != nil {
			return fmt.Errorf("resume consumer %s: %w", c.name, err)
		}
	}
	return nil
}

// AnswerReports lets this process say what its stages do to whoever asks with [AskReports], until stop is called.
func AnswerReports(nc *nats.Conn, report func() any) (stop func() error, err error) {
	sub, err := nc.Subscribe(reportSubject, func(msg *nats.Msg) {
		if body, err := json.Marshal(report()); err == nil {
			_ = msg.Respond(body) // who asked asks again
		}
	})
	if err != nil {
		return nil, fmt.Errorf("answer on %s: %w", reportSubject, err)
	}
	return sub.Unsubscribe, nil
}

// AskReports collects what the processes that run stages say; none if none runs.
func AskReports(ctx context.Context, nc *nats.Conn) ([]json.RawMessage, error) {
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("ask on %s: %w", reportSubject, err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // a closed connection has no subscriptions
	if err := nc.PublishRequest(reportSubject, inbox, nil); err != nil {
		return nil, fmt.Errorf("ask on %s: %w", reportSubject, err)
	}
	var reports []json.RawMessage
	for wait := reportWait; ; wait = reportPause {
		next, cancel := context.WithTimeout(ctx, wait)
		msg, err := sub.NextMsgWithContext(next)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrNoResponders):
			return reports, nil
		case err != nil:
			return nil, fmt.Errorf("ask on %s: %w", reportSubject, err)
		}
		reports = append(reports, msg.Data)
	}
}

package streams

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
)

// maxAckPending bounds the deliveries of one stage that are under way in all processes together.
const maxAckPending = 256

// StageConsumer names the durable consumer of the menus that a stage works on. A change of its meaning needs a new name.
func StageConsumer(stage menu.Stage) string { return "stage-" + stage.String() + "-v1" }

// RequestConsumer names the durable consumer of the retries that somebody asks a stage for. Both could be one consumer of
// two filters; but at the end of each block of the log the broker holds more than one filter against every subject that the
// log has, with the stream locked.
func RequestConsumer(stage menu.Stage) string { return "stage-" + stage.String() + "-request-v1" }

// ImageConsumer names the durable consumer of the requests for pictures.
const ImageConsumer = "image-v1"

// imageConsumer is the consumer of that name.
func imageConsumer() stageConsumer {
	return stageConsumer{ImageConsumer, EventStream, "requests for pictures of dishes", []string{TypeFilter(menu.ImageRequested{}.Type())}}
}

// stageConsumer is a durable consumer of a stage.
type stageConsumer struct {
	name, stream, description string
	filters                   []string
}

// consumers returns a stage's three: of menus, of retries that are asked for, and of its attempts that have waited.
func consumers(stage menu.Stage) []stageConsumer {
	return []stageConsumer{
		{StageConsumer(stage), EventStream, "work of the stage " + stage.String(), []string{TypeFilter(menu.Submitted{}.Type())}},
		{
			RequestConsumer(stage), EventStream, "retries that the stage " + stage.String() + " is asked for",
			[]string{TypeFilter(menu.StageRetryRequested{Stage: stage}.Type())},
		},
		{RetryConsumer(stage), RetryStream, "retries of the stage " + stage.String() + " that are due", []string{retryDue(stage)}},
	}
}

func (t Topology) ensureConsumer(ctx context.Context, js jetstream.JetStream, c stageConsumer) error {
	name := c.name
	want := jetstream.ConsumerConfig{
		Durable: name, Name: name, Description: c.description, FilterSubjects: c.filters,
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: t.AckWait, MaxAckPending: maxAckPending, MaxDeliver: -1,
	}
	consumer, err := js.Consumer(ctx, c.stream, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		if _, err = js.CreateConsumer(ctx, c.stream, want); err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrConsumerExists) {
			return fmt.Errorf("make consumer %s: %w", name, err)
		}
		consumer, err = js.Consumer(ctx, c.stream, name) // another process was quicker, with another ack_wait
	}
	// A push consumer of that name is a difference like any other, but the client has an error of its own for it.
	if errors.Is(err, jetstream.ErrNotPullConsumer) {
		return &IncompatibleError{What: "consumer " + name, Field: "deliver_subject", Have: "set (push)", Want: "", advice: consumerAdvice}
	}
	if err != nil {
		return fmt.Errorf("look for consumer %s: %w", name, err)
	}
	have := consumer.CachedInfo().Config
	if len(have.FilterSubjects) == 0 && have.FilterSubject != "" { // how the broker keeps a single one
		have.FilterSubjects, have.FilterSubject = []string{have.FilterSubject}, ""
	}
	// One that gets more than it wants keeps its place when it gets less; another consumer gets the rest.
	filters := have.FilterSubjects
	if !slices.ContainsFunc(want.FilterSubjects, func(f string) bool { return !slices.Contains(have.FilterSubjects, f) }) {
		filters = want.FilterSubjects
	}
	if err := compatible("consumer "+name, consumerAdvice, []setting{
		{"filter_subjects", sorted(filters), sorted(want.FilterSubjects)},
		{"ack_policy", have.AckPolicy, want.AckPolicy},
		{"deliver_policy", have.DeliverPolicy, want.DeliverPolicy},
		{"replay_policy", have.ReplayPolicy, want.ReplayPolicy},
		{"headers_only", have.HeadersOnly, want.HeadersOnly},
		// What follows would lose deliveries without a word.
		{"max_deliver", have.MaxDeliver, want.MaxDeliver},
		{"inactive_threshold", have.InactiveThreshold, want.InactiveThreshold},
		{"mem_storage", have.MemoryStorage, want.MemoryStorage},
		// A back-off replaces ack_wait.
		{"backoff", have.BackOff, want.BackOff},
	}); err != nil {
		return err
	}
	if have.AckWait == want.AckWait && have.MaxAckPending == want.MaxAckPending && len(have.FilterSubjects) == len(filters) {
		return nil
	}
	next := have
	next.AckWait, next.MaxAckPending, next.FilterSubjects = want.AckWait, want.MaxAckPending, filters
	if _, err := js.UpdateConsumer(ctx, c.stream, next); err != nil {
		return fmt.Errorf("change consumer %s: %w", name, err)
	}
	return nil
}

func sorted(subjects []string) string {
	return strings.Join(slices.Sorted(slices.Values(subjects)), " ")
}

// Busy reports whether an error of the broker is one of the moment: it is away, has too much to do, or chooses a leader.
func Busy(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.Code == http.StatusServiceUnavailable // whose meaning the broker's codes have
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders)
}

// OpenConsumer returns one of the consumers by its name, see [StageConsumer], [RequestConsumer], [RetryConsumer]
// and [ImageConsumer].
func OpenConsumer(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Consumer, error) {
	if name == ImageConsumer {
		return js.Consumer(ctx, EventStream, name)
	}
	for _, stage := range menu.Stages() {
		for _, c := range consumers(stage) {
			if c.name == name {
				return js.Consumer(ctx, c.stream, name)
			}
		}
	}
	return nil, fmt.Errorf("open consumer %q: %w", name, jetstream.ErrConsumerNotFound)
}

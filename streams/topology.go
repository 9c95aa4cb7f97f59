package streams

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
)

const (
	// maxConsumers is the consumer limit of the log: eight stages, a tail for each process, and other teams.
	maxConsumers = 1000
	// duplicates is how long the broker remembers event ids.
	duplicates = 2 * time.Minute
	// maxAckPending bounds the deliveries of one stage that are under way in all processes together.
	maxAckPending = 256
)

// Topology holds the settings of the streams and consumers.
type Topology struct {
	Replicas int           // copies of the log
	MaxBytes int64         // size of the log at most; 0: 80 % of the free disk of StoreDir when the stream is made
	StoreDir string        // folder whose disk counts for MaxBytes; needed only if that is 0
	AckWait  time.Duration // silence of a stage after which its delivery goes to another process
}

// StageConsumer names the durable consumer of a stage. A change of its filter or meaning needs a new name.
func StageConsumer(stage menu.Stage) string { return "stage-" + stage.String() + "-v1" }

// IncompatibleError says how an existing stream or consumer differs from the one that is needed.
type IncompatibleError struct {
	What  string // "stream MENU_EVENTS"
	Field string
	Have  string
	Want  string
}

// Error names the difference and the way out.
func (e *IncompatibleError) Error() string {
	return fmt.Sprintf("%s exists with %s %s, needed is %s: this program does not change that; rename or remove the existing one (its events are the only history), or point nats.url at another account",
		e.What, e.Field, e.Have, e.Want)
}

// Ensure makes the stream of the log and the eight stages' consumers where they are missing, and applies the settings
// that may change (limits, replicas, waits). It is safe at every start; an existing stream or consumer that means
// something else is refused with an [*IncompatibleError].
func Ensure(ctx context.Context, js jetstream.JetStream, t Topology) error {
	if limit := js.Conn().MaxPayload(); limit < MinPayload {
		return fmt.Errorf("the broker takes messages of %d bytes at most, the log needs %d: set max_payload to 2MB or more", limit, MinPayload)
	}
	if err := t.ensureStream(ctx, js); err != nil {
		return err
	}
	for _, stage := range menu.Stages() {
		if err := t.ensureConsumer(ctx, js, stage); err != nil {
			return err
		}
	}
	return nil
}

func (t Topology) ensureStream(ctx context.Context, js jetstream.JetStream) error {
	want := jetstream.StreamConfig{
		Name: EventStream, Description: "the history of every menu", Subjects: []string{AllEvents},
		Storage: jetstream.FileStorage, Compression: jetstream.S2Compression, Retention: jetstream.LimitsPolicy,
		Discard: jetstream.DiscardNew, MaxBytes: t.MaxBytes, MaxConsumers: maxConsumers, Duplicates: duplicates,
		AllowDirect: true, AllowAtomicPublish: true, Replicas: t.Replicas,
	}
	stream, err := js.Stream(ctx, EventStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if want.MaxBytes == 0 {
			if want.MaxBytes, err = freeShare(t.StoreDir); err != nil {
				return err
			}
		}
		if _, err = js.CreateStream(ctx, want); err != nil {
			return fmt.Errorf("make stream %s: %w", EventStream, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for stream %s: %w", EventStream, err)
	}
	have := stream.CachedInfo().Config
	for _, d := range []struct{ field, have, want string }{
		{"subjects", strings.Join(have.Subjects, " "), AllEvents},
		{"storage", have.Storage.String(), want.Storage.String()},
		{"retention", have.Retention.String(), want.Retention.String()},
		{"discard", have.Discard.String(), want.Discard.String()},
		{"max_age", have.MaxAge.String(), want.MaxAge.String()},
		{"max_msgs", strconv.FormatInt(have.MaxMsgs, 10), "-1"},
		{"max_msgs_per_subject", strconv.FormatInt(have.MaxMsgsPerSubject, 10), "-1"},
	} {
		if d.have != d.want {
			return &IncompatibleError{What: "stream " + EventStream, Field: d.field, Have: d.have, Want: d.want}
		}
	}
	next := have
	next.AllowDirect, next.AllowAtomicPublish = true, true
	next.Compression, next.Duplicates, next.MaxConsumers = want.Compression, want.Duplicates, want.MaxConsumers
	next.Replicas = want.Replicas
	if t.MaxBytes > 0 {
		next.MaxBytes = t.MaxBytes
	}
	if sameStream(have, next) {
		return nil
	}
	if _, err := js.UpdateStream(ctx, next); err != nil {
		return fmt.Errorf("change stream %s: %w", EventStream, err)
	}
	return nil
}

// sameStream compares what ensureStream may change.
func sameStream(a, b jetstream.StreamConfig) bool {
	return a.AllowDirect == b.AllowDirect && a.AllowAtomicPublish == b.AllowAtomicPublish && a.Compression == b.Compression &&
		a.Duplicates == b.Duplicates && a.MaxConsumers == b.MaxConsumers && a.Replicas == b.Replicas && a.MaxBytes == b.MaxBytes
}

func (t Topology) ensureConsumer(ctx context.Context, js jetstream.JetStream, stage menu.Stage) error {
	name := StageConsumer(stage)
	want := jetstream.ConsumerConfig{
		Durable: name, Name: name, Description: "work of the stage " + stage.String(),
		FilterSubjects: []string{TypeFilter(menu.Submitted{}.Type()), TypeFilter(menu.StageRetryRequested{Stage: stage}.Type())},
		DeliverPolicy:  jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: t.AckWait, MaxAckPending: maxAckPending, MaxDeliver: -1,
	}
	consumer, err := js.Consumer(ctx, EventStream, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		if _, err = js.CreateConsumer(ctx, EventStream, want); err != nil {
			return fmt.Errorf("make consumer %s: %w", name, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for consumer %s: %w", name, err)
	}
	have := consumer.CachedInfo().Config
	for _, d := range []struct{ field, have, want string }{
		{"filter_subjects", sorted(have.FilterSubjects), sorted(want.FilterSubjects)},
		{"ack_policy", have.AckPolicy.String(), want.AckPolicy.String()},
		{"deliver_policy", have.DeliverPolicy.String(), want.DeliverPolicy.String()},
		{"inactive_threshold", have.InactiveThreshold.String(), want.InactiveThreshold.String()},
	} {
		if d.have != d.want {
			return &IncompatibleError{What: "consumer " + name, Field: d.field, Have: d.have, Want: d.want}
		}
	}
	if have.AckWait == want.AckWait && have.MaxAckPending == want.MaxAckPending {
		return nil
	}
	next := have
	next.AckWait, next.MaxAckPending = want.AckWait, want.MaxAckPending
	if _, err := js.UpdateConsumer(ctx, EventStream, next); err != nil {
		return fmt.Errorf("change consumer %s: %w", name, err)
	}
	return nil
}

func sorted(subjects []string) string {
	return strings.Join(slices.Sorted(slices.Values(subjects)), " ")
}

// freeShare returns 80 % of the free disk under a folder.
func freeShare(dir string) (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("read the free disk of %q (set nats.max_bytes to do without): %w", dir, err)
	}
	return int64(fs.Bavail) * fs.Bsize / 5 * 4, nil //nolint:gosec // no disk has 2^63 blocks
}

// Identity is the stream's identity: it changes when the stream is made anew, and sequences mean something only
// within one. It is short and safe in a URL.
func Identity(ctx context.Context, js jetstream.StreamManager) (string, error) {
	stream, err := js.Stream(ctx, EventStream)
	if err != nil {
		return "", fmt.Errorf("read the identity of stream %s: %w", EventStream, err)
	}
	return identity(stream.CachedInfo().Created), nil
}

func identity(created time.Time) string {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %d", EventStream, created.UnixNano()) //nolint:errcheck // a hash takes everything
	return strconv.FormatUint(h.Sum64(), 36)
}

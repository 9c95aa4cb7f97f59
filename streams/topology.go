package streams

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
)

const (
	// maxConsumers is the consumer limit of the log: eight stages, a tail for each process, and other teams.
	maxConsumers = 1000
	// duplicates is how long the broker remembers event ids.
	duplicates = 2 * time.Minute
)

// Topology holds the settings of the streams and consumers.
type Topology struct {
	Replicas int           // copies of the log
	MaxBytes int64         // size of the log at most; 0: 80 % of the free disk of StoreDir when the stream is made
	StoreDir string        // folder whose disk counts for MaxBytes; needed only if that is 0
	AckWait  time.Duration // silence of a stage after which its delivery goes to another process
}

// IncompatibleError says how an existing stream or consumer differs from the one that is needed.
type IncompatibleError struct {
	What   string // "stream MENU_EVENTS"
	Field  string // as the broker's configuration calls it
	Have   string
	Want   string
	advice string
}

// Error names the difference and the way out.
func (e *IncompatibleError) Error() string {
	return fmt.Sprintf("%s exists with %s %q, needed is %q: %s", e.What, e.Field, e.Have, e.Want, e.advice)
}

const (
	streamAdvice   = "its events may be the only history, so nothing is changed: change it by hand if the broker can, or back it up and remove it, or point nats.url at another account"
	retryAdvice    = "remove it: at the next start it is made anew, and what waited in it is found again"
	consumerAdvice = "remove it, and at the next start the stage reads the log anew and works on what is unanswered"
)

// setting is one field of a configuration that has to be as it is.
type setting struct {
	field      string
	have, want any
}

// compatible returns an [*IncompatibleError] for the first setting that differs.
func compatible(what, advice string, settings []setting) error {
	for _, s := range settings {
		if have, want := fmt.Sprint(s.have), fmt.Sprint(s.want); have != want {
			return &IncompatibleError{What: what, Field: s.field, Have: have, Want: want, advice: advice}
		}
	}
	return nil
}

// Ensure makes the stream of the log, the one of waiting retries, the store of pictures and the consumers where they are missing, and
// applies the settings that may change (limits, replicas, waits). It is safe at every start, also of several processes at once; an existing
// stream or consumer that means something else is refused with an [*IncompatibleError]. It waits a while for a cluster that
// has just been started: until a stream has a leader, nobody answers for it.
func Ensure(ctx context.Context, js jetstream.JetStream, t Topology) error {
	for late := time.Now().Add(leaderPatience); ; {
		err := t.ensure(ctx, js)
		if err == nil || !leaderless(err) || time.Now().After(late) {
			return err
		}
		select {
		case <-time.After(leaderPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

const (
	// leaderPatience is how long a cluster may take to agree on its leaders, leaderPause how long we wait to ask again.
	leaderPatience = 30 * time.Second
	leaderPause    = 250 * time.Millisecond
	// codeNoLeader is the broker's answer while its servers do not know who leads them.
	codeNoLeader jetstream.ErrorCode = 10008
)

// leaderless says whether an error may come from a cluster that has no leader yet.
func leaderless(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == codeNoLeader || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
}

func (t Topology) ensure(ctx context.Context, js jetstream.JetStream) error {
	if t.AckWait <= 0 {
		return fmt.Errorf("an ack wait of %s: it must be positive", t.AckWait)
	}
	if err := EnsureStream(ctx, js, t); err != nil {
		return err
	}
	if err := t.ensureRetryStream(ctx, js); err != nil {
		return err
	}
	if err := t.ensureImages(ctx, js); err != nil {
		return err
	}
	if err := t.ensureConsumer(ctx, js, imageConsumer()); err != nil {
		return err
	}
	for _, stage := range menu.Stages() {
		for _, c := range consumers(stage) {
			if err := t.ensureConsumer(ctx, js, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// EnsureStream is [Ensure] for the log alone, for programs that only read or fill the log.
func EnsureStream(ctx context.Context, js jetstream.JetStream, t Topology) error {
	if t.Replicas < 1 || t.MaxBytes < 0 {
		return fmt.Errorf("topology of %d replicas and %d bytes: replicas must be positive, bytes not negative", t.Replicas, t.MaxBytes)
	}
	if limit := js.Conn().MaxPayload(); limit < MinPayload {
		return fmt.Errorf("the broker takes messages of %d bytes at most, the log needs %d: set max_payload to 2MB or more", limit, MinPayload)
	}
	return t.ensureStream(ctx, js)
}

func (t Topology) ensureStream(ctx context.Context, js jetstream.JetStream) error {
	want := jetstream.StreamConfig{
		Name: EventStream, Description: "the history of every menu", Subjects: []string{AllEvents},
		Storage: jetstream.FileStorage, Compression: t.compression(), Retention: jetstream.LimitsPolicy,
		Discard: jetstream.DiscardNew, MaxBytes: t.MaxBytes, MaxConsumers: maxConsumers, Duplicates: duplicates,
		MaxMsgs: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
		AllowDirect: true, AllowAtomicPublish: true, Replicas: t.Replicas,
	}
	stream, err := js.Stream(ctx, EventStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if want.MaxBytes == 0 {
			if want.MaxBytes, err = freeShare(t.StoreDir); err != nil {
				return err
			}
		}
		if err = createStream(ctx, js, want); err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("make stream %s with %d replicas and %d bytes: %w", EventStream, want.Replicas, want.MaxBytes, err)
		}
		stream, err = js.Stream(ctx, EventStream) // another process was quicker, with another max_bytes
	}
	if err != nil {
		return fmt.Errorf("look for stream %s: %w", EventStream, err)
	}
	have := stream.CachedInfo().Config
	if err := compatible("stream "+EventStream, streamAdvice, []setting{
		{"subjects", have.Subjects, want.Subjects},
		{"storage", have.Storage, want.Storage},
		{"retention", have.Retention, want.Retention},
		// What follows would lose history or bend it, without a word.
		{"discard", have.Discard, want.Discard},
		{"max_age", have.MaxAge, want.MaxAge},
		{"max_msgs", have.MaxMsgs, want.MaxMsgs},
		{"max_msgs_per_subject", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject},
		{"max_msg_size", have.MaxMsgSize, want.MaxMsgSize},
		{"allow_msg_ttl", have.AllowMsgTTL, want.AllowMsgTTL},
		{"allow_rollup_hdrs", have.AllowRollup, want.AllowRollup},
		{"persist_mode", have.PersistMode, want.PersistMode},
		{"no_ack", have.NoAck, want.NoAck},
		{"mirror", have.Mirror != nil, false},
		{"sources", len(have.Sources) > 0, false},
		{"subject_transform", have.SubjectTransform != nil, false},
		// An erasure deletes.
		{"sealed", have.Sealed, want.Sealed},
		{"deny_delete", have.DenyDelete, want.DenyDelete},
	}); err != nil {
		return err
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
		return fmt.Errorf("change stream %s to %d replicas and %d bytes: %w", EventStream, next.Replicas, next.MaxBytes, err)
	}
	return nil
}

// compression of the log. Blocks of one copy are compressed. A replica that starts again cuts its newest block back to
// its last snapshot, and the broker (2.15.2) damages a compressed one by that: the replica then stands still or loses events
// that were acknowledged, and two such replicas outvote the third.
func (t Topology) compression() jetstream.StoreCompression {
	if t.Replicas > 1 {
		return jetstream.NoCompression
	}
	return jetstream.S2Compression
}

// sameStream compares what ensureStream may change.
func sameStream(a, b jetstream.StreamConfig) bool {
	return a.AllowDirect == b.AllowDirect && a.AllowAtomicPublish == b.AllowAtomicPublish && a.Compression == b.Compression &&
		a.Duplicates == b.Duplicates && a.MaxConsumers == b.MaxConsumers && a.Replicas == b.Replicas && a.MaxBytes == b.MaxBytes
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
	_, _ = fmt.Fprintf(h, "%s %d", EventStream, created.UnixNano())
	return strconv.FormatUint(h.Sum64(), 36)
}

const (
	// codeStoreBusy is the broker's answer while it still clears the files of a stream of that name that was deleted.
	codeStoreBusy jetstream.ErrorCode = 10049
	// codeStoreFull is the broker's answer when a stream may become larger than what the broker has left.
	codeStoreFull jetstream.ErrorCode = 10047
	// storeTries and storePause bound the wait for that.
	storeTries = 40
	storePause = 25 * time.Millisecond
)

// createStream makes a stream, and waits a second for the files of a deleted one to go.
func createStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) error {
	for try := 1; ; try++ {
		_, err := js.CreateStream(ctx, cfg)
		api, ok := errors.AsType[*jetstream.APIError](err)
		if ok && api.ErrorCode == codeStoreFull {
			return fmt.Errorf("the broker has no room for %d copies of %d bytes: lower nats.max_bytes, or raise max_file_store of the broker: %w", cfg.Replicas, cfg.MaxBytes, err)
		}
		if !ok || api.ErrorCode != codeStoreBusy || try == storeTries {
			return err
		}
		select {
		case <-time.After(storePause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

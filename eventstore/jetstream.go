package eventstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"kondate/domain/menu"
	"kondate/eventstore/trail"
	"kondate/streams"
)

// Config holds the settings of a JetStream store.
type Config struct {
	MaxEventSize int          // bytes of an event's body at most; 0: the broker's payload limit decides
	Logger       *slog.Logger // required

	// Reads is where loads and followers pull from; nil: the connection of the appends. The broker works off one
	// connection's requests in turn, so that an append waits behind megabytes of history that are read beside it.
	Reads jetstream.JetStream

	// Tracer makes a span of each append; nil: none.
	Tracer trace.Tracer

	// Appended is told of every append that had something to send, when its answer is there; nil: nobody is.
	Appended func(Appended)
}

// appendsUnderWay bounds the appends that one store has sent and that the broker has not answered. The broker fsyncs
// one after the other: a longer queue would not go quicker, and its end would see time-outs.
const appendsUnderWay = 64

// JetStream is the log on a JetStream stream. It is safe for concurrent use.
type JetStream struct {
	js    jetstream.JetStream
	reads jetstream.JetStream
	cfg   Config
	turns chan struct{} // one for each append under way
}

// NewJetStream returns a store over the stream that [streams.Ensure] made. The connection stays the caller's.
func NewJetStream(js jetstream.JetStream, cfg Config) *JetStream {
	s := &JetStream{js: js, reads: cfg.Reads, cfg: cfg, turns: make(chan struct{}, appendsUnderWay)}
	if s.reads == nil {
		s.reads = js
	}
	return s
}

// Append records events of one session's stage or image lane, together or not at all. It carries no guard: the broker
// drops an event that it has, the fold drops a second answer. Several events go as one atomic batch. An event that was
// recorded and erased since may count as in the log for two minutes.
//
// An error other than those of this package says that the broker did not answer, twice: the same append, tried again, has
// the answer.
func (s *JetStream) Append(ctx context.Context, key menu.Key, events ...Proposed) (Receipt, error) {
	return s.append(ctx, key, nil, events)
}

// AppendMenu records events of one session's menu lane, together or not at all, if the lane's last event is still at
// expected (0: the session has none). Otherwise it returns a [*ConflictError], unless the events are in the log already.
func (s *JetStream) AppendMenu(ctx context.Context, key menu.Key, expected uint64, events ...Proposed) (Receipt, error) {
	return s.append(ctx, key, &expected, events)
}

// append makes a span that the events name as what caused them.
func (s *JetStream) append(ctx context.Context, key menu.Key, expected *uint64, events []Proposed) (Receipt, error) {
	if len(events) == 0 {
		return Receipt{}, nil
	}
	ctx, span := trail.Start(ctx, s.cfg.Tracer, trace.SpanKindProducer, "append", string(events[0].Event.Type()), key)
	defer span.End()
	receipt, err := s.record(ctx, key, expected, events)
	if !span.IsRecording() {
		return receipt, err
	}
	span.SetAttributes(attribute.Int(trail.AttributeEvents, len(events)))
	switch {
	case errors.Is(err, ErrConflict):
		trail.Fail(span, "conflict")
	case err != nil:
		trail.Fail(span, "not in the log")
	default:
		span.SetAttributes(attribute.Int64(trail.AttributeSeq, int64(receipt.Seq)), attribute.Bool("kondate.already", receipt.Already)) //nolint:gosec // a sequence is far below the limit
	}
	return receipt, err
}

// record encodes the events, sends them, and tells whoever counts appends how that went.
func (s *JetStream) record(ctx context.Context, key menu.Key, expected *uint64, events []Proposed) (Receipt, error) {
	msgs, ids, err := encodeAll(ctx, key, expected != nil, s.cfg.MaxEventSize, events)
	if err != nil {
		return Receipt{}, err
	}
	if expected != nil {
		msgs[0].Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(*expected, 10))
		msgs[0].Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, streams.LaneFilter(key, menu.LaneMenu))
	}
	began := time.Now()
	receipt, readBack, err := s.send(ctx, key, expected, events[0].Event.Type().Lane(), msgs, ids)
	if s.cfg.Appended != nil {
		s.cfg.Appended(newAppended(msgs, receipt, err, readBack, time.Since(began)))
	}
	return receipt, err
}

// send takes its turn, publishes the messages, and finds out how that ended; readBack says that it had to look in the log.
func (s *JetStream) send(ctx context.Context, key menu.Key, expected *uint64, lane menu.Lane, msgs []*nats.Msg, ids []string) (receipt Receipt, readBack bool, err error) {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return Receipt{}, false, fmt.Errorf("append to session %s: %w", key, context.Cause(ctx))
	}
	if ctx.Err() != nil { // nothing was sent: the only end of a context whose outcome is known
		return Receipt{}, false, fmt.Errorf("append to session %s: %w", key, context.Cause(ctx))
	}
	receipt = Receipt{IDs: ids}
	// A broker that went away with the message in its hands never answers: its caller's time is not all spent on it.
	first, cancel := context.WithTimeout(ctx, settleTimeout)
	receipt.Seq, receipt.Already, err = s.publish(first, msgs)
	cancel()
	if err != nil && unanswered(err) {
		// Sending once more is the way to find out: the broker knows the ids of the last two minutes, and a guard lets only
		// one of the two in.
		again, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
		defer cancel()
		receipt.Seq, receipt.Already, err = s.publish(again, msgs)
	}
	if err == nil {
		return receipt, false, nil
	}
	if full := s.full(ctx, err); full != nil {
		return Receipt{}, false, full
	}
	if !ambiguous(err) {
		return Receipt{}, false, fmt.Errorf("append to session %s: %w", key, err)
	}
	receipt, err = s.settle(ctx, key, expected, lane, receipt, err)
	return receipt, true, err
}

// encodeAll checks that the events belong together and encodes them. What caused them is the span that ctx is in.
func encodeAll(ctx context.Context, key menu.Key, guarded bool, limit int, events []Proposed) ([]*nats.Msg, []string, error) {
	msgs, ids := make([]*nats.Msg, len(events)), make([]string, len(events))
	correlation, parent := "", trail.TraceParent(ctx)
	for i, p := range events {
		p.TraceParent = cmp.Or(parent, p.TraceParent)
		if lane := p.Event.Type().Lane(); guarded != (lane == menu.LaneMenu) {
			return nil, nil, fmt.Errorf("append to session %s: events of lane %s go through the other append", key, lane)
		}
		if p.Correlation == "" {
			p.Correlation = correlation // chunks of a submission share the first one's id
		}
		msg, err := Encode(key, p)
		if err != nil {
			return nil, nil, err
		}
		if limit > 0 && len(msg.Data) > limit {
			return nil, nil, fmt.Errorf("%s of session %s has %d bytes, the limit is %d: %w", p.Event.Type(), key, len(msg.Data), limit, ErrTooLarge)
		}
		msgs[i], ids[i] = msg, msg.Header.Get(HeaderID)
		correlation = msg.Header.Get(HeaderCorrelation)
	}
	return msgs, ids, nil
}

func (s *JetStream) publish(ctx context.Context, msgs []*nats.Msg) (seq uint64, already bool, err error) {
	if len(msgs) == 1 {
		ack, err := s.js.PublishMsg(ctx, msgs[0])
		if err != nil {
			return 0, false, err
		}
		return ack.Sequence, ack.Duplicate, nil
	}
	ack, err := jetstreamext.PublishMsgBatch(ctx, s.js, msgs)
	if err != nil {
		return 0, false, err
	}
	return ack.Sequence, false, nil
}

// Codes of the broker's answers that do not say whether our events are in the log.
const (
	codeWrongLastSequence jetstream.ErrorCode = 10071
	codeLastSequenceBusy  jetstream.ErrorCode = 10164 // replicated streams: a competing append is in flight
	codeBatchDuplicate    jetstream.ErrorCode = 10201 // an id of the batch is known
	codeStoreFailed       jetstream.ErrorCode = 10077
)

// ambiguous says whether the events may be in the log in spite of the error: after a lost ack the broker reports a
// retried append as a conflict, and a time-out reports nothing at all.
func ambiguous(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch api.ErrorCode {
		case codeWrongLastSequence, codeLastSequenceBusy, codeBatchDuplicate:
			return true
		}
		return false
	}
	return unanswered(err)
}

// unanswered says whether the broker said nothing at all.
func unanswered(err error) bool {
	return errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrDisconnected)
}

// settleTimeout bounds the wait for the broker's answer to an append, and the read that finds out how one ended that has none.
const settleTimeout = 5 * time.Second

// settle reads the lane back from the leader and looks for our ids: there they are (already committed), somebody
// else's events are there instead (conflict), or nothing is known and the error stands. It goes on when the caller's
// context has ended, which may be why the outcome is not known.
func (s *JetStream) settle(ctx context.Context, key menu.Key, expected *uint64, lane menu.Lane, receipt Receipt, cause error) (Receipt, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	after := uint64(0)
	if expected != nil {
		after = *expected
	}
	entries, err := s.LoadLane(ctx, key, lane, after)
	if err != nil {
		return Receipt{}, fmt.Errorf("append to session %s: %w (and its outcome could not be read back: %w)", key, cause, err)
	}
	found := make(map[string]uint64, len(entries))
	actual := after
	for _, e := range entries {
		found[e.ID], actual = e.Seq, e.Seq
	}
	missing := 0
	for _, id := range receipt.IDs {
		seq, ok := found[id]
		if !ok {
			missing++
		}
		receipt.Seq = max(receipt.Seq, seq)
	}
	switch {
	case missing == 0:
		receipt.Already = true
		return receipt, nil
	case expected != nil && actual != *expected:
		return Receipt{}, &ConflictError{Key: key, Expected: *expected, Actual: actual}
	}
	return Receipt{}, fmt.Errorf("append to session %s: %w", key, cause)
}

// full tells a stream that has no room from every other failure of the store. The broker has one code for them all.
func (s *JetStream) full(ctx context.Context, err error) error {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok || api.ErrorCode != codeStoreFailed {
		return nil
	}
	stream, err := s.js.Stream(ctx, streams.EventStream)
	if err != nil {
		return nil //nolint:nilerr // the append's own error is the one to report
	}
	info := stream.CachedInfo()
	// A message that does not fit is refused before the limit is reached: anything within one event of it counts.
	if limit := info.Config.MaxBytes; limit > 0 && info.State.Bytes+1<<20 >= uint64(limit) {
		return fmt.Errorf("%w (%d of %d bytes are used)", ErrFull, info.State.Bytes, limit)
	}
	return nil
}

// Last returns the sequence of the log's newest message, 0 if it is empty.
func (s *JetStream) Last(ctx context.Context) (uint64, error) {
	stream, err := s.reads.Stream(ctx, streams.EventStream)
	if err != nil {
		return 0, fmt.Errorf("read the state of stream %s: %w", streams.EventStream, err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}

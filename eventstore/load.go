package eventstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"kondate/domain/menu"
	"kondate/streams"
)

const (
	// loadBatch and loadBytes are how many messages, and about how many bytes, one direct get asks for. What it asks
	// for has to fit what a connection buffers, or the client drops messages.
	loadBatch = 500
	loadBytes = 8 << 20
	// loadTimeout bounds a read whose context has no deadline of its own.
	loadTimeout = 30 * time.Second
)

// Load returns the whole history of a session in order; it is empty for a session that nobody submitted.
func (s *JetStream) Load(ctx context.Context, key menu.Key) ([]Entry, error) {
	return s.load(ctx, streams.SessionFilter(key), 0, 0)
}

// LoadPage returns the first events, at most limit of them, that a session's history holds after a sequence. Fewer
// than limit means that there are no more.
func (s *JetStream) LoadPage(ctx context.Context, key menu.Key, after uint64, limit int) ([]Entry, error) {
	return s.load(ctx, streams.SessionFilter(key), after, limit)
}

// Read returns the first entries, at most limit of them, that the whole log holds after a sequence: none at its end.
// Unlike [JetStream.Follow] it does not wait for more.
func (s *JetStream) Read(ctx context.Context, after uint64, limit int) ([]Entry, error) {
	return s.load(ctx, streams.AllEvents, after, limit)
}

// LoadLane returns what one lane of a session holds after a sequence.
func (s *JetStream) LoadLane(ctx context.Context, key menu.Key, lane menu.Lane, after uint64) ([]Entry, error) {
	return s.load(ctx, streams.LaneFilter(key, lane), after, 0)
}

// load reads up to the sequence that the leader calls the last one, however far behind the answering replica is, or up
// to limit entries (0: no limit).
func (s *JetStream) load(ctx context.Context, filter string, after uint64, limit int) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	last, err := s.lastOf(ctx, filter)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for next := after + 1; next <= last; {
		n, size := len(entries), loadBatch
		if limit > 0 {
			if size = min(size, limit-n); size <= 0 {
				break
			}
		}
		batch, err := jetstreamext.GetBatch(ctx, s.reads, streams.EventStream, size,
			jetstreamext.GetBatchSubject(filter), jetstreamext.GetBatchSeq(next), jetstreamext.GetBatchMaxBytes(loadBytes))
		if err != nil {
			return nil, fmt.Errorf("read %s from %d: %w", filter, next, err)
		}
		for msg, err := range batch {
			if err != nil {
				break // if it is more than this answer that is broken, the leader does not answer either
			}
			if msg.Sequence > last || !follows(msg, entries[n:]) {
				break // enough, or a message before this one was dropped on its way: ask again
			}
			entries = append(entries, decodeRaw(msg))
			next = msg.Sequence + 1
		}
		if len(entries) > n {
			continue
		}
		// A replica that lags, a purge, or a message whose headers pass for the end of the answer: the leader knows.
		e, found, err := s.next(ctx, filter, next)
		if err != nil {
			return nil, fmt.Errorf("read %s from %d: %w", filter, next, err)
		}
		if !found || e.Seq > last {
			break
		}
		entries, next = append(entries, e), e.Seq+1
	}
	return entries, nil
}

// follows says whether the answer to a direct get continues what it brought so far. The broker names the sequence of
// the message that it sent before; a client that is slow to read loses messages without another sign.
func follows(msg *jetstream.RawStreamMsg, got []Entry) bool {
	before := uint64(0)
	if len(got) > 0 {
		before = got[len(got)-1].Seq
	}
	return msg.Header.Get(headerBefore) == strconv.FormatUint(before, 10)
}

// headerBefore is the header by which the broker names the sequence of the message before, 0 for the first one.
const headerBefore = "Nats-Last-Sequence"

// addedHeaders are what the broker adds to the headers of a message in its answer.
var addedHeaders = []string{ //nolint:gochecknoglobals // a constant; Go has no constant slices
	"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", headerBefore, "Nats-Num-Pending",
}

func decodeRaw(msg *jetstream.RawStreamMsg) Entry {
	for _, name := range addedHeaders {
		if values := msg.Header[name]; len(values) > 1 { // what the message itself has of the name comes first
			msg.Header[name] = values[:len(values)-1]
		} else {
			delete(msg.Header, name)
		}
	}
	return Decode(msg.Subject, msg.Sequence, msg.Time, msg.Header, msg.Data)
}

package eventstore

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/streams"
)

const (
	// loadBatch and loadBytes are how many messages, and about how many bytes, one direct get asks for. Nobody appends
	// while the broker answers, and what it asks for has to fit what a connection buffers, or the client drops messages.
	loadBatch = 100
	loadBytes = 8 << 20
	// loadSubjects is how many subjects of a session are read at once.
	loadSubjects = 4
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

// LoadLane returns what one lane of a session holds after a sequence.
func (s *JetStream) LoadLane(ctx context.Context, key menu.Key, lane menu.Lane, after uint64) ([]Entry, error) {
	return s.load(ctx, streams.LaneFilter(key, lane), after, 0)
}

// load reads up to the sequence that the leader calls the last one, or up to limit entries (0: no limit). It reads each
// subject by itself: the broker knows where the first and the last message of a subject lie, but would look for those of a
// filter with wildcards in the whole log behind them, and nobody appends meanwhile.
func (s *JetStream) load(ctx context.Context, filter string, after uint64, limit int) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	last, subjects, err := s.subjects(ctx, filter)
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = math.MaxInt
	}
	var (
		mu      sync.Mutex // guards entries
		entries []Entry
	)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(loadSubjects)
	for subject, held := range subjects {
		g.Go(func() error {
			found, err := s.loadSubject(ctx, subject, after, last, min(held, limit))
			mu.Lock()
			defer mu.Unlock()
			entries = append(entries, found...)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return entries[:min(len(entries), limit)], nil
}

// subjects returns the sequence of the log's last message, and the subjects on a filter that have messages up to there, each
// with how many there are. The leader answers.
func (s *JetStream) subjects(ctx context.Context, filter string) (last uint64, held map[string]int, err error) {
	var answer struct {
		Error *jetstream.APIError `json:"error"`
		State struct {
			Last     uint64         `json:"last_seq"`
			Subjects map[string]int `json:"subjects"`
		} `json:"state"`
	}
	err = s.ask(ctx, "INFO", map[string]string{"subjects_filter": filter}, &answer)
	if err == nil && answer.Error != nil {
		err = fmt.Errorf("the leader refused: %w", answer.Error)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("look for subjects on %s: %w", filter, err)
	}
	return answer.State.Last, answer.State.Subjects, nil
}

// loadSubject returns the first entries on a subject, at most limit of them, after a sequence and up to one that the leader knows,
// however far behind the answering replica is.
func (s *JetStream) loadSubject(ctx context.Context, subject string, after, last uint64, limit int) ([]Entry, error) {
	var entries []Entry
	for next := after + 1; next <= last && len(entries) < limit; {
		if wanted := limit - len(entries); wanted > 1 {
			found, err := s.batch(ctx, subject, next, last, min(wanted, loadBatch))
			if err != nil {
				return nil, err
			}
			if len(found) > 0 {
				entries, next = append(entries, found...), found[len(found)-1].Seq+1
				continue
			}
		}
		// A single one, a replica that lags, a purge, or a message whose headers pass for the end of the answer: the leader knows.
		e, found, err := s.next(ctx, subject, next, Decode)
		if err != nil {
			return nil, fmt.Errorf("read %s from %d: %w", subject, next, err)
		}
		if !found || e.Seq > last {
			break
		}
		entries, next = append(entries, e), e.Seq+1
	}
	return entries, nil
}

// batch returns what one direct get brings of a subject from a sequence on, up to another one. That may be less than there is.
func (s *JetStream) batch(ctx context.Context, subject string, from, last uint64, size int) ([]Entry, error) {
	answer, err := jetstreamext.GetBatch(ctx, s.reads, streams.EventStream, size,
		jetstreamext.GetBatchSubject(subject), jetstreamext.GetBatchSeq(from), jetstreamext.GetBatchMaxBytes(loadBytes))
	if err != nil {
		return nil, fmt.Errorf("read %s from %d: %w", subject, from, err)
	}
	var entries []Entry
	for msg, err := range answer {
		if err != nil {
			break // if it is more than this answer that is broken, the leader does not answer either
		}
		if forged(msg) || msg.Sequence > last || !follows(msg, entries) {
			break // enough, or a message before this one was dropped on its way: ask again
		}
		entries = append(entries, decodeRaw(msg, Decode))
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

// forged says whether a message has headers of its own that the broker adds to an answer, too: only the leader tells them apart.
func forged(msg *jetstream.RawStreamMsg) bool {
	return slices.ContainsFunc(addedHeaders, func(name string) bool { return len(msg.Header[name]) > 1 })
}

// decoder is [Decode] or unopened.
type decoder func(subject string, seq uint64, stored time.Time, header nats.Header, data []byte) Entry

func decodeRaw(msg *jetstream.RawStreamMsg, decode decoder) Entry {
	for _, name := range addedHeaders {
		delete(msg.Header, name)
	}
	return decode(msg.Subject, msg.Sequence, msg.Time, msg.Header, msg.Data)
}

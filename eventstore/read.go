package eventstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"kondate/streams"
)

const (
	// readParts are read at once, one message after the other in each, and readPart is how many sequences one has.
	readParts = 64
	readPart  = 16
	// everything matches all that a stream holds. The broker finds the next message without looking at subjects.
	everything = ">"
)

// Read returns the first entries, at most limit of them, that the whole log holds after a sequence: none at its end.
// Unlike [JetStream.Follow] it does not wait for more.
//
// It asks for each message by itself. When the broker sends several it also counts what is left, over all subjects of a log
// that has gaps, and nobody appends meanwhile; so it does when a consumer is made.
func (s *JetStream) Read(ctx context.Context, after uint64, limit int) ([]Entry, error) {
	return s.read(ctx, after, limit, Decode)
}

// Unopened is the log for those who copy and compare bodies and do not look into them: an entry's Event is nil, and
// Err tells of subject and headers alone. Decoding was two fifths of an archive's processor time.
type Unopened struct{ Log *JetStream }

// Read is [JetStream.Read].
func (u Unopened) Read(ctx context.Context, after uint64, limit int) ([]Entry, error) {
	return u.Log.read(ctx, after, limit, unopened)
}

func (s *JetStream) read(ctx context.Context, after uint64, limit int, decode decoder) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	stream, err := s.reads.Stream(ctx, streams.EventStream)
	if err != nil {
		return nil, fmt.Errorf("read the state of stream %s: %w", streams.EventStream, err)
	}
	state := stream.CachedInfo().State // the leader's
	var entries []Entry
	for next := max(after+1, state.FirstSeq); next <= state.LastSeq && len(entries) < limit; {
		size := min(readParts*readPart, limit-len(entries))
		through := min(state.LastSeq, next+uint64(size)-1) //nolint:gosec // it is positive
		found, err := s.span(ctx, stream, next, through, decode)
		if err != nil {
			return nil, fmt.Errorf("read the log from %d: %w", next, err)
		}
		entries, next = append(entries, found...), through+1
		if len(found) > 0 {
			continue
		}
		e, more, err := s.next(ctx, everything, next, decode) // over the gap
		if err != nil {
			return nil, fmt.Errorf("read the log from %d: %w", next, err)
		}
		if !more {
			break
		}
		next = e.Seq
	}
	return entries, nil
}

// span returns all that the log holds from a sequence to another one.
func (s *JetStream) span(ctx context.Context, stream jetstream.Stream, from, through uint64, decode decoder) ([]Entry, error) {
	parts := make([][]Entry, (through-from)/readPart+1)
	g, ctx := errgroup.WithContext(ctx)
	for i := range parts {
		first := from + uint64(i)*readPart
		g.Go(func() (err error) {
			parts[i], err = s.part(ctx, stream, first, min(through, first+readPart-1), decode)
			return err
		})
	}
	err := g.Wait()
	return slices.Concat(parts...), err
}

// part is span, one message after the other.
func (s *JetStream) part(ctx context.Context, stream jetstream.Stream, from, through uint64, decode decoder) ([]Entry, error) {
	var entries []Entry
	for next := from; next <= through; {
		var e Entry
		msg, err := stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(everything))
		if err == nil && !forged(msg) {
			e = decodeRaw(msg, decode)
		} else { // a replica that lags, or headers that pass for those of the answer: the leader knows
			found := false
			if e, found, err = s.next(ctx, everything, next, decode); err != nil {
				return nil, err
			}
			if !found {
				break
			}
		}
		if e.Seq > through {
			break
		}
		entries, next = append(entries, e), e.Seq+1
	}
	return entries, nil
}

package eventstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
)

// importBatch is how many messages are imported at once: together they cost one fsync.
const importBatch = 250

// Import appends entries of another log as they were recorded there: with their ids, times, headers and bodies, and in
// their order. The log must end at the sequence after, and they get the sequences that follow without a gap. What was
// imported before an error stays; [JetStream.Last] says how far it came.
func (s *JetStream) Import(ctx context.Context, after uint64, entries []Entry) error {
	for batch := range slices.Chunk(entries, importBatch) {
		msgs := make([]*nats.Msg, len(batch))
		for i, e := range batch {
			msgs[i] = importedMsg(e)
		}
		if err := s.importAll(ctx, after, msgs); err != nil {
			return fmt.Errorf("import events after %d: %w", after, err)
		}
		after += uint64(len(msgs))
	}
	return nil
}

// importedMsg leaves out the broker's own headers, which meant that publication and not this one, but not the id; and it
// notes where the event stood before.
func importedMsg(e Entry) *nats.Msg {
	header := nats.Header{}
	for name, values := range e.Header {
		if !IsBrokerHeader(name) {
			header[name] = values
		}
	}
	header[HeaderRestored] = []string{strconv.FormatUint(e.Seq, 10)}
	return &nats.Msg{Subject: streams.EventSubject(e.Key, e.Type), Header: header, Data: e.Data}
}

// IsBrokerHeader says whether a header belongs to the way in which a message came into the log, and not to its event. The
// message's id belongs to the event.
func IsBrokerHeader(name string) bool {
	return name == HeaderRestored || strings.HasPrefix(name, "Nats-") && name != jetstream.MsgIDHeader
}

func (s *JetStream) importAll(ctx context.Context, after uint64, msgs []*nats.Msg) error {
	msgs[0].Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(after, 10))
	seq, already, err := s.publish(ctx, msgs)
	msgs[0].Header.Del(jetstream.ExpectedLastSeqHeader)
	switch api, refused := errors.AsType[*jetstream.APIError](err); {
	case err == nil && !already:
		if want := after + uint64(len(msgs)); seq != want {
			return fmt.Errorf("the last one is event %d, want %d", seq, want)
		}
		return nil
	case err == nil, refused && api.ErrorCode == codeBatchDuplicate:
		return s.importEach(ctx, after, msgs)
	}
	if full := s.full(ctx, err); full != nil {
		return full
	}
	return err
}

// importEach appends messages of which the broker knows an id already: the other log recorded an event twice, longer
// apart than the broker remembers ids. The second one goes without.
func (s *JetStream) importEach(ctx context.Context, after uint64, msgs []*nats.Msg) error {
	for i, msg := range msgs {
		msg.Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(after+uint64(i), 10))
		_, already, err := s.publish(ctx, []*nats.Msg{msg})
		if already {
			msg.Header.Del(jetstream.MsgIDHeader)
			_, _, err = s.publish(ctx, []*nats.Msg{msg})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

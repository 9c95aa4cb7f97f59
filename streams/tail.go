package streams

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
)

// Headers that the broker keeps with the messages of an atomic batch.
const (
	headerBatch       = "Nats-Batch-Id"
	headerBatchSeq    = "Nats-Batch-Sequence"
	headerBatchCommit = "Nats-Batch-Commit"
)

// dropHalfBatch removes the beginning of a batch that stands at the end of the log without its end. A server that is
// killed while it writes a committed batch writes the rest from its staging store at the next start; if that is damaged
// or lost it only complains, and a menu would stand in the log in part. After a kill nobody was told that it is there: the
// acknowledgement comes after the last message. A damaged disk, or a power cut with relaxed sync, may have cut a batch that
// was acknowledged; if the rows know it, the comparison of log and history names it.
func (s *Server) dropHalfBatch(ctx context.Context, log *slog.Logger) (err error) {
	nc, err := s.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	stream, err := js.Stream(ctx, EventStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the end of the log: %w", err)
	}
	last, err := stream.GetLastMsgForSubject(ctx, AllEvents)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the end of the log: %w", err)
	}
	batch := last.Header.Get(headerBatch)
	if batch == "" || last.Header.Get(headerBatchCommit) != "" {
		return nil
	}
	count, err := strconv.ParseUint(last.Header.Get(headerBatchSeq), 10, 64)
	if err != nil || count == 0 || count > last.Sequence {
		return nil // somebody made the header up
	}
	for seq := last.Sequence; seq > last.Sequence-count; seq-- { // the last one first: a crash in between leaves another half
		msg, err := stream.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && msg.Header.Get(headerBatch) != batch {
			break
		}
		if err == nil {
			err = stream.DeleteMsg(ctx, seq)
		}
		if err != nil {
			return fmt.Errorf("remove the half of a batch, event %d on %s: %w", seq, last.Subject, err)
		}
	}
	log.LogAttrs(ctx, slog.LevelWarn, "the log ended with the first part of a batch without its end, it was removed",
		slog.String("subject", last.Subject), slog.Uint64("messages", count), slog.Uint64("last_seq", last.Sequence))
	return nil
}

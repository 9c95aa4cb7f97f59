package eventstore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/streams"
)

// getRequest asks the stream's leader for one message. Slower than a direct get or a pull, and right where they are
// not: no replica that lags answers it, and no header of the message can pass for one of the answer.
type getRequest struct {
	LastFor string `json:"last_by_subj,omitempty"`
	NextFor string `json:"next_by_subj,omitempty"`
	Seq     uint64 `json:"seq,omitempty"` // this one; with NextFor: from here on
}

type getAnswer struct {
	Error   *jetstream.APIError `json:"error"`
	Message *struct {
		Subject string    `json:"subject"`
		Seq     uint64    `json:"seq"`
		Header  []byte    `json:"hdrs"`
		Data    []byte    `json:"data"`
		Time    time.Time `json:"time"`
	} `json:"message"`
}

// get returns the leader's answer; its Message is nil if there is none.
func (s *JetStream) get(ctx context.Context, request getRequest) (getAnswer, error) {
	var answer getAnswer
	if err := s.ask(ctx, "MSG.GET", request, &answer); err != nil {
		return answer, err
	}
	if answer.Error != nil && answer.Error.ErrorCode != jetstream.JSErrCodeMessageNotFound {
		return answer, fmt.Errorf("the leader refused: %w", answer.Error)
	}
	return answer, nil
}

// deleteMessage removes one message, and overwrites it where it lies on the disk if erase is set. One that is gone is none
// to remove.
func (s *JetStream) deleteMessage(ctx context.Context, seq uint64, erase bool) error {
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := s.ask(ctx, "MSG.DELETE", map[string]any{"seq": seq, "no_erase": !erase}, &answer); err != nil {
		return err
	}
	if answer.Error == nil || answer.Error.ErrorCode == codeSequenceNotFound {
		return nil
	}
	if held, err := s.get(ctx, getRequest{Seq: seq}); err == nil && held.Message == nil {
		return nil // the code says only that it failed
	}
	return fmt.Errorf("the leader refused: %w", answer.Error)
}

// codeSequenceNotFound is one of the leader's answers to the deletion of a message that is not there.
const codeSequenceNotFound jetstream.ErrorCode = 10043

// ask sends a request to the leader of the log's stream.
func (s *JetStream) ask(ctx context.Context, operation string, request, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode a request to the leader: %w", err)
	}
	reply, err := s.js.Conn().RequestWithContext(ctx, "$JS.API.STREAM."+operation+"."+streams.EventStream, body)
	if err != nil {
		return fmt.Errorf("ask the leader: %w", err)
	}
	if err := json.Unmarshal(reply.Data, answer); err != nil {
		return fmt.Errorf("read the leader's answer: %w", err)
	}
	return nil
}

// LastOf returns the sequence of a session's newest event, 0 for a session that nobody submitted. The leader answers.
func (s *JetStream) LastOf(ctx context.Context, key menu.Key) (uint64, error) {
	return s.lastOf(ctx, streams.SessionFilter(key))
}

// Newest returns the sequence of the newest event that the log holds, 0 if it holds none. [JetStream.Last] is beyond it
// when events at the end were removed, or lost by a broker that remembers how far it had come. The leader answers.
func (s *JetStream) Newest(ctx context.Context) (uint64, error) {
	return s.lastOf(ctx, streams.AllEvents)
}

// FirstAfter returns the first event after a sequence that the log holds; false if there is none. The leader answers.
func (s *JetStream) FirstAfter(ctx context.Context, seq uint64) (Entry, bool, error) {
	e, found, err := s.next(ctx, streams.AllEvents, seq+1, Decode)
	if err != nil {
		return Entry{}, false, fmt.Errorf("read the first event after %d: %w", seq, err)
	}
	return e, found, nil
}

// lastOf returns the sequence of the last message on a filter, 0 if there is none.
func (s *JetStream) lastOf(ctx context.Context, filter string) (uint64, error) {
	answer, err := s.get(ctx, getRequest{LastFor: filter})
	if err != nil {
		return 0, fmt.Errorf("read the last event on %s: %w", filter, err)
	}
	if answer.Message == nil {
		return 0, nil
	}
	return answer.Message.Seq, nil
}

// next returns the first message on a filter from a sequence on; false if there is none.
func (s *JetStream) next(ctx context.Context, filter string, from uint64, decode decoder) (Entry, bool, error) {
	answer, err := s.get(ctx, getRequest{NextFor: filter, Seq: from})
	if err != nil || answer.Message == nil {
		return Entry{}, false, err
	}
	m := answer.Message
	var header nats.Header
	if len(m.Header) > 0 {
		if header, err = nats.DecodeHeadersMsg(m.Header); err != nil {
			header = nil // the entry is malformed then, and says so
		}
	}
	return decode(m.Subject, m.Seq, m.Time, header, m.Data), true, nil
}

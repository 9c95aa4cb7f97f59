package eventstore

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/streams"
)

// archived is one line of an archive: a message of the log with everything it had.
type archived struct {
	Seq     uint64          `json:"seq"`
	Subject string          `json:"subject"`
	Time    time.Time       `json:"time"`
	Header  nats.Header     `json:"header"`
	Data    json.RawMessage `json:"data,omitempty"` // the body as it is, if it is JSON on one line
	Body    []byte          `json:"body,omitempty"` // the body in base64 otherwise
}

// ArchiveWriter writes entries of the log to an archive: lines of JSON, compressed with zstd.
type ArchiveWriter struct {
	zip  *zstd.Encoder
	hash hash.Hash
}

// NewArchiveWriter returns a writer to out, which stays the caller's.
func NewArchiveWriter(out io.Writer) (*ArchiveWriter, error) {
	w := &ArchiveWriter{hash: sha256.New()}
	var err error
	if w.zip, err = zstd.NewWriter(io.MultiWriter(out, w.hash)); err != nil {
		return nil, fmt.Errorf("begin an archive: %w", err)
	}
	return w, nil
}

// Write adds an entry. It has to be one of a session.
func (w *ArchiveWriter) Write(e Entry) error {
	line := archived{Seq: e.Seq, Subject: streams.EventSubject(e.Key, e.Type), Time: e.Time, Header: e.Header}
	var data bytes.Buffer
	if json.Compact(&data, e.Data) == nil && bytes.Equal(data.Bytes(), e.Data) && !bytes.ContainsAny(e.Data, "<>&\u2028\u2029") {
		line.Data = e.Data // encoding/json passes it through unchanged
	} else {
		line.Body = e.Data
	}
	encoded, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("archive event %d: %w", e.Seq, err)
	}
	if _, err := w.zip.Write(append(encoded, '\n')); err != nil {
		return fmt.Errorf("archive event %d: %w", e.Seq, err)
	}
	return nil
}

// Close ends the archive and returns the SHA-256 of what was written, in hexadecimal.
func (w *ArchiveWriter) Close() (sum string, err error) {
	if err := w.zip.Close(); err != nil {
		return "", fmt.Errorf("end the archive: %w", err)
	}
	return hex.EncodeToString(w.hash.Sum(nil)), nil
}

// maxArchiveLine bounds a line of an archive: the broker's largest payload, in base64, and its headers.
const maxArchiveLine = 16 << 20

// ReadArchive returns the entries of an archive, as the log had them.
func ReadArchive(in io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		zip, err := zstd.NewReader(in)
		if err != nil {
			yield(Entry{}, fmt.Errorf("read an archive: %w", err))
			return
		}
		defer zip.Close()
		lines := bufio.NewScanner(zip)
		lines.Buffer(nil, maxArchiveLine)
		for n := 1; lines.Scan(); n++ {
			var line archived
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				yield(Entry{}, fmt.Errorf("line %d of the archive: %w: %w", n, ErrMalformed, err))
				return
			}
			if line.Data != nil {
				line.Body = line.Data
			}
			if !yield(Decode(line.Subject, line.Seq, line.Time, line.Header, line.Body), nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Entry{}, fmt.Errorf("read an archive: %w", err))
		}
	}
}

// ErrMoved says that a session has events after the one up to which it was to be retired.
var ErrMoved = errors.New("the session has newer events")

// Retire takes a session's events up to a sequence out of the log, but the last one of its menu lane: that one keeps
// anybody from submitting the session again. Retiring again is no failure. A session that has newer events is left as it
// is, with [ErrMoved].
func (s *JetStream) Retire(ctx context.Context, key menu.Key, last uint64) error {
	fail := func(err error) error { return fmt.Errorf("retire session %s: %w", key, err) }
	now, err := s.LastOf(ctx, key)
	if err != nil {
		return fail(err)
	}
	if now > last {
		return fail(ErrMoved)
	}
	guard, err := s.lastOf(ctx, streams.LaneFilter(key, menu.LaneMenu))
	if err != nil {
		return fail(err)
	}
	if guard == 0 {
		return fail(fmt.Errorf("%w: it has no menu event", ErrMalformed))
	}
	stream, err := s.js.Stream(ctx, streams.EventStream)
	if err != nil {
		return fail(err)
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSubject(streams.SessionFilter(key)), jetstream.WithPurgeSequence(guard)); err != nil {
		return fail(err)
	}
	later, err := s.LoadAfter(ctx, key, guard)
	if err != nil {
		return fail(err)
	}
	for _, e := range later {
		if e.Seq > last {
			return fail(ErrMoved)
		}
		if err := s.deleteMessage(ctx, e.Seq); err != nil {
			return fail(err)
		}
	}
	return nil
}

// Size returns how many bytes the log takes, and how many it may take.
func (s *JetStream) Size(ctx context.Context) (used, limit uint64, err error) {
	stream, err := s.js.Stream(ctx, streams.EventStream)
	if err != nil {
		return 0, 0, fmt.Errorf("read the state of stream %s: %w", streams.EventStream, err)
	}
	info := stream.CachedInfo()
	return info.State.Bytes, uint64(max(info.Config.MaxBytes, 0)), nil
}

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
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

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
	zip      *zstd.Encoder
	lines    io.Writer // to zip, and to linesSum
	fileSum  hash.Hash
	linesSum hash.Hash
}

// ArchiveSums tell whether an archive is the one that was written.
type ArchiveSums struct {
	File  string // SHA-256 of the file, in hexadecimal
	Lines string // SHA-256 of what the file holds, in hexadecimal
}

// NewArchiveWriter returns a writer to out, which stays the caller's.
func NewArchiveWriter(out io.Writer) (*ArchiveWriter, error) {
	w := &ArchiveWriter{fileSum: sha256.New(), linesSum: sha256.New()}
	var err error
	if w.zip, err = zstd.NewWriter(io.MultiWriter(out, w.fileSum)); err != nil {
		return nil, fmt.Errorf("begin an archive: %w", err)
	}
	w.lines = io.MultiWriter(w.zip, w.linesSum)
	return w, nil
}

// Write adds an entry. It has to be one of a session.
func (w *ArchiveWriter) Write(e Entry) error {
	line := archived{Seq: e.Seq, Subject: streams.EventSubject(e.Key, e.Type), Time: e.Time, Header: e.Header}
	asItIs := json.Valid(e.Data) && len(bytes.TrimSpace(e.Data)) == len(e.Data) && !bytes.ContainsAny(e.Data, "\r\n")
	if !asItIs {
		line.Body = e.Data
	}
	encoded, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("archive event %d: %w", e.Seq, err)
	}
	if asItIs { // encoding/json would change what is in it
		encoded = append(append(append(encoded[:len(encoded)-1], `,"data":`...), e.Data...), '}')
	}
	if _, err := w.lines.Write(append(encoded, '\n')); err != nil {
		return fmt.Errorf("archive event %d: %w", e.Seq, err)
	}
	return nil
}

// Close ends the archive and returns the sums of what was written.
func (w *ArchiveWriter) Close() (ArchiveSums, error) {
	if err := w.zip.Close(); err != nil {
		return ArchiveSums{}, fmt.Errorf("end the archive: %w", err)
	}
	return sumsOf(w.fileSum, w.linesSum), nil
}

// ErrArchive says that an archive does not hold what was written to it.
var ErrArchive = errors.New("the archive does not hold what was written to it")

// CheckArchive reads an archive back: its file and its lines have to be those that were written.
func CheckArchive(in io.Reader, want ArchiveSums) error {
	file, lines := sha256.New(), sha256.New()
	in = io.TeeReader(in, file)
	zip, err := zstd.NewReader(in)
	if err != nil {
		return fmt.Errorf("read an archive: %w", err)
	}
	defer zip.Close()
	if _, err := io.Copy(lines, zip); err != nil {
		return fmt.Errorf("read an archive: %w", err)
	}
	if got := sumsOf(file, lines); got != want {
		return fmt.Errorf("%w: its sums are %+v, written were %+v", ErrArchive, got, want)
	}
	return nil
}

func sumsOf(file, lines hash.Hash) ArchiveSums {
	return ArchiveSums{File: hex.EncodeToString(file.Sum(nil)), Lines: hex.EncodeToString(lines.Sum(nil))}
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

// ErrMoved says that a session has events after those that were to be retired.
var ErrMoved = errors.New("the session has newer events")

// Retire takes a session's events, all of them in order, out of the log, but the last one of its menu lane: that one keeps
// anybody from submitting the session again. Retiring again is no failure. A session that has newer events is left as it
// is, with [ErrMoved].
//
// Each is deleted by itself: after a purge the broker counts anew what every consumer has before it, which takes longer the more
// subjects the log has, and nobody appends meanwhile.
func (s *JetStream) Retire(ctx context.Context, key menu.Key, seqs []uint64) error {
	fail := func(err error) error { return fmt.Errorf("retire session %s: %w", key, err) }
	guard, err := s.lastOf(ctx, streams.LaneFilter(key, menu.LaneMenu))
	if err != nil {
		return fail(err)
	}
	if guard == 0 {
		return fail(fmt.Errorf("%w: it has no menu event", ErrMalformed))
	}
	last, err := s.LastOf(ctx, key)
	if err != nil {
		return fail(err)
	}
	if len(seqs) == 0 || last > seqs[len(seqs)-1] {
		return fail(ErrMoved)
	}
	leaving := slices.DeleteFunc(slices.Clone(seqs), func(seq uint64) bool { return seq == guard })
	if len(leaving) == 0 {
		return nil
	}
	// The first one before the others: whoever reads the session meanwhile sees that it is not whole.
	if err := s.deleteMessage(ctx, leaving[0], false); err != nil {
		return fail(err)
	}
	var g errgroup.Group
	g.SetLimit(retireAtOnce)
	for _, seq := range leaving[1:] {
		g.Go(func() error { return s.deleteMessage(ctx, seq, false) })
	}
	if err := g.Wait(); err != nil {
		return fail(err)
	}
	return nil
}

// retireAtOnce is how many events of a session are taken out at once.
const retireAtOnce = 4

// Size returns how many bytes the log takes, and how many it may take.
func (s *JetStream) Size(ctx context.Context) (used, limit uint64, err error) {
	stream, err := s.js.Stream(ctx, streams.EventStream)
	if err != nil {
		return 0, 0, fmt.Errorf("read the state of stream %s: %w", streams.EventStream, err)
	}
	info := stream.CachedInfo()
	return info.State.Bytes, uint64(max(info.Config.MaxBytes, 0)), nil
}

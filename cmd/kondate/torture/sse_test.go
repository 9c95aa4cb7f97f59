package torture_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// block is what stands between two empty lines of a stream of server-sent events.
type block struct {
	ID    string // field id
	HasID bool   // it was there, perhaps empty
	Event string
	Data  string
	Lines int // of data
}

// blocks reads a stream of server-sent events, one block after the other, as the standard of the field says. What is cut
// off before its empty line is no block.
type blocks struct{ in *bufio.Reader }

func newBlocks(in io.Reader) *blocks { return &blocks{bufio.NewReader(in)} }

// next returns the next block that is more than comments.
func (b *blocks) next() (block, error) {
	var (
		got   block
		some  bool
		lines []string
	)
	for {
		line, err := b.in.ReadBytes('\n')
		if err != nil {
			return block{}, err // io.EOF too: the block is not whole
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(line) == 0 {
			if !some {
				continue
			}
			got.Data, got.Lines = strings.Join(lines, "\n"), len(lines)
			return got, nil
		}
		field, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "": // a comment
		case "id":
			got.ID, got.HasID, some = value, true, true
		case "event":
			got.Event, some = value, true
		case "data":
			lines, some = append(lines, value), true
		case "retry":
		default:
			return block{}, fmt.Errorf("the stream has a line that is no field: %q", line)
		}
	}
}

// stored reads a block with an id and data as a stored event.
func (b block) stored() (frame, error) {
	var body struct {
		ID  string `json:"id"`
		Seq uint64 `json:"seq"`
	}
	if b.Lines != 1 {
		return frame{}, fmt.Errorf("event %s has %d lines of data, want 1", b.ID, b.Lines)
	}
	if err := json.Unmarshal([]byte(b.Data), &body); err != nil {
		return frame{}, fmt.Errorf("event %s: %w", b.ID, err)
	}
	return frame{Cursor: b.ID, Event: b.Event, ID: body.ID, Seq: body.Seq, Hash: hashOf([]byte(b.Data))}, nil
}

// hashOf is a short digest: it tells bytes apart, it keeps no secret.
func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:12])
}

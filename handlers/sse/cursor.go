package sse

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	maxIncarnation = 32
	maxCursor      = maxIncarnation + 1 + 20 // 20 digits hold every uint64
)

// errCursor is matched by every error of parseCursor.
var errCursor = errors.New("is not an id of a session's stream")

// cursor is a position in the log: the id of every frame. Clients treat it as opaque.
type cursor struct {
	incarnation string // of the log that the sequence belongs to
	seq         uint64
}

// String returns <incarnation>.<sequence>.
func (c cursor) String() string { return c.incarnation + "." + strconv.FormatUint(c.seq, 10) }

// parseCursor reads what a client sends as Last-Event-ID. Only what [cursor.String] writes is accepted.
func parseCursor(raw string) (cursor, error) {
	if len(raw) > maxCursor {
		return cursor{}, fmt.Errorf("%d bytes long: %w", len(raw), errCursor)
	}
	incarnation, digits, found := strings.Cut(raw, ".")
	if !found || !validIncarnation(incarnation) {
		return cursor{}, fmt.Errorf("%q: %w", raw, errCursor)
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || strconv.FormatUint(seq, 10) != digits {
		return cursor{}, fmt.Errorf("%q: %w", raw, errCursor)
	}
	return cursor{incarnation, seq}, nil
}

func validIncarnation(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return s != "" && len(s) <= maxIncarnation
}

package sse

import "kondate/eventstore"

// What tests of the package see of its inside.
var (
	ParseCursor = func(raw string) (string, uint64, error) {
		c, err := parseCursor(raw)
		return c.incarnation, c.seq, err
	}
	EncodeLive   = encodeLive
	LiveReserved = reservedNames
)

// EncodeEntry returns the frame of an entry of the log, nil if it is none.
func EncodeEntry(e eventstore.Entry, incarnation string) []byte {
	if f := newFrame(e); f != nil {
		return f.bytes(incarnation)
	}
	return nil
}

// PieceBytes is what one write hands to the connection at most.
const PieceBytes = pieceBytes

package sse

import (
	"container/list"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/projections"
)

// frameOverhead is what a frame takes in memory besides its body, about: what counts against a window's bytes.
const frameOverhead = 512

// frame is one stored event on its way to the readers. It is encoded when the first of them asks, once for all.
type frame struct {
	key  menu.Key
	seq  uint64
	id   string
	typ  menu.Type
	at   time.Time
	size int

	version int // of data

	once sync.Once
	data []byte // until it is encoded
	wire []byte

	arrived time.Time     // in the hub
	place   *list.Element // in the hub's order, while a window holds the frame
}

// newFrame returns nil for an entry that is no event: those are set aside elsewhere and belong to no stream.
// An event of a type that this version does not know is passed on: its readers may.
func newFrame(e eventstore.Entry) *frame {
	if e.Err != nil && (!errors.Is(e.Err, eventstore.ErrUnknownEvent) || !json.Valid(e.Data)) {
		return nil
	}
	return &frame{key: e.Key, seq: e.Seq, id: e.ID, typ: e.Type, version: e.Version, at: e.Time, data: e.Data, size: len(e.Data) + frameOverhead}
}

// newFrameOfRow does the same for a row of the history: whether an event comes from the window or from there makes no
// difference.
func newFrameOfRow(r projections.HistoryRow) *frame {
	e, ok := r.Envelope()
	if !ok {
		return nil
	}
	return &frame{key: e.Key, seq: e.Seq, id: e.ID, typ: e.Type, version: e.Version, at: e.Time, data: e.Data, size: len(e.Data) + frameOverhead}
}

// bytes returns the frame as it goes over the wire. incarnation is the same at every call.
func (f *frame) bytes(incarnation string) []byte {
	f.once.Do(func() {
		f.wire = f.encode(incarnation)
		f.data = nil
	})
	return f.wire
}

func (f *frame) encode(incarnation string) []byte {
	b := make([]byte, 0, len(f.data)+384)
	b = append(b, "id: "...)
	b = append(b, cursor{incarnation, f.seq}.String()...)
	b = append(b, "\nevent: "...)
	b = append(b, f.typ...)
	b = append(b, "\ndata: "...)
	b = eventstore.Envelope{Seq: f.seq, ID: f.id, Key: f.key, Type: f.typ, Version: f.version, Time: f.at, Data: f.data}.Append(b)
	return append(b, "\n\n"...)
}

// isClosing says that the session may be closed after the event.
func (f *frame) isClosing() bool {
	if f.typ.Lane() != menu.LaneMenu {
		return false
	}
	switch f.typ {
	case menu.Completed{}.Type(), menu.Expired{}.Type(), menu.Erased{}.Type():
		return true
	}
	return false
}

func (f *frame) isErased() bool { return f.typ == menu.Erased{}.Type() }

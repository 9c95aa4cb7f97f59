package eventstore

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"kondate/domain/menu"
)

// Envelope is an event as live streams and exports carry it: a JSON object on one line, whose data is the body in the
// newest version of its type, whatever version was recorded.
type Envelope struct {
	Seq     uint64
	ID      string
	Key     menu.Key
	Type    menu.Type
	Version int // of Data
	Time    time.Time
	Data    []byte // as recorded; valid JSON
}

// Append appends the object to b: {"id","type","seq","time","tenant","session_id","data"}.
func (e Envelope) Append(b []byte) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, e.ID)
	b = append(b, `,"type":`...)
	b = appendString(b, string(e.Type))
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, e.Seq, 10)
	b = append(b, `,"time":`...)
	b = appendString(b, FormatTime(e.Time))
	b = append(b, `,"tenant":`...)
	b = appendString(b, string(e.Key.Tenant))
	b = append(b, `,"session_id":`...)
	b = appendString(b, string(e.Key.Session))
	b = append(b, `,"data":`...)
	b = append(b, e.Body()...)
	return append(b, '}')
}

// Body returns the data of the object. An event of a type or version that this program does not know keeps its own: its
// readers may know it.
func (e Envelope) Body() []byte {
	if data, err := Upcast(e.Type, e.Version, e.Data); err == nil {
		return OneLine(data)
	}
	return OneLine(e.Data)
}

// OneLine returns JSON on one line: a line break in it would end an object of NDJSON, or begin another field of a stream
// of events. Within a JSON string a line break is escaped; between its tokens it is only space.
func OneLine(data []byte) []byte {
	if bytes.IndexByte(data, '\n') < 0 && bytes.IndexByte(data, '\r') < 0 {
		return data
	}
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		return []byte("null") // unreachable for valid JSON
	}
	return b.Bytes()
}

// Object is what [Envelope.Append] writes, for its readers and for descriptions.
type Object struct {
	ID        string         `json:"id" jsonschema:"The same for ever, also in another copy of the log."`
	Type      menu.Type      `json:"type" jsonschema:"Such as menu.submitted, allergen.completed."`
	Seq       uint64         `json:"seq" jsonschema:"The event's place in the log."`
	Time      time.Time      `json:"time" jsonschema:"When it was appended."`
	Tenant    menu.Tenant    `json:"tenant"`
	SessionID menu.SessionID `json:"session_id"`
	Data      map[string]any `json:"data" jsonschema:"Depends on the type."`
}

package eventstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/streams"
)

// Headers of a message of the log, besides Nats-Msg-Id: the CloudEvents attributes and our own.
const (
	HeaderSpecVersion = "ce-specversion"
	HeaderID          = "ce-id"
	HeaderType        = "ce-type"
	HeaderSource      = "ce-source"
	HeaderTime        = "ce-time"
	HeaderDataSchema  = "ce-dataschema"
	HeaderContentType = "content-type"
	HeaderSchema      = "Kondate-Schema" // integer version of the event's schema
	HeaderCorrelation = "Kondate-Correlation-Id"
	HeaderCausation   = "Kondate-Causation-Id"
	HeaderTraceParent = "traceparent"
	HeaderRestored    = "Kondate-Restored" // of an event that was brought back: its sequence in the lost log
)

// timeLayout is RFC 3339 with microseconds; times are always UTC.
const timeLayout = "2006-01-02T15:04:05.000000Z07:00"

// FormatTime returns a time as events carry it: RFC 3339, UTC, microseconds.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// toMicroseconds cuts off what history cannot hold: the broker's clock, and other programs', may say more.
func toMicroseconds(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// Encode returns the message that records an event, with its deterministic id.
func Encode(key menu.Key, p Proposed) (*nats.Msg, error) {
	typ := p.Event.Type()
	id, err := EventID(key, p.Causation, p.Event)
	if err != nil {
		return nil, err
	}
	data, err := encodeBody(p.Event)
	if err != nil {
		return nil, fmt.Errorf("encode %s of session %s: %w", typ, key, err)
	}
	version := latest(typ)
	correlation := p.Correlation
	if correlation == "" {
		correlation = id
	}
	msg := &nats.Msg{Subject: streams.EventSubject(key, typ), Data: data, Header: nats.Header{
		jetstream.MsgIDHeader: {id},
		HeaderSpecVersion:     {"1.0"},
		HeaderID:              {id},
		HeaderType:            {string(typ)},
		HeaderSource:          {key.Source()},
		HeaderTime:            {FormatTime(p.Time)},
		HeaderDataSchema:      {DataSchema(typ, version)},
		HeaderContentType:     {"application/json"},
		HeaderSchema:          {strconv.Itoa(version)},
		HeaderCorrelation:     {correlation},
	}}
	if p.Causation != "" {
		msg.Header.Set(HeaderCausation, p.Causation)
	}
	if p.TraceParent != "" {
		msg.Header.Set(HeaderTraceParent, p.TraceParent)
	}
	return msg, nil
}

// DataSchema names the JSON Schema of an event's body.
func DataSchema(typ menu.Type, version int) string {
	return fmt.Sprintf("/schemas/%s/v%d.json", typ, version)
}

// Decode reads one message of the log. It never fails: what cannot be read is an Entry without Event, whose Err says why.
func Decode(subject string, seq uint64, stored time.Time, header nats.Header, data []byte) Entry {
	e := unopened(subject, seq, stored, header, data)
	if e.Err != nil {
		return e
	}
	if err := e.open(); err != nil {
		e.Event, e.Err = nil, fmt.Errorf("event %d on %s: %w", seq, subject, err)
	}
	return e
}

// unopened is [Decode] without a look into the body: the event is nil.
func unopened(subject string, seq uint64, stored time.Time, header nats.Header, data []byte) Entry {
	e := Entry{Header: header, Data: data}
	e.Seq = seq
	e.Time = toMicroseconds(stored) // the broker's clock, until the header proves readable
	if err := e.decodeHeader(subject); err != nil {
		e.Err = fmt.Errorf("event %d on %s: %w", seq, subject, err)
	}
	return e
}

func (e *Entry) decodeHeader(subject string) error {
	var err error
	if e.Key, e.Type, err = streams.ParseEventSubject(subject); err != nil {
		return errors.Join(ErrMalformed, err)
	}
	if e.ID, err = single(e.Header, HeaderID); err != nil {
		return err
	}
	written, err := single(e.Header, HeaderTime)
	if err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339, written)
	if err != nil {
		return fmt.Errorf("%w: header %s is no RFC 3339 time: %w", ErrMalformed, HeaderTime, err)
	}
	e.Time = toMicroseconds(at)
	schema, err := single(e.Header, HeaderSchema)
	if err != nil {
		return err
	}
	if e.Version, err = strconv.Atoi(schema); err != nil {
		return fmt.Errorf("%w: header %s %q is no number", ErrMalformed, HeaderSchema, schema)
	}
	e.Correlation, e.Causation = first(e.Header, HeaderCorrelation), first(e.Header, HeaderCausation)
	return nil
}

// open decodes the body.
func (e *Entry) open() (err error) {
	if e.Event, err = decodeEvent(e.Type, e.Version, e.Data); err != nil {
		return err
	}
	if got := e.Event.Type(); got != e.Type {
		return fmt.Errorf("%w: the body is a %s", ErrMalformed, got)
	}
	return e.saysStage()
}

// saysStage refuses a body on the lane of the translation that names no stage: left out, it reads as just that one.
func (e *Entry) saysStage() error {
	if e.Type.Lane() != menu.Translation.Lane() || bytes.HasPrefix(e.Data, []byte(`{"stage":"`)) { // as we write it
		return nil
	}
	var body struct {
		Stage *json.RawMessage `json:"stage"`
	}
	if err := unmarshal(e.Data, &body); err != nil {
		return err
	}
	if body.Stage == nil {
		return fmt.Errorf("%w: the body names no stage", ErrMalformed)
	}
	return nil
}

// single returns the one value of a header; a repeated or missing header makes the event malformed.
func single(h nats.Header, name string) (string, error) {
	if values := h[name]; len(values) == 1 && values[0] != "" {
		return values[0], nil
	}
	return "", fmt.Errorf("%w: header %s stands there %d times, want once", ErrMalformed, name, len(h[name]))
}

func first(h nats.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// unmarshal reads exactly one JSON value. A decoder would copy the whole body first.
func unmarshal(data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

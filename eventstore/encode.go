package eventstore

import (
	"bytes"
	"encoding/json"
	"strconv"

	"kondate/domain/menu"
)

// encodeBody returns an event's body as encoding/json does. Results are most of what is ever appended, and without an
// fsync their encoding by reflection is half of an append: they are written by hand.
func encodeBody(event menu.Event) ([]byte, error) {
	results, ok := event.(menu.StageCompleted)
	if !ok {
		return json.Marshal(event)
	}
	size := 64
	for _, r := range results.Results {
		size += len(r.Result.Data) + 320
	}
	b := append(make([]byte, 0, size), `{"stage":`...)
	b, err := appendJSON(b, results.Stage)
	if err != nil {
		return nil, err
	}
	if results.Results == nil {
		return append(b, `,"results":null}`...), nil
	}
	b = append(b, `,"results":[`...)
	for i, r := range results.Results {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendResult(b, r); err != nil {
			return nil, err
		}
	}
	return append(b, "]}"...), nil
}

func appendResult(b []byte, r menu.DishResult) (_ []byte, err error) {
	b = appendString(append(b, `{"menu_id":`...), string(r.ID))
	b = strconv.AppendInt(append(b, `,"epoch":`...), int64(r.Epoch), 10)
	b = strconv.AppendInt(append(b, `,"attempt":`...), int64(r.Attempt), 10)
	v := r.Result
	if b, err = appendJSON(append(b, `,"result":{"stage":`...), v.Stage); err != nil {
		return nil, err
	}
	b = appendString(append(b, `,"status":`...), string(v.Status))
	b = appendString(append(b, `,"provider":`...), v.Provider)
	b = appendString(append(b, `,"provider_version":`...), v.ProviderVersion)
	b = appendString(append(b, `,"basis":`...), string(v.Basis))
	if b = append(b, `,"confidence":`...); v.Confidence == 0 || v.Confidence >= 1e-6 && v.Confidence < 1e21 {
		b = strconv.AppendFloat(b, v.Confidence, 'f', -1, 64)
	} else if b, err = appendJSON(b, v.Confidence); err != nil {
		return nil, err
	}
	if b, err = appendRaw(append(b, `,"data":`...), v.Data); err != nil {
		return nil, err
	}
	b = appendStrings(append(b, `,"warnings":`...), v.Warnings)
	b = appendStrings(append(b, `,"attribution":`...), v.Attribution)
	if b = append(b, `,"error":`...); v.Error == nil {
		b = append(b, "null"...)
	} else {
		b = appendString(b, *v.Error)
	}
	b = strconv.AppendInt(append(b, `,"elapsed_ms":`...), v.ElapsedMS, 10)
	if v.CachedAt != nil {
		if b, err = appendJSON(append(b, `,"cached_at":`...), v.CachedAt); err != nil {
			return nil, err
		}
	}
	return append(b, "}}"...), nil
}

func appendStrings(b []byte, list menu.Strings) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

// appendRaw appends JSON without the space between its tokens.
func appendRaw(b []byte, raw json.RawMessage) ([]byte, error) {
	if raw == nil || bytes.ContainsAny(raw, "<>&\u2028\u2029") { // which encoding/json escapes
		return appendJSON(b, raw)
	}
	buffer := bytes.NewBuffer(b)
	err := json.Compact(buffer, raw)
	return buffer.Bytes(), err
}

func appendJSON(b []byte, v any) ([]byte, error) {
	encoded, err := json.Marshal(v)
	return append(b, encoded...), err
}

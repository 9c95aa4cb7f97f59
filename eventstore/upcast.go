package eventstore

import (
	"embed"
	"encoding/json"
	"fmt"

	"kondate/domain/menu"
)

// upcaster turns the body of one version of an event into that of the next. It never guesses: what the old version did
// not say becomes "not known".
type upcaster struct {
	change string // what the next version changed, for its readers
	body   func(data []byte) ([]byte, error)
}

// Upcast returns the body of an event as the newest version of its type has it: data itself if it is of that version. It
// fails with [ErrUnknownEvent] for a type or version that this program does not know, and with [ErrMalformed] for an older
// body that is none.
func Upcast(typ menu.Type, version int, data []byte) ([]byte, error) {
	d, known := registry[typ]
	if !known || version < 1 || version > d.Version {
		return nil, fmt.Errorf("%w: %s version %d", ErrUnknownEvent, typ, version)
	}
	for ; version < d.Version; version++ {
		var err error
		if data, err = d.upcast[version-1].body(data); err != nil {
			return nil, fmt.Errorf("%s version %d as version %d: %w", typ, version, version+1, err)
		}
	}
	return data, nil
}

// attemptFailed2 takes <stage>.attempt_failed from version 1 to 2.
var attemptFailed2 = upcaster{"says which `provider` failed; empty where version 1 was recorded", addProvider} //nolint:gochecknoglobals // a constant

func addProvider(data []byte) ([]byte, error) {
	var body map[string]json.RawMessage
	if err := unmarshal(data, &body); err != nil {
		return nil, err
	}
	if body == nil {
		return nil, fmt.Errorf("%w: the body is null", ErrMalformed)
	}
	body["provider"] = json.RawMessage(`""`)
	return json.Marshal(body)
}

// completed2 takes <stage>.completed from version 1 to 2.
var completed2 = upcaster{"a result may say `cached_at`; where version 1 was recorded the provider was always asked", unchanged} //nolint:gochecknoglobals // a constant

func unchanged(data []byte) ([]byte, error) { return data, nil }

//go:embed schemas/*.json
var schemas embed.FS

// Schema returns the JSON Schema of the bodies of one version of an event. The stages share theirs.
func Schema(typ menu.Type, version int) ([]byte, error) {
	if _, known := registry[typ]; !known {
		return nil, fmt.Errorf("%w: %s", ErrUnknownEvent, typ)
	}
	raw, err := schemas.ReadFile(schemaFile(typ, version))
	if err != nil {
		return nil, fmt.Errorf("%w: %s version %d has no schema: %w", ErrUnknownEvent, typ, version, err)
	}
	return raw, nil
}

// schemaFile names the file of a schema: schemas/menu.submitted.v1.json, schemas/stage.completed.v1.json.
func schemaFile(typ menu.Type, version int) string {
	lane := string(typ.Lane())
	if _, err := menu.ParseStage(lane); err == nil {
		lane = "stage"
	}
	return fmt.Sprintf("schemas/%s.%s.v%d.json", lane, typ.Name(), version)
}

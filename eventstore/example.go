package eventstore

import (
	"embed"
	"encoding/json"
	"fmt"

	"kondate/domain/menu"
)

// The golden file of every released version: what tests decode for ever is also what descriptions show.
//
//go:embed testdata/*.json
var goldens embed.FS

// Example is a message of the log as it was recorded.
type Example struct {
	Subject string              `json:"subject"`
	Header  map[string][]string `json:"header"`
	Data    json.RawMessage     `json:"data"`
}

// ExampleOf returns an example of one version of an event.
func ExampleOf(typ menu.Type, version int) (Example, error) {
	raw, err := goldens.ReadFile(fmt.Sprintf("testdata/%s.v%d.json", typ, version))
	if err != nil {
		return Example{}, fmt.Errorf("%w: %s version %d has no example: %w", ErrUnknownEvent, typ, version, err)
	}
	var e Example
	if err := json.Unmarshal(raw, &e); err != nil {
		return Example{}, fmt.Errorf("read the example of %s version %d: %w", typ, version, err)
	}
	return e, nil
}

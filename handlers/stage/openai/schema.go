package openai

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/handlers/stage"
)

const (
	// maxFaults bounds how many faults of one dish's answer are named.
	maxFaults = 5
	// maxFault bounds the text of one, in bytes.
	maxFault = 600
)

// A file holds the model's part of a stage's data; what is left out is computed here.
//
//go:embed schemas
var schemaFiles embed.FS

// format is what a model's answer has to look like.
type format struct {
	sent json.RawMessage    // the schema of a whole reply, without what some servers refuse
	item *jsonschema.Schema // of one dish's entry, complete
	keys []string           // of the model's part of the data
}

// newFormat reads the stage's schema.
func newFormat(s menu.Stage, k *cuisine.Knowledge) (format, error) {
	raw, err := schemaFiles.ReadFile("schemas/" + s.String() + ".json")
	if err != nil {
		return format{}, fmt.Errorf("read the schema of a model's %s: %w", s, err)
	}
	data, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return format{}, fmt.Errorf("read the schema of a model's %s: %w", s, err)
	}
	part, _ := data.(map[string]any)
	properties, _ := part["properties"].(map[string]any)
	f := format{}
	for key := range properties {
		f.keys = append(f.keys, key)
	}
	slices.Sort(f.keys)
	if s == menu.Allergen {
		codes := []any{}
		for _, leaf := range k.Allergens() {
			codes = append(codes, leaf.Code)
		}
		setEnum(part, codes)
	}
	item := object(map[string]any{
		"menu_id":    map[string]any{"type": "string"},
		"status":     map[string]any{"type": "string", "enum": []any{"ok", "partial", "unknown"}},
		"confidence": map[string]any{"type": "number", "minimum": json.Number("0"), "maximum": json.Number("1")},
		"data":       part,
	})
	c := jsonschema.NewCompiler()
	if err := c.AddResource("item.json", item); err != nil {
		return format{}, fmt.Errorf("compile the schema of a model's %s: %w", s, err)
	}
	if f.item, err = c.Compile("item.json"); err != nil {
		return format{}, fmt.Errorf("compile the schema of a model's %s: %w", s, err)
	}
	whole := object(map[string]any{"results": map[string]any{"type": "array", "items": item}})
	if f.sent, err = json.Marshal(strip(whole)); err != nil {
		return format{}, fmt.Errorf("encode the schema of a model's %s: %w", s, err)
	}
	return f, nil
}

// setEnum limits every code in a schema to the leaves.
func setEnum(schema map[string]any, codes []any) {
	for key, v := range schema {
		if sub, is := v.(map[string]any); is {
			if key == "code" {
				sub["enum"] = codes
			}
			setEnum(sub, codes)
		}
	}
}

func object(properties map[string]any) map[string]any {
	required := []any{}
	for key := range properties {
		required = append(required, key)
	}
	slices.SortFunc(required, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties, "required": required}
}

// strip copies a schema without the limits that some servers refuse in a response format.
func strip(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			switch key {
			case "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern":
				if _, sub := value.(map[string]any); !sub {
					continue
				}
			}
			out[key] = strip(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = strip(v[i])
		}
		return out
	}
	return v
}

// faults says what a schema finds wrong, each fault with its path, in a bounded length.
func faults(err error) []string {
	texts := stage.Findings(nil, err)
	texts = texts[:min(len(texts), maxFaults)]
	for i := range texts {
		texts[i] = cut(texts[i], maxFault)
	}
	return texts
}

// cut shortens a text to a number of bytes.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

package external

import (
	"encoding/json"
	"fmt"

	"github.com/google/jsonschema-go/jsonschema"

	"kondate/eventstore"
	"kondate/handlers/asyncapi"
	"kondate/handlers/stage"
)

// Work describes the requests to workers, and their replies as [decodeReply] and the stage's schema take them.
func Work() (asyncapi.Work, error) {
	raw, err := stage.EnvelopeSchema()
	if err != nil {
		return asyncapi.Work{}, err
	}
	envelope := &jsonschema.Schema{}
	if err := json.Unmarshal(raw, envelope); err != nil {
		return asyncapi.Work{}, fmt.Errorf("read the schema of a result: %w", err)
	}
	envelope.Schema = "" // the document's
	ask := asyncapi.MessageOf[request]("request", "Dishes that the stage has to answer. New members may come: ignore what you do not know.")
	ask.Headers = []eventstore.Header{eventstore.TraceHeader()}
	return asyncapi.Work{
		Request: ask,
		Reply: asyncapi.Message{
			Name: "reply", Summary: "Results, or an error for the whole request. A worker replies once or several times.",
			Schema:  replySchema(envelope),
			Headers: []eventstore.Header{{Name: HeaderFinal, Pattern: "^" + FinalValue + "$", Meaning: "of the last reply", Optional: true}},
		},
	}, nil
}

func replySchema(envelope *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		closed(map[string]*jsonschema.Schema{
			"results": {Type: "array", Items: closed(map[string]*jsonschema.Schema{
				"menu_id": {Type: "string", MinLength: new(1), Description: "A dish of the request."},
				"result":  envelope,
			}, "menu_id", "result")},
		}, "results"),
		closed(map[string]*jsonschema.Schema{
			"error": closed(map[string]*jsonschema.Schema{
				"reason":    {Type: "string", Pattern: `\S`, Description: fmt.Sprintf("Failures are grouped by it: short, at most %d bytes are kept.", maxReason)},
				"permanent": {Type: "boolean", Description: "Another attempt would fail as well."},
			}, "reason"),
		}, "error"),
	}}
}

// closed describes an object that has no other members.
func closed(members map[string]*jsonschema.Schema, required ...string) *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "object", Properties: members, Required: required, AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
	}
}

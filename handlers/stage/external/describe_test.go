package external_test

import (
	"encoding/json"
	"testing"

	"kondate/domain/menu"
	"kondate/handlers/stage/external"
)

// What the description takes of a reply is what the decoder and the schema of the results take.
func TestReplySchema(t *testing.T) {
	t.Parallel()
	work, err := external.Work()
	if err != nil {
		t.Fatal(err)
	}
	schema, err := work.Reply.Schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	const result = `{"stage":"task8","status":"unknown","provider":"x","basis":"none","confidence":0,"data":null}`
	for reply, ok := range map[string]bool{
		`{"results":[]}`: true,
		`{"results":[{"menu_id":"d","result":` + result + `}]}`: true,
		`{"error":{"reason":"x"}}`:                              true,
		`{"error":{"reason":"x","permanent":true}}`:             true,
		`{}`:                             false,
		`[]`:                             false,
		`{"results":null}`:               false,
		`{"results":[],"error":null}`:    false,
		`{"results":[],"more":1}`:        false,
		`{"results":[{"menu_id":"d"}]}`:  false,
		`{"results":[{"result":{}}]}`:    false,
		`{"error":{}}`:                   false,
		`{"error":{"reason":"  "}}`:      false,
		`{"error":"x"}`:                  false,
		`{"error":{"reason":"x","y":1}}`: false,
		`{"error":{"reason":"x","permanent":"yes"}}`:                     false,
		`{"results":[{"menu_id":"","result":` + result + `}]}`:           false,
		`{"results":[{"menu_id":"d","result":` + result + `,"more":1}]}`: false,
	} {
		var doc any
		if err := json.Unmarshal([]byte(reply), &doc); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); (err == nil) != ok {
			t.Errorf("the description takes %s: %v", reply, err)
		}
		if _, err := external.ReadReply(menu.Task8, []byte(reply)); (err == nil) != ok {
			t.Errorf("the decoder takes %s: %v", reply, err)
		}
	}
}

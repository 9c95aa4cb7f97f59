package external_test

import (
	"encoding/json"
	"testing"

	"kondate/domain/menu"
	"kondate/handlers/stage/external"
)

// Whatever a worker sends is refused or fit for the log.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null", `{"results":[]}`, `{"results":null}`, `{"error":{"reason":"x","permanent":true}}`, `{"error":null}`,
		results(answer("d1", "親子丼")), results(answer("d1", "a"), answer("d2", "b")), `{"results":[{"menu_id":"d1","result":null}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := external.ReadReply(menu.Allergen, raw)
		if err != nil {
			return
		}
		for _, r := range list {
			if err := r.Validate(); err != nil || r.Stage != menu.Allergen || !json.Valid(r.Data) {
				t.Errorf("passed: %v, %+v", err, r)
			}
		}
	})
}

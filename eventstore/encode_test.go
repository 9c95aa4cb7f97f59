package eventstore_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// Whatever a result holds, its body is what encoding/json makes of it, to the byte; or both refuse it.
func TestBodyIsThatOfEncodingJSON(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "<b>&", "\u2028\u2029", "a\x00b\n\t\"\\", "唐揚げ", "\xff\xfe", "\x7f"}))
	list := rapid.Custom(func(t *rapid.T) menu.Strings { return rapid.SliceOfN(text, 0, 3).Draw(t, "list") })
	data := rapid.OneOf(
		rapid.SampledFrom([]json.RawMessage{nil, {}, []byte("null"), []byte("{"), []byte(`{"a": [1, 2 ,"<x>"] }`), []byte(" {\n} "), []byte(`{"k":"\u2028"}`), []byte("{} {}"), []byte(`{"ø":1e5}`)}),
		rapid.Custom(func(t *rapid.T) json.RawMessage {
			raw, err := json.MarshalIndent(map[string]any{text.Draw(t, "key"): text.Draw(t, "value"), "n": rapid.Float64Range(-1e9, 1e9).Draw(t, "n")}, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}),
	)
	rapid.Check(t, func(t *rapid.T) {
		event := menu.StageCompleted{Stage: menu.Stage(rapid.IntRange(0, menu.StageCount).Draw(t, "stage"))}
		for range rapid.IntRange(0, 3).Draw(t, "results") {
			r := menu.DishResult{ID: menu.DishID(text.Draw(t, "id")), Epoch: rapid.Int().Draw(t, "epoch"), Attempt: rapid.Int().Draw(t, "attempt")}
			r.Result = menu.Result{
				Stage: menu.Stage(rapid.IntRange(0, menu.StageCount).Draw(t, "result stage")), Status: menu.ResultStatus(text.Draw(t, "status")),
				Provider: text.Draw(t, "provider"), ProviderVersion: text.Draw(t, "version"), Basis: menu.Basis(text.Draw(t, "basis")),
				Confidence: rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, 0.87, 1e-7, 1e21, math.NaN(), math.Inf(1)})).Draw(t, "confidence"),
				Data:       data.Draw(t, "data"), Warnings: list.Draw(t, "warnings"), Attribution: list.Draw(t, "attribution"),
				ElapsedMS: rapid.Int64().Draw(t, "elapsed"),
				CachedAt: rapid.Ptr(rapid.Custom(func(t *rapid.T) time.Time {
					return time.UnixMicro(rapid.Int64Range(0, 1<<52).Draw(t, "cached")).UTC()
				}), true).Draw(t, "cached_at"),
			}
			if rapid.Bool().Draw(t, "has error") {
				s := text.Draw(t, "error")
				r.Result.Error = &s
			}
			event.Results = append(event.Results, r)
		}
		want, wantErr := json.Marshal(event)
		got, err := eventstore.EncodeBody(event)
		if (err == nil) != (wantErr == nil) || err == nil && string(got) != string(want) {
			t.Fatalf("the body is\n%s (%v), encoding/json says\n%s (%v)", got, err, want, wantErr)
		}
	})
}

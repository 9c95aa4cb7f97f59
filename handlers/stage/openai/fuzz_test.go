package openai_test

import (
	"slices"
	"strings"
	"testing"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/handlers/stage/openai"
)

// Whatever a model says does not count, or becomes a result that is fit for the log and warns of no less than before.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null", "[]", results(), results(entry("1", "unknown", "null")), results(entry("1", "ok", described)), results(entry("1", "ok", allergens())),
		results(entry("1", "ok", allergens(allergen("milk", "contains"), allergen("egg", "may_contain")))), results(entry("1", "partial", `{"query":"a"}`)),
		results(entry("1", "ok", `{"kana":"えび","say_it":null}`)), results(entry("1", "ok", `{"kana":"ー・","say_it":""}`)),
		results(entry("1", "ok", `{"labels":[{"code":"vegan","verdict":"yes","reason":"x"}]}`)),
		results(entry("1", "ok", `{"spiciness":4,"taste":["a"],"texture":[],"pairing":[]}`)),
		results(entry("1", "ok", `{"translation":"a","category_translation":"","keep_term":"","literal":null,"alternatives":[]}`)),
		results(entry("1", "ok", `{"ingredients":[{"name":"a","name_source":"","role":"main","certainty":"usual","food_group":"egg"}],"cooking_methods":[],"cuisine":""}`)),
	} {
		for s := range menu.StageCount {
			f.Add(uint8(s), seed)
		}
	}
	k := knowledge(f)
	var all [menu.StageCount]*openai.Provider
	for _, s := range menu.Stages() {
		p, err := openai.New(openai.Config{Model: model}, k, s)
		if err != nil {
			f.Fatal(err)
		}
		all[s] = p
	}
	f.Fuzz(func(t *testing.T, number uint8, said string) {
		of := menu.Stage(number % uint8(menu.StageCount))
		r := request(of, "海老フリット 謎ソース", "揚げ物")
		result, counts := all[of].Take(r, said)
		if !counts {
			return
		}
		if err := result.Validate(); err != nil || result.Stage != of {
			t.Errorf("passed: %v, %+v", err, result)
		}
		before := alone(t, r)
		if result.Basis == menu.BasisModel && result.Confidence > 0.9 {
			t.Errorf("confidence %v", result.Confidence)
		}
		switch of {
		case menu.Allergen:
			after := data[cuisine.AllergenData](t, result)
			for _, f := range data[cuisine.AllergenData](t, before).Allergens {
				if got := find(after, f.Code); level(got.Level) < level(f.Level) {
					t.Errorf("%+v became %+v", f, got)
				}
			}
		case menu.Task6:
			after := data[cuisine.DietData](t, result).Labels
			for _, l := range data[cuisine.DietData](t, before).Labels {
				i := slices.IndexFunc(after, func(o cuisine.DietLabel) bool { return o.Code == l.Code })
				fits := strings.HasSuffix(l.Code, "tarian") || l.Code == "vegan"
				if i < 0 || fits && after[i].Verdict == "yes" && l.Verdict != "yes" || !fits && after[i].Verdict == "no" {
					t.Errorf("%+v became %+v", l, after)
				}
			}
		}
	})
}

func level(l string) int { return slices.Index([]string{"may_contain", "likely", "contains"}, l) }

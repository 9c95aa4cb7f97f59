package cuisine_test

import (
	"testing"

	"kondate/domain/cuisine"
)

// A name that says a food contains it, also where its family only usually does:
// a gratin may hold shrimp, a shrimp gratin holds it.
func TestWhatANameSaysIsContained(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, category, code string }{
		{"エビグラタン", "", "shrimp"},
		{"オマール海老のビスク", "", "shrimp"},
		{"かに玉ラーメン", "", "crab"},
		{"ポークカレー", "", "pork"},
		{"豚キムチチゲ", "", "pork"},
		{"水煮肉片", "", "pork"},
		{"牛レバー", "焼肉", "beef"},
		{"カルビクッパ", "焼肉", "beef"},
		{"チーズタッカルビ", "焼肉", "milk"},
		{"釜バターうどん", "", "milk"},
		{"バターナン", "", "milk"},
		{"クリームあんみつ", "和菓子", "milk"},
		{"クロックマダム", "", "egg"},
		{"アボカドエッグトースト", "", "egg"},
		{"ハムマヨパン", "", "egg"},
		{"ポークたまごおにぎり", "", "egg"},
		{"ごまあんまん", "", "sesame"},
		{"麦とろご飯", "", "barley"},
		{"そば味噌", "", "buckwheat"},
		{"紹興酒", "", "wheat"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q := cuisine.Query{Name: tt.name, Category: tt.category, SourceLanguage: "ja", TargetLanguage: "en"}
			if _, level := allergens(t, q); level[tt.code] != "contains" {
				t.Errorf("%s is %q, want contains (%v)", tt.code, level[tt.code], level)
			}
		})
	}
}

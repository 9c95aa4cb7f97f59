package cuisine_test

import (
	"slices"
	"strings"
	"testing"

	"kondate/domain/cuisine"
)

// Names that say something else than their parts do: what is hidden must be
// warned of, and what only the writing names must not.
func TestNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, category string
		contains, not  []string
		line           string // part of the translation
	}{
		{"いかそうめん", "刺身", []string{"squid", "soybean"}, []string{"buckwheat"}, "Raw squid"},
		{"うなぎの肝焼き", "", []string{"fish", "soybean"}, []string{"chicken"}, "eel liver"},
		{"えんがわ", "焼き鳥", []string{"chicken"}, []string{"fish"}, "gizzard"},
		{"えんがわ", "寿司", []string{"fish"}, []string{"chicken"}, "nigiri"},
		{"ちょうちん", "焼鳥", []string{"egg"}, nil, "unlaid egg"},
		{"くるみ豆腐", "先付", []string{"walnut"}, []string{"peanut"}, "Walnut"},
		{"落花生豆腐", "", []string{"peanut"}, []string{"walnut"}, "Peanut"},
		{"玉子豆腐", "", []string{"egg", "fish"}, nil, "egg"},
		{"治部煮", "煮物", []string{"wheat", "soybean", "fish"}, nil, "Duck"},
		{"信州蒸し", "", []string{"buckwheat"}, nil, "buckwheat"},
		{"飛鳥鍋", "", []string{"milk", "chicken"}, nil, "milk"},
		{"ちくわぶ", "おでん", []string{"wheat", "fish"}, nil, "Wheat"},
		{"白味噌雑煮", "", []string{"soybean"}, []string{"chicken"}, "white miso"},
		{"室蘭焼き鳥", "", []string{"pork", "mustard"}, nil, "pork"},
		{"辛子蓮根", "", []string{"mustard", "wheat", "soybean"}, nil, "mustard"},
		{"へしこ", "", []string{"mackerel"}, nil, "Mackerel"},
		{"馬肉寿司", "寿司", nil, []string{"beef"}, "horse"},
		{"いちご煮", "", []string{"abalone"}, nil, "abalone"},
		{"はらこ飯", "", []string{"salmon", "salmon_roe"}, nil, "roe"},
		{"金目の煮付け", "煮付け", []string{"fish", "soybean"}, nil, "kinmedai"},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.category, func(t *testing.T) {
			t.Parallel()
			q := cuisine.Query{Name: tt.name, Category: tt.category, SourceLanguage: "ja", TargetLanguage: "en"}
			_, level := allergens(t, q)
			for _, c := range tt.contains {
				if level[c] != "contains" {
					t.Errorf("%s is %q, want contains (%v)", c, level[c], level)
				}
			}
			for _, c := range tt.not {
				if c, soft := strings.CutSuffix(c, "?"); level[c] == "contains" || (!soft && level[c] != "") {
					t.Errorf("%s is %q", c, level[c])
				}
			}
			tr, ok := load(t).Read(q).Translation().Data.(cuisine.TranslationData)
			if !ok || !strings.Contains(tr.Translation, tt.line) {
				t.Errorf("translated %q, want %q in it", tr.Translation, tt.line)
			}
		})
	}
}

// Raw food that its name does not call raw is labelled.
func TestRawByCustom(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]string{
		"アジのたたき": "raw_fish", "りゅうきゅう": "raw_fish", "てっさ": "raw_fish", "鮒寿司": "raw_fish", "イカの沖漬け": "raw_fish",
		"鶏刺し": "raw_meat", "牛たたき": "raw_meat", "馬肉寿司": "raw_meat", "月見つくね": "raw_egg", "宇和島鯛めし": "raw_egg",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, ok := load(t).Read(cuisine.Query{Name: name, SourceLanguage: "ja", TargetLanguage: "en"}).Diet().Data.(cuisine.DietData)
			if !ok || !slices.ContainsFunc(d.Labels, func(l cuisine.DietLabel) bool { return l.Code == code }) {
				t.Errorf("labels %v, want %s", d.Labels, code)
			}
		})
	}
}

// A heading of its own warns of what stands under it, whatever its name.
func TestHeadingsOfJapaneseMenus(t *testing.T) {
	t.Parallel()
	for heading, code := range map[string]string{"蟹料理": "crab", "牡蠣料理": "mollusc", "海老料理": "shrimp", "ふぐ料理": "fish", "やきとん": "soybean"} {
		t.Run(heading, func(t *testing.T) {
			t.Parallel()
			if _, level := allergens(t, cuisine.Query{Name: "ほげほげ", Category: heading, SourceLanguage: "ja", TargetLanguage: "en"}); level[code] == "" {
				t.Errorf("%s is not warned of (%v)", code, level)
			}
		})
	}
}

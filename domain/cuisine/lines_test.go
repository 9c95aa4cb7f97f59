package cuisine_test

import (
	"slices"
	"testing"

	"kondate/domain/cuisine"
)

func TestTranslation(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, category, source, target, want string }{
		{"親子丼", "", "ja", "en", "Chicken and egg rice bowl (oyakodon)"},
		{"親\u200b子\u200d丼\ufeff", "", "ja", "en", "Chicken and egg rice bowl (oyakodon)"},
		{"若鶏のグリル バジルソース", "", "ja", "en", "Grilled chicken with basil sauce"},
		{"豚の生姜焼き定食", "", "ja", "en", "Ginger pork set meal"},
		{"ﾋﾞｰﾌｶﾚｰ", "", "ja", "en", "Beef curry with rice"},
		{"もつ煮込み…………580円", "", "ja", "en", "Simmered offal in miso (motsu-nikomi)"},
		{"ラ―メン カレ－", "", "ja", "en", "Ramen and curry"},
		{"焼き餃子(5個)", "", "ja", "en", "Pan-fried dumplings (gyoza) (5 pcs)"},
		{"きのことベーコンのクリームパスタ", "", "ja", "en", "Mushroom and bacon cream pasta"},
		{"海老", "天ぷら", "ja", "en", "Shrimp tempura"},
		{"卵", "おでん", "ja", "en", "Oden egg"},
		{"和牛ハラミ", "焼肉", "ja", "en", "Wagyu harami"},
		{"ほげほげ", "", "ja", "en", "ほげほげ"},
		{"冷奴", "", "ja", "ja", "冷奴"},
		{"冷奴", "", "ja", "sw", "冷奴"},
		{"Grilled Atlantic Salmon, Lemon Butter", "", "en", "ja", "大西洋産鮭のグリル レモンバター添え"},
		{"Moules marinières", "", "fr", "ja", "ムール貝の白ワイン蒸し"},
		{"Spaghetti allo scoglio", "", "it", "en", "Seafood tomato pasta (pescatore)"},
		{"Zuppa di pesce", "", "it", "en", "Fish soup"},
		{"Soupe de poisson", "", "fr", "en", "Fish soup"},
		{"Risotto ai gamberi", "", "it", "ja", "海老リゾット"},
		{"Pan-seared salmon, lemon butter, crushed potatoes", "", "en", "ja", "鮭のポワレ レモンバターとつぶしたじゃがいも添え"},
		{"Chicken, leek and ham pie", "", "en", "ja", "鶏肉・ポロねぎ・ハムのパイ"},
		{"Grilled sea bass, fennel and orange salad", "", "en", "ja", "すずきのグリル フェンネルとオレンジのサラダ添え"},
		{"Fillet of cod, chorizo and white beans", "", "en", "ja", "たら チョリソーと白いんげん豆添え"},
		{"Magret de canard rôti, sauce aux cerises, purée de céleri", "", "fr", "en", "Roast duck breast with cherry sauce and mashed celery"},
		{"Salade de tomates, mozzarella et basilic", "", "fr", "en", "Tomato salad with mozzarella and basil"},
		{"Filetto di branzino al forno", "", "it", "en", "Oven-baked sea bass"},
		{"Tagliatelle al ragù d'anatra", "", "it", "en", "Duck ragu tagliatelle"},
		{"Filet de bar purée de céleri", "", "fr", "en", "Sea bass and mashed celery"},
		{"Gnocchi di patate al ragù di agnello", "", "it", "en", "Potato and lamb ragu gnocchi"},
		{"Lamb biryani", "", "en", "ja", "ラム肉ビリヤニ"},
		{"Braised lamb shank, mash, rosemary jus", "", "en", "ja", "仔羊のすね肉の煮込み マッシュポテトとローズマリー風味のジュ添え"},
		{"Cottage pie", "", "en", "ja", "コテージパイ"},
		{"Pavé de saumon à l'oseille", "", "fr", "en", "Salmon with sorrel"},
		{"Tartare de saumon à l'aneth", "", "fr", "ja", "鮭のタルタル ディル添え"},
		{"Tarte aux noix et glace au miel", "", "fr", "en", "Walnut tart and honey ice cream"},
		{"Velouté de champignons, œuf parfait et noisettes torréfiées", "", "fr", "en", "Mushroom soup with soft-boiled egg and toasted hazelnut"},
		{"Bœuf bourguignon, tagliatelles fraîches", "", "fr", "en", "Beef braised in red wine with fresh tagliatelle"},
		{"Onglet de bœuf à l'échalote", "", "fr", "en", "Hanger steak with shallot and red wine sauce"},
		{"Xyzette braisée au miel", "", "fr", "en", "Braised xyzette with honey"},
		{"Abcde croustillante, beurre blanc", "", "fr", "en", "Crispy abcde with beurre blanc"},
		{"La Forestière : champignons, lardons, crème", "Galettes", "fr", "en", "Mushroom galette (buckwheat crepe) with bacon and cream"},
		{"Salade lyonnaise (lardons, œuf poché)", "", "fr", "ja", "リヨン風サラダ"},
		{"Huîtres fines de claire n°3", "", "fr", "ja", "生牡蠣"},
		{"Full English: two eggs, bacon, beans", "", "en", "ja", "フル・イングリッシュ・ブレックファスト 卵・ベーコン・豆添え"},
		{"Chicken, leek and tarragon pie", "", "en", "ja", "鶏肉・ポロねぎ・エストラゴンのパイ"},
		{"Lentil curry (vg)", "", "en", "ja", "レンズ豆のカレー"},
		{"Carré d'agneau rôti en croûte d'herbes, jus corsé", "", "fr", "en", "Herb-crusted roast rack of lamb with meat jus"},
		{"Assiette de saumon fumé, toasts et citron", "", "fr", "en", "Smoked salmon plate with toast and lemon"},
		{"Roast chicken, tarragon cream sauce", "", "en", "ja", "ローストチキン エストラゴンクリームソース添え"},
		{"Canard rôti à la broche", "", "fr", "en", "Spit-roasted duck"},
		{"Canard rôti à la broche", "", "fr", "ja", "鴨のロースト"},
		{"Miso-glazed salmon, rice", "", "en", "ja", "味噌鮭のグラッセ ご飯添え"},
		{"Poisson du marché, sauce vierge", "", "fr", "en", "Fish of the day with sauce vierge"},
		{"Plat du jour", "", "fr", "en", "Dish of the day"},
		{"Gnocchi di zucca al gorgonzola", "", "it", "en", "Pumpkin gnocchi with blue cheese sauce"},
		{"Suprême de volaille, jus au thym", "", "fr", "en", "Chicken with thyme jus"},
		{"Semifreddo al pistacchio", "Dolci", "it", "en", "Semifreddo (soft frozen cream) with pistachio"},
		{"Carpaccio di polpo, rucola e pomodorini", "", "it", "ja", "たこのカルパッチョ ルッコラとトマト添え"},
	}
	for _, tt := range tests {
		r := load(t).Read(cuisine.Query{Name: tt.name, Category: tt.category, SourceLanguage: tt.source, TargetLanguage: tt.target})
		d, _ := r.Translation().Data.(cuisine.TranslationData)
		if d.Translation != tt.want {
			t.Errorf("%s → %s: got %q, want %q", tt.name, tt.target, d.Translation, tt.want)
		}
	}
}

func TestUnsupportedLanguageIsSaid(t *testing.T) {
	t.Parallel()
	a := load(t).Read(cuisine.Query{Name: "冷奴", SourceLanguage: "ja", TargetLanguage: "sw"}).Translation()
	if a.Status != cuisine.StatusUnknown || len(a.Warnings) == 0 {
		t.Errorf("status %s, warnings %q; want unknown and a warning", a.Status, a.Warnings)
	}
}

func TestReadings(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, kana, romaji, macron string }{
		{"親子丼", "おやこどん", "oyakodon", "oyakodon"},
		{"鶏の唐揚げ", "とりのからあげ", "tori no karaage", "tori no karaage"},
		{"牛丼", "ぎゅうどん", "gyudon", "gyūdon"},
		{"ちらし寿司", "ちらしずし", "chirashizushi", "chirashizushi"},
		{"あら汁", "あらじる", "arajiru", "arajiru"},
		{"鶏つくね串", "とりつくねぐし", "toritsukunegushi", "toritsukunegushi"},
		{"鮟鱇鍋", "あんこうなべ", "ankonabe", "ankōnabe"},
		{"抹茶パフェ", "まっちゃぱふぇ", "matcha pafe", "matcha pafe"},
		{"醤油ラーメン", "しょうゆらーめん", "shoyu ramen", "shōyu rāmen"},
		{"海老とブロッコリーのサラダ", "えびとぶろっこりーのさらだ", "ebi to burokkori no sarada", "ebi to burokkorī no sarada"},
		{"仔牛のグリル", "こうしのぐりる", "koushi no guriru", "koushi no guriru"},
		{"大とろ", "おおとろ", "otoro", "ōtoro"},
		{"ボタンエビ", "ぼたんえび", "botanebi", "botan'ebi"},
		{"豚丼", "ぶたどん", "butadon", "butadon"},
		{"ネギトロ丼", "ねぎとろどん", "negitorodon", "negitorodon"},
	}
	for _, tt := range tests {
		d, _ := load(t).Read(cuisine.Query{Name: tt.name, TargetLanguage: "en"}).Pronunciation().Data.(cuisine.PronunciationData)
		if d.Kana != tt.kana || d.Romaji != tt.romaji || d.RomajiMacron != tt.macron {
			t.Errorf("%s: got %s %q %q, want %s %q %q", tt.name, d.Kana, d.Romaji, d.RomajiMacron, tt.kana, tt.romaji, tt.macron)
		}
	}
	d, _ := load(t).Read(cuisine.Query{Name: "親子丼", TargetLanguage: "en"}).Pronunciation().Data.(cuisine.PronunciationData)
	if d.SayIt == nil || *d.SayIt != "oh-yah-koh-don" || d.OrderPhrase.Source != "親子丼をください。" || d.OrderPhrase.Translated != "Oyakodon, please." {
		t.Errorf("say it and order phrase: %v %+v", d.SayIt, d.OrderPhrase)
	}
}

func TestParsePrice(t *testing.T) {
	t.Parallel()
	tests := []struct {
		printed  string
		amount   float64 // negative: none
		currency string
		market   bool
	}{
		{"￥１，２８０－", 1280, "JPY", false},
		{"千二百五十円也", 1250, "JPY", false},
		{"一、八〇〇円", 1800, "JPY", false},
		{"四〇〇円", 400, "JPY", false},
		{"869円(税込956円)", 956, "JPY", false},
		{"580円(税込638円)〜 / 2名様より", 638, "JPY", false},
		{"時価", -1, "", true},
		{"MP", -1, "", true},
		{"€6,50", 6.5, "EUR", false},
		{"9,50 €", 9.5, "EUR", false},
		{"$9.50", 9.5, "USD", false},
		{"450", 450, "JPY", false},
		{"無料", 0, "", false},
		{"ドリンク代+100円", -1, "JPY", false},
		{"-99999999999999999999円", -1, "JPY", false},
		{"お問い合わせください", -1, "", false},
	}
	for _, tt := range tests {
		p := cuisine.ParsePrice(tt.printed, "ja")
		amount, currency := -1.0, ""
		if p.Amount != nil {
			amount = *p.Amount
		}
		if p.Currency != nil {
			currency = *p.Currency
		}
		if amount != tt.amount || currency != tt.currency || p.MarketPrice != tt.market || p.Printed == nil || *p.Printed != tt.printed {
			t.Errorf("%s: amount %v, currency %q, market %v", tt.printed, amount, currency, p.MarketPrice)
		}
	}
}

func TestByLaw(t *testing.T) {
	t.Parallel()
	k := load(t)
	var codes []string
	for _, l := range k.Allergens() {
		codes = append(codes, l.Code)
	}
	for law, want := range map[cuisine.Law]int{cuisine.LawJapan: 29, cuisine.LawJapanLegacy: 28, cuisine.LawEU: 14, cuisine.LawUS: 9} {
		if got := k.ByLaw(law, codes); len(got) != want {
			t.Errorf("%s has %d items, want %d: %v", law, len(got), want, got)
		}
	}
	if got := k.ByLaw(cuisine.LawEU, []string{"salmon", "fish", "wheat", "barley", "egg"}); !slices.Equal(got, []string{"fish", "gluten", "eggs"}) {
		t.Errorf("EU: %v", got)
	}
	if k.ByLaw("mars", codes) == nil || len(k.ByLaw("mars", codes)) != 0 {
		t.Error("an unknown law must yield an empty list")
	}
}

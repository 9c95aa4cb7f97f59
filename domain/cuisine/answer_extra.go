package cuisine

import (
	"net/url"
	"strings"
)

// SearchData is the answer of stage "search_engine". Offline there are no
// pictures: it holds the query, links and a placeholder.
type SearchData struct {
	Query       string       `json:"query"`
	Images      []Image      `json:"images"`
	SearchLinks []SearchLink `json:"search_links"`
	Placeholder Placeholder  `json:"placeholder"`
}

// Image is a picture found elsewhere, with licence and credit.
type Image struct {
	URL          string  `json:"url"`
	ThumbnailURL *string `json:"thumbnail_url"`
	PageURL      string  `json:"page_url"`
	Title        string  `json:"title"`
	Creator      *string `json:"creator"`
	License      *string `json:"license"`
	LicenseURL   *string `json:"license_url"`
	Attribution  *string `json:"attribution"`
	Width        *int    `json:"width"`  // pixels
	Height       *int    `json:"height"` // pixels
	Source       string  `json:"source"`
}

// SearchLink leads to a search at some engine.
type SearchLink struct {
	Engine string `json:"engine"`
	URL    string `json:"url"`
}

// Placeholder stands where a picture would.
type Placeholder struct {
	Kind  string `json:"kind"` // emoji or svg
	Value string `json:"value"`
	Label string `json:"label"`
}

// PronunciationData is the answer of stage "task7".
type PronunciationData struct {
	Kind          string      `json:"kind"` // "pronunciation"
	Kana          string      `json:"kana"`
	Romaji        string      `json:"romaji"`
	RomajiMacron  string      `json:"romaji_macron"`
	SayIt         *string     `json:"say_it"`
	OrderPhrase   OrderPhrase `json:"order_phrase"`
	ReadingSource string      `json:"reading_source"` // kb, rule, none
}

// OrderPhrase is a sentence to order with.
type OrderPhrase struct {
	Source     string `json:"source"`
	Romaji     string `json:"romaji"`
	Translated string `json:"translated"`
}

// TasteData is the answer of stage "task8". Nutrition is always nil: no cited
// table is embedded.
type TasteData struct {
	Kind      string         `json:"kind"`      // "taste"
	Spiciness int            `json:"spiciness"` // 0 (not hot) to 4
	Taste     []string       `json:"taste"`
	Texture   []string       `json:"texture"`
	Price     Price          `json:"price"`
	Pairing   []string       `json:"pairing"`
	Nutrition map[string]any `json:"nutrition"`
}

// ImageSearch answers with what to search for.
func (r Reading) ImageSearch() Answer {
	d := SearchData{Images: []Image{}, SearchLinks: []SearchLink{}, Placeholder: Placeholder{"emoji", "🍽️", r.say("dish", "料理")}}
	a := r.answer()
	if r.basis == BasisExact || r.basis == BasisComposed {
		d.Query = cut(r.query(), 120)
		a.Status = StatusPartial
		if r.partial {
			a.Confidence = 0.4
		}
	}
	if r.family != nil && r.basis != BasisNone {
		d.Placeholder = Placeholder{"emoji", r.family.Emoji, or(r.say(r.family.Bare, r.family.ja), r.family.English)}
	}
	if r.dish != nil && r.dish.Emoji != "" {
		d.Placeholder.Value = r.dish.Emoji
	}
	if d.Query == "" {
		a.Status, a.Confidence = StatusUnknown, 0
	} else {
		d.SearchLinks = SearchLinks(d.Query)
	}
	a.Data = d
	return a
}

// SearchLinks leads to the pictures that a query finds, at engines that state licence and credit.
func SearchLinks(query string) []SearchLink {
	q := url.QueryEscape(query)
	return []SearchLink{
		{"Wikimedia Commons", "https://commons.wikimedia.org/w/index.php?search=" + q},
		{"Openverse", "https://openverse.org/search/image?q=" + q},
	}
}

// query prefers the dish's own word; pictures are found by it better than by
// the translated line.
func (r Reading) query() string {
	en := strings.TrimSuffix(r.lineEN, "…")
	if r.dish != nil && r.source == "ja" {
		plain, _ := romanise(r.dish.kana)
		if term := r.keepTerm(); term != "" {
			plain = term
		}
		if strings.EqualFold(plain, r.dish.English) || plain == "" {
			return en
		}
		return plain + " " + r.dish.English
	}
	return en
}

// Pronunciation answers with the reading and a sentence to order with.
func (r Reading) Pronunciation() Answer {
	d := PronunciationData{Kind: "pronunciation", ReadingSource: "none"}
	a := r.answer()
	if r.source != "ja" && !containsJapanese(r.printed) {
		return r.pronounceLatin(d, a)
	}
	name := r.orderName()
	if r.said.kana != "" && !r.notDish {
		d.Kana = hiraganaOf(r.said.kana)
		d.Romaji, d.RomajiMacron = romanise(r.said.kana)
		d.SayIt = pointer(sayIt(r.said.kana))
		d.ReadingSource = "rule"
		a.Status, a.Confidence = StatusOK, 0.9
		if r.said.whole {
			d.ReadingSource, a.Confidence = "kb", 0.98
		}
		if r.basis == BasisNone || r.basis == BasisCategory {
			a.Status, a.Confidence = StatusPartial, 0.6
		}
		if r.said.guessed {
			a.Status, a.Confidence = StatusPartial, 0.5
			a.Warnings = append(a.Warnings, r.say("A part of the reading is a guess: show the printed name as well.", "読み方の一部は推定です。"))
		}
		d.OrderPhrase = OrderPhrase{name + "をください。", d.Romaji + " o kudasai", upperFirst(d.Romaji) + ", please."}
		if r.textLang == "ja" {
			d.OrderPhrase.Translated = d.OrderPhrase.Source
		}
	} else {
		a.Status, a.Confidence = StatusUnknown, 0
		d.OrderPhrase = OrderPhrase{"これをください。", "kore o kudasai", r.say("This one, please. (Point at the menu.)", "これをください。")}
	}
	a.Data = d
	return a
}

func (r Reading) pronounceLatin(d PronunciationData, a Answer) Answer {
	name := cut(r.printed, 80)
	translated := name
	if t, ok := r.Translation().Data.(TranslationData); ok {
		translated = t.Translation
	}
	phrase := map[string][2]string{
		"fr": {"Je voudrais ", ", s'il vous plaît."}, "it": {"Vorrei ", ", per favore."},
	}[r.source]
	if phrase[0] == "" {
		phrase = [2]string{"I'd like the ", ", please."}
	}
	d.OrderPhrase = OrderPhrase{phrase[0] + name + phrase[1], "", r.say(upperFirst(translated)+", please.", translated+"をください。")}
	if a.Status == StatusOK {
		a.Status = StatusPartial
	}
	a.Warnings = append(a.Warnings, r.say("No reading in kana is kept for this language.", "この言語の読み方は収録していません。"))
	a.Data = d
	return a
}

// orderName is the printed name without brackets, prices and decoration.
func (r Reading) orderName() string {
	main, _ := brackets(simplify(r.printed))
	return cut(strings.TrimSpace(strings.Join(strings.FieldsFunc(string(main), func(c rune) bool {
		return isGap(c) && c != '・' && c != '-' && c != '\''
	}), " ")), 80)
}

// Taste answers with flavour, heat and the price as a number.
func (r Reading) Taste() Answer {
	d := TasteData{Kind: "taste", Taste: []string{}, Texture: []string{}, Pairing: []string{}, Price: ParsePrice(r.q.Price, r.source)}
	a := r.answer()
	if r.basis == BasisExact || r.basis == BasisComposed {
		for _, t := range []*term{r.dish, r.last, r.family} {
			if t == nil {
				continue
			}
			if len(d.Taste) == 0 {
				d.Taste = commaList(t.Taste)
			}
			if len(d.Texture) == 0 {
				d.Texture = commaList(t.Texture)
			}
			if len(d.Pairing) == 0 {
				d.Pairing = commaList(t.Pairing)
			}
			d.Spiciness = max(d.Spiciness, t.Hot)
		}
		for _, u := range r.uses {
			if u.cert > possible && u.role != "hidden" {
				d.Spiciness = max(d.Spiciness, u.term.Hot)
			}
		}
		if a.Status == StatusOK && len(d.Taste) == 0 {
			a.Status = StatusPartial
		}
	}
	a.Data = d
	return a
}

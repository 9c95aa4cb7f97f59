package cuisine

import (
	"regexp"
	"slices"
	"strings"
)

// food adds an ingredient. Two words for one meat are one: in 和牛ロース and
// 豚カルビ the first names the animal, the second the cut.
func (c *composer) food(t token) {
	p := phrase{
		en: t.term.English, ja: t.term.ja, uses: t.term.parts, term: t.term, open: true,
		sauce: t.term.kind == kindSauce || t.term.Role == "sauce" || t.term.isSeasoning(), start: t.start, food: true,
	}
	if !p.sauce {
		p.short = t.term.Bare
	}
	if c.cut(p) || c.compound(p) {
		return
	}
	if n := len(c.phrases); n > 0 && !c.joined && t.term.Group == "meat" && c.cutOf(t) {
		if last := &c.phrases[n-1]; last.open && last.term != nil && last.term.Group == "meat" {
			for _, m := range slices.Backward(c.pending) {
				p.adorn(m)
			}
			c.pending = nil
			cut := p.inner()
			if animal := or(last.term.Bare, last.term.English); !strings.Contains(cut, animal) {
				cut = animal + " " + animalWord.ReplaceAllString(cut, "")
			}
			last.en, last.short, last.ja = cut, "", last.ja+p.ja
			return
		}
	}
	c.push(p)
}

var animalWord = regexp.MustCompile(`\b(?:beef|pork|chicken) `)

// cutOf tells whether a meat can be the cut of the one before it: 和牛ロース. A gap between them (黒毛和牛 特選ロース) is
// none only where the first is just an animal and the second names none: 鶏もも 豚バラ are two.
func (c *composer) cutOf(t token) bool {
	if !c.barrier && len(c.pending) == 0 {
		return true
	}
	adjectives := !slices.ContainsFunc(c.pending, func(m *term) bool { return m.kind != kindModifier })
	last := c.phrases[len(c.phrases)-1].term
	return adjectives && !c.west && last != nil && slices.Contains([]string{"wagyu", "beef", "pork", "chicken", "lamb"}, last.ID) &&
		!strings.ContainsAny(t.text, "牛豚鶏鳥羊馬鴨")
}

// stranger adds a word that no table has, in its romaji where that can be read: 島豆腐 is shima tofu, フルーツポンチ fruit
// ponchi.
func (c *composer) stranger(t token, foodFollows bool) {
	c.unknown = append(c.unknown, t.text)
	en := t.text
	if kana := c.guess(t.text); kana != "" {
		en, _ = romanise(kana)
	}
	last := len(c.phrases) - 1
	switch {
	case foodFollows && containsJapanese(t.text):
		c.pending = append(c.pending, &term{kind: kindModifier, record: record{English: en}, ja: t.text})
	case last >= 0 && !c.barrier && !c.joined && len(c.pending) == 0 && containsJapanese(t.text) && !c.withNext:
		p := &c.phrases[last]
		p.en, p.ja, p.short = p.inner()+" "+en, p.ja+t.text, ""
	default:
		c.push(phrase{en: en, ja: t.text, open: true, start: t.start})
	}
}

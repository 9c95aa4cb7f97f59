package cuisine

import (
	"slices"
	"strings"
	"unicode"
)

// token is a stretch of a name: a known term, a count, a gap or unknown text.
type token struct {
	start, end int // in runes of the text
	term       *term
	dish       *term  // the dish of the same name, should the word stand alone
	read       string // the word's reading in this spelling
	count      string // "5 pcs"
	gap        bool
	kept       bool // unknown, and yet what the dish is called
	text       string
}

func (t token) unknown() bool { return t.term == nil && t.count == "" && !t.gap }

// Costs of the segmentation: any known word beats unknown runes, fewer words
// beat more, and a lone kana is the last resort.
const (
	costUnknown  = 100
	costWord     = 10
	costLoneKana = 35
	maxPhrase    = 44 // runes of the longest Latin phrase looked up
)

// segment splits a simplified text into the fewest known words. Latin words
// match only as a whole, so "egg" is never found in "eggplant".
func (k *Knowledge) segment(text []rune, families []*term, lang string) []token {
	text = phraseGaps(text)
	folded := foldKana(text)
	n := len(text)
	type step struct {
		cost, len int
		word      word
		count     string
	}
	best := make([]step, n+1)
	for i := n - 1; i >= 0; i-- {
		if isGap(text[i]) {
			best[i] = step{cost: best[i+1].cost, len: 1}
			continue
		}
		best[i] = step{cost: best[i+1].cost + costUnknown, len: 1}
		if !startsWord(text, i) {
			continue
		}
		if l, text, read := k.matchCount(folded, i); l > 0 {
			if cost := costWord + 1 + best[i+l].cost; cost < best[i].cost {
				best[i] = step{cost: cost, len: l, count: text, word: word{sense: sense{read: read}}}
			}
		}
		limit := k.longest
		if scriptOf(text[i]) == scriptLatin {
			limit = maxPhrase
		}
		for j := i + 1; j <= n && j-i <= limit; j++ {
			if !endsWord(text, j) {
				continue
			}
			t := k.lookup(folded[i:j], families, lang)
			if t.term == nil {
				continue
			}
			cost := costWord + best[j].cost
			if j-i == 1 && isKanaRune(text[i]) {
				cost += costLoneKana - costWord
			}
			if cost < best[i].cost || (cost == best[i].cost && j-i > best[i].len) {
				best[i] = step{cost: cost, len: j - i, word: t}
			}
		}
	}
	var out []token
	for i := 0; i < n; {
		s := best[i]
		out = append(out, token{start: i, end: i + s.len, term: s.word.term, dish: s.word.dish, read: s.word.read, count: s.count, gap: isGap(text[i]), text: string(text[i : i+s.len])})
		i += s.len
	}
	return distrust(merge(out), text)
}

// phraseGaps turns the signs that stand inside Latin phrases (l'oignon, mac-n-
// cheese) into blanks and collapses them, as the index does.
func phraseGaps(text []rune) []rune {
	out := make([]rune, 0, len(text))
	for _, r := range text {
		if r == '\'' || r == '-' || r == '.' {
			r = ' '
		}
		if r == ' ' && (len(out) == 0 || out[len(out)-1] == ' ') {
			continue
		}
		out = append(out, r)
	}
	return out
}

// word is what a stretch of text means: as a part of a longer name, and as a
// dish when it stands alone. A word that is only a dish is both.
type word struct {
	sense
	dish *term
}

func (k *Knowledge) meanings(key string, families []*term) word {
	part, ok := choose(k.terms[key], families)
	dish, isDish := choose(k.menu[key], families)
	if !ok && !dish.whole {
		part = dish
	}
	if !isDish {
		return word{part, nil}
	}
	if part.term == nil {
		part.read = dish.read
	}
	return word{part, dish.term}
}

// lookup finds a word: Latin ones first in the menu's language, then in the
// others, at last without a plural ending.
func (k *Knowledge) lookup(key []rune, families []*term, lang string) word {
	s := string(key)
	if strings.HasSuffix(s, " ") {
		return word{}
	}
	if w := k.meanings(s, families); w.term != nil || w.dish != nil || scriptOf(key[0]) != scriptLatin {
		return w
	}
	for i, l := range [...]string{lang, "en", "fr", "it"} {
		if w := k.meanings(l+":"+s, families); w.term != nil {
			return w
		}
		if i > 0 && len(s) <= 3 {
			return word{} // short words differ between the languages
		}
	}
	if stem := strings.TrimRight(s, "sx"); lang == "fr" && len(stem) == len(s)-1 && len(stem) > 3 { // harengs, and the loan word tagliatelles
		for _, l := range [...]string{"fr:", "it:"} {
			if w := k.meanings(l+stem, families); w.term != nil {
				return w
			}
		}
	}
	for _, p := range [...][2]string{{"ies", "y"}, {"es", ""}, {"s", ""}} {
		if stem, ok := strings.CutSuffix(s, p[0]); ok && len(stem) > 2 {
			if w := k.meanings("en:"+stem+p[1], families); w.term != nil {
				return w
			}
		}
	}
	return word{}
}

func startsWord(text []rune, i int) bool {
	switch toHiragana(text[i]) {
	case 'ー', 'ん', 'ゃ', 'ゅ', 'ょ', 'ぁ', 'ぃ', 'ぅ', 'ぇ', 'ぉ', 'っ':
		return false
	default:
	}
	return i == 0 || !sameWord(text[i-1], text[i])
}

func endsWord(text []rune, j int) bool {
	if j == len(text) {
		return true
	}
	switch toHiragana(text[j]) {
	case 'ー', 'ん', 'ゃ', 'ゅ', 'ょ', 'ぁ', 'ぃ', 'ぅ', 'ぇ', 'ぉ', 'っ':
		return false
	default:
		return !sameWord(text[j-1], text[j])
	}
}

// sameWord tells two neighbours that no word border can part.
func sameWord(a, b rune) bool {
	sa, sb := scriptOf(a), scriptOf(b)
	return (sa == scriptLatin && sb == scriptLatin) || (sa == scriptDigit && sb == scriptDigit)
}

// merge joins neighbouring unknown runes.
func merge(in []token) []token {
	out := in[:0:0]
	for _, t := range in {
		if n := len(out); n > 0 && t.unknown() && out[n-1].unknown() {
			out[n-1].end, out[n-1].text = t.end, out[n-1].text+t.text
			continue
		}
		out = append(out, t)
	}
	return out
}

// segments cuts tokens where a gap or "and" stands; each piece is a thought of
// its own, so that one unreadable piece does not spoil the others.
func segments(tokens []token) [][]token {
	var out [][]token
	start := 0
	for i, t := range tokens {
		if t.gap || (t.term != nil && t.term.Role == roleAnd) {
			out = append(out, tokens[start:i], tokens[i:i+1])
			start = i + 1
		}
	}
	return append(out, tokens[start:])
}

// readable keeps the segments that name some food and lists the text of the
// others. Without any gap everything stays: the whole is one thought.
func readable(tokens []token) (kept []token, dropped []string) {
	for _, s := range segments(tokens) {
		unknown, food, text := 0, 0, ""
		for _, t := range s {
			text += t.text
			switch {
			case t.unknown():
				unknown++
			case t.term != nil && t.term.kind != kindModifier:
				food++
			}
		}
		if unknown > 0 && food == 0 && len(s) < len(tokens) && !slices.ContainsFunc(s, func(t token) bool { return t.kept }) {
			if strings.ContainsFunc(text, unicode.IsLetter) {
				dropped = append(dropped, text)
			}
			continue
		}
		kept = append(kept, s...)
	}
	return kept, dropped
}

// distrust gives up short matches that touch unknown text of the same script:
// most likely they are a piece of a word we do not know.
func distrust(tokens []token, text []rune) []token {
	for changed := true; changed; {
		changed = false
		for i, t := range tokens {
			if !t.unknown() {
				continue
			}
			if i > 0 && weak(tokens[i-1], scriptOf(text[tokens[i-1].end-1]), scriptOf(text[t.start]), false) {
				tokens[i-1].term, tokens[i-1].count, changed = nil, "", true
			}
			if i+1 < len(tokens) && weak(tokens[i+1], scriptOf(text[tokens[i+1].start]), scriptOf(text[t.end-1]), true) {
				tokens[i+1].term, tokens[i+1].count, changed = nil, "", true
			}
		}
		tokens = merge(tokens)
	}
	return tokens
}

func weak(t token, own, other script, after bool) bool {
	if t.term == nil || own != other || (after && (t.term.kind == kindHead || t.term.kind == kindMethod)) {
		return false
	}
	n := t.end - t.start
	switch own {
	case scriptKatakana:
		return n < 4
	case scriptHiragana:
		return n < 3
	case scriptKanji:
		return n < 2
	case scriptLatin, scriptDigit, scriptOther:
		return false
	}
	return false
}

package cuisine

import "strings"

// reading is how a name is said.
type reading struct {
	kana    string // with a blank between words; empty when not known
	whole   bool   // the tables have it as one word
	guessed bool   // a part was put together from the readings of its kanji
}

// spell puts the reading together from the words' readings. It gives up when
// a word has none: half a reading would mislead.
func (k *Knowledge) spell(tokens []token) reading {
	var b strings.Builder
	guessed := false
	for i, t := range tokens {
		if t.gap {
			b.WriteByte(' ')
			continue
		}
		word := ""
		switch {
		case t.count != "":
			extra := i > 0 && tokens[i-1].gap && i == len(tokens)-1 && scriptOf([]rune(t.text)[0]) == scriptDigit
			if t.read == "" || extra {
				continue // 餃子 5個: not needed to order
			}
			word = t.read
		case t.term == nil:
			if word = t.text; !isKana(word) {
				if word = k.guess(word); word == "" {
					return reading{}
				}
				guessed = true
			}
		case !containsJapanese(t.text) && t.term.kind == kindModifier:
			continue
		default:
			word = t.read
			suffix := i > 0 && (tokens[i-1].unknown() || (tokens[i-1].term != nil && tokens[i-1].term.Role == ""))
			if suffix && voiced(t.read, t.term) {
				word = t.term.SufKana
			}
			if word == "" {
				if t.term.kind == kindModifier && t.term.Role == roleDrop {
					continue
				}
				return reading{}
			}
			if suffix && t.term.Glue {
				b.WriteString(word)
				continue
			}
		}
		b.WriteByte(' ')
		b.WriteString(word)
	}
	return reading{kana: strings.Join(strings.Fields(b.String()), " "), whole: len(tokens) == 1 && !guessed, guessed: guessed}
}

// voiced tells whether the reading that a term has behind another word (丼 どん, 串 ぐし) is one of this spelling: of the
// usual one, or the same with its first sound changed. 椀 わん stays what it is, though 汁 is じる.
func voiced(read string, t *term) bool {
	read, suffix := hiraganaOf(read), hiraganaOf(t.SufKana)
	if suffix == "" || read == "" {
		return false
	}
	return read == hiraganaOf(t.kana) || string([]rune(read)[1:]) == string([]rune(suffix)[1:])
}

// printedReading finds the reading of a name in kanji that stands in brackets behind it: 春子(かすご).
func printedReading(main []rune, extras [][]rune) (reading, bool) {
	for _, r := range main {
		if s := scriptOf(r); s != scriptKanji && r != ' ' {
			return reading{}, false
		}
	}
	if len(extras) == 1 && len(extras[0]) > 1 && isKana(string(extras[0])) {
		return reading{kana: string(extras[0])}, true
	}
	return reading{}, false
}

// guess reads a word that no table explains from the usual readings of its kanji in names of food, or returns "". Kana
// that the last kanji's reading holds already are not said twice: 押し, 変わり.
func (k *Knowledge) guess(text string) string {
	rs := []rune(text)
	var out strings.Builder
	for i := 0; i < len(rs); {
		if isKanaRune(rs[i]) {
			out.WriteRune(rs[i])
			i++
			continue
		}
		t, end := (*term)(nil), 0
		for end = min(len(rs), i+4); end > i; end-- {
			if t = k.kanji[string(rs[i:end])]; t != nil {
				break
			}
		}
		if t == nil {
			return ""
		}
		word := t.kana
		if t.SufKana != "" && i > 0 && end == len(rs) {
			word = t.SufKana
		}
		n := end
		for n < len(rs) && isKanaRune(rs[n]) {
			n++
		}
		after := string(foldKana(rs[end:n]))
		for n := min(len(after), len(word)); n > 0; n-- {
			if strings.HasPrefix(after, word[len(word)-n:]) {
				word = word[:len(word)-n]
				break
			}
		}
		out.WriteString(word)
		i = end
	}
	return out.String()
}

package cuisine

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxName bounds the work for one name; a menu line is far shorter.
const maxName = 512

var (
	tagPattern    = regexp.MustCompile(`<[/!a-z][^<>]{0,80}>`)
	pricePattern  = regexp.MustCompile(`[¥$€£]\s?\d[\d,.]*-?|\d[\d,.]*\s?(?:円|yen|[€£$])(?:也)?`)
	leaderPattern = regexp.MustCompile(`[.・_=…]{2,}|-{2,}|[―—]{2,}`)
)

// oldForms folds old, variant and mistaken characters that print menus use.
func oldForm(r rune) rune {
	switch r {
	case '麥':
		return '麦'
	case '雞', '鷄':
		return '鶏'
	case '壽':
		return '寿'
	case '鹽':
		return '塩'
	case '蕞':
		return '蕎'
	case '餠':
		return '餅'
	case '嶋':
		return '島'
	case '麵', '麪':
		return '麺'
	case '醬':
		return '醤'
	case '鰕', '蝦':
		return '蝦'
	case '噌':
		return '噌'
	case '“', '”', '„', '«', '»':
		return '"'
	case '’', '‘', 'ʼ', '´', '`':
		return '\''
	default:
		return r
	}
}

// clean makes the printed text readable for people: compatibility forms
// unified, invisible and control characters gone, blanks collapsed. Case,
// brackets and accents stay.
func clean(s string) string {
	if len(s) > 8*maxName {
		s = s[:8*maxName]
	}
	s = strings.ToValidUTF8(s, "")
	s = strings.ReplaceAll(s, "－", "ー") // before NFKC turns it into a hyphen
	s = norm.NFKC.String(s)
	var b strings.Builder
	var prev rune
	marks, n := 0, 0
	rs := []rune(s)
	waves := strings.Count(s, "〜") + strings.Count(s, "~")
	for i, r := range rs {
		r = oldForm(r)
		switch {
		case isWave(r) && (waves > 1 || (i+1 < len(rs) && !isKanaRune(rs[i+1]))): // 〜季節のフルーツ添え〜
			r = ' '
		case isLongMark(r) && isKanaRune(prev):
			r = 'ー'
		}
		switch {
		case r == '\u034f' || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r) || r == unicode.ReplacementChar:
			continue
		case unicode.Is(unicode.Mn, r):
			if marks++; marks > 2 {
				continue
			}
		case unicode.IsControl(r) || unicode.IsSpace(r):
			r = ' '
		}
		if r == ' ' && (prev == ' ' || n == 0) {
			continue
		}
		if n++; n > maxName {
			break
		}
		b.WriteRune(r)
		prev = r
	}
	return strings.TrimSpace(b.String())
}

// isWave tells the dash that stands for a long vowel in one word (ら〜めん) and around a remark elsewhere.
func isWave(r rune) bool { return r == '~' || r == '〜' }

func isLongMark(r rune) bool {
	switch r {
	case '‐', '‑', '‒', '–', '—', '―', '−', '~', '〜', '～', 'ｰ':
		return true
	default:
		return false
	}
}

// simplify prepares a cleaned text for lookup: lower case, no accents, no
// prices, tags, pictures or leader dots. Scripts stay as they are.
func simplify(s string) []rune {
	s = strings.ToLower(s)
	if strings.ContainsRune(s, '<') {
		s = tagPattern.ReplaceAllString(s, " ")
	}
	if strings.ContainsAny(s, ".・_=…-―—") {
		s = leaderPattern.ReplaceAllString(s, " ")
	}
	if strings.ContainsAny(s, "0123456789") {
		s = pricePattern.ReplaceAllString(s, " ")
	}
	out := make([]rune, 0, len(s))
	for _, r := range s {
		switch {
		case r == 'œ':
			out = append(out, 'o', 'e')
		case r == 'æ':
			out = append(out, 'a', 'e')
		case r == 'ß':
			out = append(out, 's', 's')
		case r < 0x80:
			out = append(out, r)
		case unicode.Is(unicode.Latin, r):
			for _, base := range norm.NFD.String(string(r)) {
				if !unicode.Is(unicode.Mn, base) {
					out = append(out, base)
				}
			}
		case unicode.Is(unicode.So, r) || unicode.Is(unicode.Sk, r) || unicode.Is(unicode.Mn, r):
			out = append(out, ' ')
		default:
			out = append(out, r)
		}
	}
	return out
}

// foldKana maps katakana to hiragana, so that エビ and えび are one key.
func foldKana(text []rune) []rune {
	out := make([]rune, len(text))
	for i, r := range text {
		out[i] = toHiragana(r)
	}
	return out
}

// lookupKey is the form under which a spelling stands in the index: Latin
// words keep one blank between them, Japanese is written without.
func lookupKey(s string) string {
	if isPlain(s) {
		return string(foldKana([]rune(s)))
	}
	if isPlainLatin(s) {
		return s
	}
	var b strings.Builder
	var prev rune
	for f := range strings.FieldsFuncSeq(string(foldKana(simplify(clean(s)))), isGap) {
		if first, _ := utf8.DecodeRuneInString(f); prev != 0 && first < 0x3000 && prev < 0x3000 {
			b.WriteByte(' ')
		}
		b.WriteString(f)
		prev, _ = utf8.DecodeLastRuneInString(f)
	}
	return b.String()
}

// isPlain tells whether a text has only kana and kanji that are their own key but for the kind of kana. Most spellings of
// the tables are: they need not be normalised.
func isPlain(s string) bool {
	for _, r := range s {
		if !(r >= 'ぁ' && r <= 'ゖ') && !(r >= 'ァ' && r <= 'ヺ') && r != 'ー' && (r < 0x4e00 || r > 0x9fff || oldForm(r) != r) {
			return false
		}
	}
	return s != ""
}

// isPlainLatin tells whether a text has only small letters with single blanks between them, which are their own key.
func isPlainLatin(s string) bool {
	last := byte(' ')
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c != ' ' || last == ' ') {
			return false
		}
		last = c
	}
	return last != ' '
}

// isGap tells the runes that only separate: they never belong to a word.
func isGap(r rune) bool {
	switch r {
	case ' ', '・', ',', '、', '。', '/', '|', '\'', '"', ':', ';', '*', '!', '?', '★', '☆', '=', '#', '`', '.', '-':
		return true
	default:
		return false
	}
}

func isKanaRune(r rune) bool {
	return unicode.In(r, unicode.Hiragana, unicode.Katakana) || r == 'ー'
}

func isKana(s string) bool {
	for _, r := range s {
		if !isKanaRune(r) && r != ' ' && r != '・' {
			return false
		}
	}
	return s != ""
}

func toHiragana(r rune) rune {
	if r >= 'ァ' && r <= 'ヶ' {
		return r - 'ァ' + 'ぁ'
	}
	return r
}

// script classes decide where a word may end inside an unbroken line.
type script int

const (
	scriptOther script = iota
	scriptHiragana
	scriptKatakana
	scriptKanji
	scriptLatin
	scriptDigit
)

func scriptOf(r rune) script {
	switch {
	case r == 'ー' || unicode.Is(unicode.Katakana, r):
		return scriptKatakana
	case unicode.Is(unicode.Hiragana, r):
		return scriptHiragana
	case unicode.Is(unicode.Han, r) || r == '々' || r == '〆':
		return scriptKanji
	case unicode.Is(unicode.Latin, r):
		return scriptLatin
	case unicode.IsDigit(r):
		return scriptDigit
	default:
		return scriptOther
	}
}

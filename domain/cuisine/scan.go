package cuisine

import (
	"slices"
	"strings"
	"unicode"
)

// brackets takes the bracketed parts out of a name. Quoting brackets only
// open up; the others hold details, decoration or claims.
const (
	opening    = "([【〔{「『《〈"
	closing    = ")]】〕}」』》〉"
	anyBracket = opening + closing + "\""
)

// noDish tells lines that are no food: prices, separators, service notes.
func (k *Knowledge) noDish(text []rune) bool {
	letters := false
	for _, r := range text {
		letters = letters || (unicode.IsLetter(r) && r != 'ー')
	}
	folded := string(foldKana(text))
	if !letters || strings.HasPrefix(folded, "※") {
		return true
	}
	return slices.ContainsFunc(k.services, func(s string) bool { return strings.Contains(folded, s) })
}

func brackets(text []rune) (main []rune, extras [][]rune) {
	depth, start := 0, 0
	for i, r := range text {
		switch {
		case r == '"':
			if depth == 0 {
				main = append(main, ' ')
			}
		case strings.ContainsRune(opening, r):
			if depth == 0 {
				start = i + 1
				main = append(main, ' ')
			}
			depth++
		case strings.ContainsRune(closing, r):
			if depth == 1 {
				extras = append(extras, text[start:i])
			}
			depth = max(depth-1, 0)
		case depth == 0:
			main = append(main, r)
		}
	}
	if depth > 0 { // never closed: the rest counts as a detail
		extras = append(extras, text[start:])
	}
	if len(extras) == 1 && strings.TrimSpace(string(main)) == "" { // 「冷奴」: only quoted
		return extras[0], nil
	}
	return main, extras
}

// tokenise finds the whole name as one word, else splits it.
func (k *Knowledge) tokenise(text []rune, families []*term, lang string) []token {
	key := lookupKey(string(text))
	if key != "" {
		if w := k.lookup([]rune(key), families, lang); w.dish != nil || (w.term != nil && w.kind != kindModifier) {
			if w.dish != nil {
				w.term = w.dish
			}
			return alone([]token{{start: 0, end: len(text), term: w.term, dish: w.dish, read: w.read, text: string(text)}})
		}
	}
	return alone(k.segment(text, families, lang))
}

// alone makes a word the dish it names when no other food stands beside it:
// "ramen" is a dish in "ramen (large)" and a head in "miso butter ramen".
func alone(tokens []token) []token {
	food := -1
	for i, t := range tokens {
		if t.gap || t.count != "" || (t.term != nil && t.term.kind == kindModifier) {
			continue
		}
		if food >= 0 || t.term == nil {
			return tokens
		}
		food = i
	}
	if food >= 0 && tokens[food].dish != nil {
		tokens[food].term = tokens[food].dish
	}
	return tokens
}

// soleDish returns the dish when only decoration stands beside it.
func soleDish(tokens []token) *term {
	var dish *term
	for _, t := range tokens {
		switch {
		case t.gap || t.count != "":
		case t.term == nil:
			return nil
		case t.term.kind == kindDish && dish == nil:
			dish = t.term
		case t.term.kind == kindModifier && (t.term.Role == roleDrop || t.term.Role == roleSize || t.term.Role == roleAdjective || t.term.Role == roleClaim || t.term.Role == roleOf):
		default:
			return nil
		}
	}
	return dish
}

func containsJapanese(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return isKanaRune(r) || unicode.Is(unicode.Han, r) })
}

// familiesOf finds the categories that a printed heading names.
func (k *Knowledge) familiesOf(heading string) []*term {
	main, _ := brackets(simplify(clean(heading)))
	key := []rune(lookupKey(string(main)))
	var out []*term
	for i := 0; i < len(key); {
		l := 0
		for j := min(len(key), i+24); j > i; j-- {
			if t := k.categories[string(key[i:j])]; t != nil && endsWord(key, j) && startsWord(key, i) {
				if l = j - i; !slices.Contains(out, t) && t.Role != "generic" {
					out = append(out, t)
				}
				break
			}
		}
		i += max(l, 1)
	}
	return out
}

package cuisine

import "strings"

// mora is one beat of Japanese: consonant and vowel as Hepburn writes them.
type mora struct {
	cons, vowel string
	src         rune // the kana, to tell hiragana from katakana
	long        bool // lengthened by ー
}

// morae splits a reading; a space and "|" come out as empty morae, since long
// vowels never cross them. Signs that are no kana are left out.
func morae(kana string) []mora {
	rs := []rune(kana)
	var out []mora
	for i := 0; i < len(rs); i++ {
		h := toHiragana(rs[i])
		switch h {
		case ' ', '・':
			out = append(out, mora{src: ' '})
			continue
		case '|':
			out = append(out, mora{src: '|'})
			continue
		case 'ー':
			if n := len(out); n > 0 {
				out[n-1].long = true
			}
			continue
		case 'っ':
			out = append(out, mora{cons: "*", src: rs[i]})
			continue
		case 'ん':
			out = append(out, mora{cons: "n", src: rs[i]})
			continue
		}
		if i+1 < len(rs) {
			if m, ok := digraph(h, toHiragana(rs[i+1])); ok {
				m.src = rs[i+1]
				out = append(out, m)
				i++
				continue
			}
		}
		if m, ok := monograph(h); ok {
			m.src = rs[i]
			out = append(out, m)
		}
	}
	return out
}

// hepburn holds three letters for each kana from ぁ to ゖ, in code order.
const hepburn = "a  a  i  i  u  u  e  e  o  o  ka ga ki gi ku gu ke ge ko go sa za " +
	"shiji su zu se ze so zo ta da chiji *  tsuzu te de to do na ni nu " +
	"ne no ha ba pa hi bi pi fu bu pu he be pe ho bo po ma mi mu me mo " +
	"ya ya yu yu yo yo ra ri ru re ro wa wa i  e  o  n  vu ka ke "

func monograph(h rune) (mora, bool) {
	if !hiragana(h) {
		return mora{}, false
	}
	i := int(h-'ぁ') * 3
	return split(strings.TrimRight(hepburn[i:i+3], " ")), true
}

func split(s string) mora { return mora{cons: s[:len(s)-1], vowel: s[len(s)-1:]} }

// digraph reads a kana with a small one after it: きゃ kya, フォ fo, ティ ti.
func digraph(h, small rune) (mora, bool) {
	base, ok := monograph(h)
	if !ok {
		return mora{}, false
	}
	var v string
	switch small {
	case 'ゃ', 'ぁ', 'ゎ':
		v = "a"
	case 'ゅ', 'ぅ':
		v = "u"
	case 'ょ', 'ぉ':
		v = "o"
	case 'ぃ':
		v = "i"
	case 'ぇ':
		v = "e"
	default:
		return mora{}, false
	}
	switch small {
	case 'ゃ', 'ゅ', 'ょ':
		switch base.cons {
		case "sh", "ch", "j":
			return mora{cons: base.cons, vowel: v}, true
		default:
			return mora{cons: base.cons + "y", vowel: v}, true
		}
	default:
	}
	switch base.cons {
	case "f", "v", "sh", "ch", "j", "ts":
		return mora{cons: base.cons, vowel: v}, true
	case "t", "d":
		return mora{cons: base.cons, vowel: v}, true
	case "k", "g":
		return mora{cons: base.cons + "w", vowel: v}, true
	case "":
		if base.vowel == "u" {
			return mora{cons: "w", vowel: v}, true
		}
		if base.vowel == "i" {
			return mora{cons: "y", vowel: v}, true
		}
	default:
	}
	return mora{}, false
}

func macron(vowel string) string {
	switch vowel {
	case "a":
		return "ā"
	case "i":
		return "ī"
	case "u":
		return "ū"
	case "e":
		return "ē"
	default:
		return "ō"
	}
}

func hiragana(r rune) bool { return r >= 'ぁ' && r <= 'ゖ' }

// romanise writes a reading in Hepburn, with macrons and without. In hiragana
// おう, おお and うう are long; katakana marks length with ー only.
func romanise(kana string) (plain, macrons string) {
	var p, m strings.Builder
	ms := morae(kana)
	for i := 0; i < len(ms); i++ {
		x := ms[i]
		if x.src == ' ' {
			p.WriteByte(' ')
			m.WriteByte(' ')
			continue
		}
		cons := x.cons
		if cons == "*" {
			if cons = ""; i+1 < len(ms) && ms[i+1].cons != "" {
				cons = ms[i+1].cons[:1]
				if strings.HasPrefix(ms[i+1].cons, "ch") {
					cons = "t"
				}
			}
			p.WriteString(cons)
			m.WriteString(cons)
			continue
		}
		if cons == "n" && x.vowel == "" && i+1 < len(ms) && (ms[i+1].cons == "" || ms[i+1].cons == "y") && ms[i+1].vowel != "" {
			cons = "n'"
		}
		long := x.long
		if !long && i+1 < len(ms) && ms[i+1].cons == "" && hiragana(x.src) && hiragana(ms[i+1].src) {
			switch x.vowel + ms[i+1].vowel {
			case "ou", "oo", "uu":
				long = true
				i++
			default:
			}
		}
		p.WriteString(strings.TrimSuffix(cons, "'") + x.vowel)
		if long && x.vowel != "" {
			m.WriteString(cons + macron(x.vowel))
		} else {
			m.WriteString(cons + x.vowel)
		}
	}
	return strings.Join(strings.Fields(p.String()), " "), strings.Join(strings.Fields(m.String()), " ")
}

// sayIt spells a reading for an English speaker: oh-yah-koh-don.
func sayIt(kana string) string {
	open := map[string]string{"a": "ah", "i": "ee", "u": "oo", "e": "eh", "o": "oh"}
	closed := map[string]string{"a": "ah", "i": "ee", "u": "oo", "e": "e", "o": "o"}
	var words, syl []string
	ms := morae(kana)
	for i, x := range ms {
		switch {
		case x.src == ' ':
			words, syl = append(words, strings.Join(syl, "-")), nil
		case x.cons == "*" || x.src == '|' || (x.cons == "n" && x.vowel == ""):
			if x.vowel == "" && x.cons == "n" && len(syl) == 0 {
				syl = append(syl, "n")
			}
		default:
			end, tbl := "", open
			if i+1 < len(ms) {
				switch next := ms[i+1]; {
				case next.cons == "n" && next.vowel == "":
					end, tbl = "n", closed
				case next.cons == "*" && i+2 < len(ms) && ms[i+2].cons != "":
					end, tbl = ms[i+2].cons[:1], closed
					if end == "c" {
						end = "t"
					}
				default:
				}
			}
			syl = append(syl, x.cons+tbl[x.vowel]+end)
		}
	}
	words = append(words, strings.Join(syl, "-"))
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}

// hiraganaOf is the reading as shown: hiragana without word marks.
func hiraganaOf(kana string) string {
	return strings.NewReplacer(" ", "", "|", "", "・", "").Replace(string(foldKana([]rune(kana))))
}

// Spell writes a reading in kana for people who read none: in Hepburn without
// and with macrons, and spelt for an English speaker. Signs that are no kana
// are left out.
func Spell(kana string) (romaji, macrons, say string) {
	romaji, macrons = romanise(kana)
	return romaji, macrons, sayIt(kana)
}

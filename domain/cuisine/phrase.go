package cuisine

import (
	"slices"
	"strings"
)

// phrase is a piece of a menu line under construction, in both languages.
type phrase struct {
	en, ja string
	short  string // English inside a longer line; empty: the same
	uses   []use
	term   *term // the word that made it: an ingredient, or the head applied last
	open   bool  // a bare ingredient or sauce, still looking for a method or head
	sauce  bool
	start  int  // first rune in the text
	joined bool // a particle such as と stands before it
	comma  bool // a comma of a western line stands before it
	food   bool // brings known content
}

func (p *phrase) adorn(m *term) {
	p.en, p.ja = m.English+" "+p.inner(), m.ja+p.ja
	if strings.HasPrefix(m.English, "with ") {
		p.en = p.inner() + " " + m.English
	}
	p.short = ""
	p.uses = slices.Concat(p.uses, m.parts)
}

// made tells a phrase that a method made: "grilled cod".
func (p *phrase) made() bool { return p.term != nil && p.term.kind == kindMethod }

// inner is the phrase's English inside a longer line. Only the names of dishes begin with a capital letter in the tables,
// and those of places and people.
func (p *phrase) inner() string {
	if p.short != "" {
		return p.short
	}
	return p.en
}

// yield lowers the certainty of a recipe's own meat or fish where the name puts
// another in its place: a shrimp burger need not hold beef. Tofu replaces it
// less surely.
func yield(parts []use, args []phrase, least certainty) []use {
	limit := classical
	for _, a := range args {
		for _, u := range a.uses {
			switch {
			case u.role == "main" && u.cert == classical && isAnimalFood(u.term):
				limit = min(limit, least)
			case u.role == "main" && (u.term.Group == "soy" || u.term.Group == "legume" || u.term.ID == "halloumi" || u.term.ID == "paneer"):
				limit = min(limit, usual)
			}
		}
	}
	out := slices.Clone(parts)
	for i, u := range out {
		if u.role == "main" && isAnimalFood(u.term) {
			out[i].cert = min(u.cert, limit)
		}
	}
	return out
}

func isAnimalFood(t *term) bool {
	return t.Group == "fish" || t.Group == "meat" || t.Group == "shellfish"
}

func split2(ps []phrase) (foods, sauces []phrase) {
	for _, p := range ps {
		if p.sauce {
			sauces = append(sauces, p)
		} else {
			foods = append(foods, p)
		}
	}
	return foods, sauces
}

func joinAttributes(sauces []phrase) string {
	var out []string
	for _, s := range sauces {
		if s.term != nil && s.term.kind == kindHead && s.en != s.term.Bare { // strawberry jam
			out = append(out, strings.TrimSuffix(s.en, " sauce"))
		} else if s.term != nil && s.term.Bare != "" {
			out = append(out, s.term.Bare)
		} else {
			out = append(out, s.en)
		}
	}
	return strings.Join(out, " ")
}

func joinPhrases(ps []phrase, lang string) string {
	var names []string
	for _, p := range ps {
		s := p.en
		if lang == "ja" {
			s = p.ja
		}
		if s != "" && !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	if lang == "ja" {
		if len(names) == 2 {
			return names[0] + "と" + names[1]
		}
		return strings.Join(names, "・")
	}
	return joinWords(names, "and")
}

func joinWords(names []string, and string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " " + and + " " + names[n-1]
	}
	return strings.Join(names, "")
}

// joinInner lists phrases inside a longer line.
func joinInner(ps []phrase) string {
	inner := make([]phrase, len(ps))
	for i, p := range ps {
		inner[i] = phrase{en: p.inner()}
	}
	return joinPhrases(inner, "en")
}

// lowerFirst lowers the first letter of a dish's name unless a place or a person begins it.
func lowerFirst(s string) string {
	first, _, _ := strings.Cut(s, " ")
	switch first, _, _ = strings.Cut(first, "-"); first {
	case "Japanese", "French", "Caesar", "Korean", "Thai", "Hiroshima", "Nagasaki", "Nicoise", "Margherita", "Cobb", "California",
		"Milanese", "Sicilian", "Danish", "Swiss", "Worcestershire", "Chinese", "Italian", "Calpis", "Peking", "Shaoxing",
		"Spanish", "Pacific", "Okinawan", "Eggs", "Buffalo", "Western", "Brazil", "Mont", "Bolognese", "English", "Greek", "Mediterranean",
		"Moroccan", "Cajun", "Asian", "Provencal", "Basque", "Normandy", "Burgundy", "Lyon", "Lyonnaise", "Nice", "Dijon", "Grenobloise",
		"Roman", "Neapolitan", "Tuscan", "Ligurian", "Livornese", "Venetian", "Sardinian", "Flemish", "Breton", "Cornish", "Scotch", "Welsh",
		"Nantua", "Mornay", "Marsala", "Madeira", "Americaine", "Marie", "Thousand", "Roquefort", "Reblochon", "Stilton", "Toulouse",
		"Espelette", "John", "Brussels", "Jerusalem", "Yorkshire", "Sunday", "Waldorf", "Philly", "Reuben", "Eton", "Bakewell", "Victoria":
		return s
	default:
	}
	if len(s) > 1 && s[1] >= 'A' && s[1] <= 'Z' { // BLT
		return s
	}
	for _, r := range s {
		return strings.ToLower(string(r)) + s[len(string(r)):]
	}
	return s
}

// cut joins a cut and its animal in either order: in "fillet of cod" and "cod
// fillet" the word fillet stands for no beef.
func (c *composer) cut(p phrase) bool {
	list := c.phrases
	if c.withNext {
		list = c.withs
	}
	if !c.west || c.joined || len(c.pending) > 0 || len(list) == 0 {
		return false
	}
	last := &list[len(list)-1]
	i := slices.IndexFunc(last.uses, func(u use) bool { return isAnimalFood(u.term) })
	if !last.open || i < 0 {
		return false
	}
	if !c.comma && swallows(last, p.term) {
		return true
	}
	animal, cut := p.term, last.uses[i].term
	switch {
	case animal.Role == roleCut:
		last.en, last.short = last.inner()+" "+strings.TrimPrefix(animal.English, "beef "), ""
	case cut.Role == roleCut && isAnimalFood(animal):
		last.en = strings.Replace(last.en, cut.English, p.inner()+" "+strings.TrimPrefix(cut.English, "beef "), 1)
		last.ja, last.short = strings.Replace(last.ja, cut.ja, p.ja, 1), ""
		last.uses = slices.Concat(last.uses[:i], p.uses, last.uses[i+1:])
	default:
		return false
	}
	return true
}

// waiting is a French or Italian head with the state it was met in: it takes
// the phrases after it, "sauce" in "magret, sauce aux cerises" not the duck.
type waiting struct {
	token         token
	phrases       int // how many stood before it
	withs         int
	joined, comma bool
	withNext      bool
	adjectives    []*term // tagliatelles fraîches
}

// flushHeads closes French and Italian heads over what followed them.
func (c *composer) flushHeads() {
	joined, comma, next := c.joined, c.comma, c.withNext
	for _, h := range slices.Backward(c.heads) {
		list, at := &c.phrases, h.phrases
		if h.withNext {
			list, at = &c.withs, h.withs
		}
		at = min(at, len(*list))
		args, start := slices.Clone((*list)[at:]), 0
		*list = (*list)[:at]
		if len(args) > 0 {
			start = args[0].start
		}
		c.joined, c.comma, c.withNext = h.joined, h.comma, h.withNext
		if len(args) == 0 && len(h.token.term.parts) == 0 && h.token.dish != nil { // "steak, frites"
			h.token.term = h.token.dish
			c.dish(h.token)
			continue
		}
		p := c.apply(h.token.term, args, start)
		for _, m := range h.adjectives {
			p.adorn(m)
		}
		c.push(p)
	}
	c.heads = nil
	c.joined, c.comma, c.withNext = joined, comma, next
}

// beforeOf tells a word that speaks of what follows, not of what it stands
// behind: "di" comes next, or ends it as in "purée de".
func beforeOf(t token, rest []token) bool {
	if i := strings.LastIndexByte(t.text, ' '); i > 0 && (t.text[i:] == " de" || t.text[i:] == " di" || t.text[i:] == " d") {
		return true
	}
	for _, t := range rest {
		if !t.gap {
			return t.term != nil && t.term.Role == roleOf && strings.HasPrefix(t.text, "d")
		}
		if t.text != " " {
			return false
		}
	}
	return false
}

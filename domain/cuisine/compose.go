package cuisine

import (
	"slices"
	"strings"
)

// phrase is a piece of a menu line under construction, in both languages.
type phrase struct {
	en, ja string
	uses   []use
	term   *term // the word that made it: an ingredient, or the head applied last
	open   bool  // a bare ingredient or sauce, still looking for a method or head
	sauce  bool
	start  int  // first rune in the text
	joined bool // a particle such as と stands before it
	food   bool // brings known content
}

// composer reads tokens from left to right and builds the dish they describe.
type composer struct {
	latin    bool // fr, it: a head comes before what it is made of
	phrases  []phrase
	withs    []phrase
	adjEN    []string // adjectives of the whole line
	adjJA    []string
	sizes    []string
	pending  []*term // adjectives and methods waiting for the next word
	heads    []*term // fr/it heads waiting for what follows
	methods  []string
	negated  map[string]bool // ingredient ids, and leaf codes below
	claims   []string
	negLeafs map[string]bool
	unknown  []string
	choice   bool
	opaque   bool
	joined   bool // last token was と
	barrier  bool // a gap came since the last word
	withNext bool
	text     []rune
}

func (c *composer) add(tokens []token) {
	for i, t := range tokens {
		switch {
		case t.gap:
			if t.text != " " {
				c.joined = true
			}
			c.barrier = true
			continue
		case t.count != "":
			c.sizes = append(c.sizes, t.count)
		case t.term == nil:
			c.unknown = append(c.unknown, t.text)
			en := t.text
			if isKana(t.text) {
				en, _ = romanise(t.text)
			}
			c.push(phrase{en: en, ja: t.text, open: true, start: t.start})
		default:
			c.word(t, i == len(tokens)-1)
		}
		c.barrier = false
	}
}

func (c *composer) word(t token, last bool) {
	switch t.term.kind {
	case kindIngredient, kindSauce:
		c.push(phrase{
			en: t.term.English, ja: t.term.ja, uses: t.term.parts, term: t.term, open: true,
			sauce: t.term.kind == kindSauce, start: t.start, food: true,
		})
	case kindDish:
		c.dish(t)
	case kindMethod, kindHead:
		c.head(t, last)
	case kindModifier:
		c.modifier(t)
	case kindCategory:
	}
}

func (c *composer) push(p phrase) {
	p.joined = c.joined
	c.joined = false
	for i := len(c.pending) - 1; i >= 0; i-- {
		m := c.pending[i]
		if m.kind == kindModifier {
			p.en, p.ja = m.English+" "+p.en, m.ja+p.ja
			continue
		}
		open := p.open
		p = c.apply(m, []phrase{p}, p.start)
		p.open = open
	}
	c.pending = nil
	if c.withNext {
		c.withs = append(c.withs, p)
		return
	}
	c.phrases = append(c.phrases, p)
}

// apply makes the phrase that a method or head forms with its arguments.
func (c *composer) apply(t *term, args []phrase, start int) phrase {
	foods, sauces := split2(args)
	en, after := joinPhrases(foods, "en"), ""
	switch {
	case len(sauces) == 0:
	case strings.HasPrefix(t.English, "{}") || len(foods) == 0:
		en = strings.TrimSpace(en + " " + joinAttributes(sauces))
	default:
		after = " with " + joinPhrases(sauces, "en")
	}
	ja := joinPhrases(slices.Concat(foods, sauces), "ja")
	p := phrase{term: t, start: start, food: len(t.parts) > 0}
	p.en = strings.Replace(t.English, "{}", en, 1) + after
	if p.ja = t.ja; ja != "" {
		if p.ja = ja + t.ja; t.JaTmpl != "" {
			p.ja = strings.Replace(t.JaTmpl, "{}", ja, 1)
		}
	}
	if en == "" {
		p.en = t.Bare
	}
	for _, a := range args {
		p.food = p.food || a.food
		for _, u := range a.uses {
			if t.Raw == "raw" && u.term.Raw != "cooked" && isAnimalFood(u.term) {
				u.raw = true
			}
			p.uses = append(p.uses, u)
		}
	}
	p.uses = append(p.uses, t.parts...)
	c.methods = append(c.methods, commaList(t.Methods)...)
	return p
}

func isAnimalFood(t *term) bool {
	return t.Group == "fish" || t.Group == "meat" || t.Group == "shellfish"
}

// trailing counts the phrases at the end that a following word may take.
func (c *composer) trailing(wide, closed bool) int {
	if wide {
		return len(c.phrases)
	}
	n := 0
	for i := len(c.phrases) - 1; i >= 0 && c.phrases[i].open; i-- {
		n++
	}
	if n == 0 && closed && len(c.phrases) > 0 && !c.barrier {
		n = 1
	}
	return n
}

func (c *composer) take(n int) []phrase {
	args := slices.Clone(c.phrases[len(c.phrases)-n:])
	c.phrases = c.phrases[:len(c.phrases)-n]
	return args
}

func (c *composer) dish(t token) {
	n := 0
	if !c.joined && !c.latin && !c.barrier {
		n = c.trailing(false, false)
	}
	p := phrase{en: t.term.English, ja: t.term.ja, uses: t.term.parts, term: t.term, start: t.start, food: len(t.term.parts) > 0}
	if n > 0 || len(c.phrases) > 0 || len(c.withs) > 0 {
		if t.term.Bare != "" {
			p.en = t.term.Bare
		}
	}
	if n > 0 {
		args := c.take(n)
		foods, sauces := split2(args)
		p.en = strings.TrimSpace(joinPhrases(foods, "en")+" "+joinAttributes(sauces)) + " " + p.en
		p.ja = joinPhrases(args, "ja") + p.ja
		p.start = args[0].start
		for _, a := range args {
			p.uses = slices.Concat(p.uses, a.uses)
			p.food = p.food || a.food
		}
	}
	c.methods = append(c.methods, commaList(t.term.Methods)...)
	c.push(p)
}

func (c *composer) head(t token, last bool) {
	n := c.trailing(t.term.Wide, true)
	if c.joined && !t.term.Wide {
		n = 0
	}
	switch {
	case n > 0 && !(c.withNext && len(c.withs) > 0):
		args := c.take(n)
		p := c.apply(t.term, args, args[0].start)
		c.joined = args[0].joined
		c.push(p)
	case c.latin && t.term.kind == kindHead && !last:
		c.heads = append(c.heads, t.term)
	case t.term.kind == kindMethod && !last:
		c.pending = append(c.pending, t.term)
	default:
		c.push(phrase{
			en: t.term.Bare, ja: t.term.ja, uses: t.term.parts, term: t.term, start: t.start, food: len(t.term.parts) > 0,
		})
		c.methods = append(c.methods, commaList(t.term.Methods)...)
	}
}

func (c *composer) modifier(t token) {
	m := t.term
	switch m.Role {
	case roleAdjective:
		switch {
		case len(c.phrases) == 0 && len(c.pending) == 0 && len(c.heads) == 0:
			c.adjEN, c.adjJA = append(c.adjEN, m.English), append(c.adjJA, m.ja)
		case c.latin && len(c.phrases) > 0:
			p := &c.phrases[len(c.phrases)-1]
			p.en, p.ja = m.English+" "+p.en, m.ja+p.ja
		default:
			c.pending = append(c.pending, m)
		}
	case roleSize:
		c.sizes = append(c.sizes, m.English)
	case roleAnd:
		c.joined = true
	case roleOr:
		c.choice, c.joined = true, true
	case roleWith:
		c.accompany()
	case roleWithNext:
		c.flushHeads()
		c.withNext = true
	case roleStyle:
		if n := len(c.phrases); n > 0 {
			p := c.take(1)[0]
			c.pending = append(c.pending, &term{kind: kindModifier, record: record{English: p.en + "-style"}, ja: p.ja + "風"})
		}
	case roleNot:
		c.negate(t)
	case roleOpaque:
		c.opaque = true
		c.adjEN, c.adjJA = append(c.adjEN, m.English), append(c.adjJA, m.ja)
	case roleClaim:
		c.claims = append(c.claims, t.text)
	default: // of, drop, service, a lone unit: nothing to say
	}
}

// accompany moves the food before 付き or のせ to what the line says "with".
func (c *composer) accompany() {
	n := c.trailing(false, true)
	for _, p := range c.take(n) {
		c.withs = append(c.withs, p)
	}
	c.joined = false
}

// negate reads 小麦・卵不使用: a claim of the restaurant, never our finding.
func (c *composer) negate(t token) {
	from := len(c.phrases)
	for from > 0 && c.phrases[from-1].open {
		from--
		if !c.phrases[from].joined {
			break
		}
	}
	if from == len(c.phrases) {
		return
	}
	start := c.phrases[from].start
	for _, p := range c.take(len(c.phrases) - from) {
		for _, u := range p.uses {
			c.negated[u.term.ID] = true
			for _, l := range u.term.leaves {
				if l.cert == classical {
					c.negLeafs[l.leaf.Code] = true
				}
			}
		}
	}
	if start < t.end && t.end <= len(c.text) {
		c.claims = append(c.claims, string(c.text[start:t.end]))
	}
}

// flushHeads closes French and Italian heads over what followed them.
func (c *composer) flushHeads() {
	for i := len(c.heads) - 1; i >= 0; i-- {
		start := 0
		args := c.take(len(c.phrases))
		if len(args) > 0 {
			start = args[0].start
		}
		c.push(c.apply(c.heads[i], args, start))
	}
	c.heads = nil
}

// finish applies what still waits when the text has ended.
func (c *composer) finish() {
	c.withNext = false
	c.flushHeads()
	for _, m := range c.pending {
		if m.kind == kindModifier {
			c.sizes = append(c.sizes, m.English)
		} else {
			c.phrases = append(c.phrases, phrase{en: m.Bare, ja: m.ja, uses: m.parts, term: m, food: len(m.parts) > 0})
		}
	}
	c.pending = nil
	if len(c.phrases) > 1 { // a sauce left alone belongs to the rest
		kept := c.phrases[:0:0]
		for i, p := range c.phrases {
			if i > 0 && p.open && (p.sauce || !c.phrases[0].open) && !p.joined {
				c.withs = append(c.withs, p)
			} else {
				kept = append(kept, p)
			}
		}
		c.phrases = kept
	}
	if len(c.phrases) == 0 {
		c.phrases, c.withs = c.withs, nil
	}
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
		if s.term != nil && s.term.Bare != "" {
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

package cuisine

import (
	"slices"
	"strings"
)

// composer reads tokens from left to right and builds the dish they describe.
type composer struct {
	latin    bool // fr, it: a head comes before what it is made of
	west     bool // en, fr, it: a comma begins what the dish comes with
	phrases  []phrase
	withs    []phrase
	adjEN    []string // adjectives of the whole line
	adjJA    []string
	sizes    []string
	pending  []*term   // adjectives and methods waiting for the next word
	heads    []waiting // fr/it heads waiting for what follows
	methods  []string
	negated  map[string]bool // ingredient ids, and leaf codes below
	claims   []string
	negLeafs map[string]bool
	unknown  []string
	choice   bool
	opaque   bool
	diet     string // vegan, vegetarian: what the restaurant calls the dish
	joined   bool   // last token was と
	comma    bool   // a comma of a western line came since the last phrase
	barrier  bool   // a gap came since the last word
	withNext bool
	text     []rune
	guess    func(string) string // the reading of a word that no table has, or ""
}

func (c *composer) add(tokens []token) {
	if c.west {
		tokens = settle(tokens)
	}
	tokens, dropped := readable(tokens)
	c.unknown = append(c.unknown, dropped...)
	for i, t := range tokens {
		switch {
		case t.gap:
			if (t.text == "," || t.text == ";") && c.west {
				c.flushHeads()
				c.comma = true
			}
			if t.text != " " {
				c.joined = true
			}
			c.barrier = true
			continue
		case t.count != "":
			c.sizes = append(c.sizes, t.count)
		case t.term == nil:
			c.stranger(t, i+1 < len(tokens) && tokens[i+1].term != nil && tokens[i+1].term.kind != kindModifier)
		default:
			c.word(t, i == len(tokens)-1, c.latin && beforeOf(t, tokens[i+1:]))
		}
		c.barrier = false
	}
}

func (c *composer) word(t token, last, of bool) {
	switch t.term.kind {
	case kindIngredient, kindSauce:
		if isSide(t) {
			c.aside()
		}
		c.food(t)
	case kindDish:
		c.dish(t)
	case kindMethod, kindHead:
		c.head(t, last, of)
	case kindModifier:
		c.modifier(t, last)
	case kindCategory, kindKanji:
	}
}

func (c *composer) push(p phrase) {
	p.joined, p.comma = c.joined, c.comma
	c.joined, c.comma = false, false
	for _, m := range slices.Backward(c.pending) {
		if m.kind == kindModifier {
			p.adorn(m)
			continue
		}
		was := p
		p = c.apply(m, []phrase{p}, p.start)
		p.open, p.sauce, p.joined, p.comma = was.open, was.sauce, was.joined, was.comma
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
	if c.west && strings.HasPrefix(t.English, "{} ") && t.kind == kindHead {
		foods = attributes(foods)
	}
	en, after := joinInner(foods), ""
	switch {
	case len(sauces) == 0:
	case c.west && strings.HasPrefix(t.English, "{}") && len(args) > 2 && args[len(args)-1].joined: // chicken, leek and tarragon pie
		en = joinInner(args)
	case strings.HasPrefix(t.English, "{}") || len(foods) == 0:
		if attr := joinAttributes(sauces); args[0].sauce {
			en = strings.TrimSpace(attr + " " + en)
		} else {
			en = strings.TrimSpace(en + " " + attr)
		}
	default:
		after = " with " + joinInner(sauces)
	}
	ja := joinPhrases(slices.Concat(foods, sauces), "ja")
	if strings.HasSuffix(t.English, "roasted {}") {
		en = strings.TrimPrefix(en, "roast ") // said once
	}
	p := phrase{term: t, start: start, food: len(t.parts) > 0, sauce: t.Group == "sauce", open: t.Group == "sauce"}
	p.en = strings.Replace(t.English, "{}", en, 1) + after
	if noun, ok := strings.CutPrefix(t.English, "{} "); ok && strings.HasSuffix(en, noun) {
		p.en = en // "skewer skewer"
	}
	if p.ja = t.ja; ja != "" {
		if p.ja = c.glue(ja, args) + t.ja; t.JaTmpl != "" {
			p.ja = strings.Replace(t.JaTmpl, "{}", ja, 1)
		}
		if made, ok := strings.CutPrefix(t.JaTmpl, "{}の"); ok && c.west && strings.HasSuffix(ja, made) {
			p.ja = ja // のローストのロースト
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
	p.uses = append(p.uses, yield(t.parts, args, possible)...)
	c.methods = append(c.methods, commaList(t.Methods)...)
	return p
}

// trailing counts the phrases at the end that a following word may take.
func (c *composer) trailing(wide, closed bool) int {
	if wide {
		return len(c.phrases)
	}
	n, and := 0, false
	for i := len(c.phrases) - 1; i >= 0 && c.phrases[i].open; i-- {
		n++
		p := c.phrases[i]
		if p.comma && (!and || (i > 0 && c.phrases[i-1].made())) {
			break // only "leek, ham and egg pie" is one list: a comma alone parts the dish from what comes with it
		}
		and = and || (p.joined && !p.comma)
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
	if !c.joined && !c.latin && (!c.barrier || c.west) {
		n = c.trailing(false, true)
	}
	p := phrase{en: t.term.English, short: or(t.term.Bare, lowerFirst(t.term.English)), ja: t.term.ja, uses: t.term.parts, term: t.term, start: t.start, food: len(t.term.parts) > 0}
	if n > 0 {
		args := c.take(n)
		foods, sauces := split2(args)
		p.en = strings.TrimSpace(joinInner(foods)+" "+joinAttributes(sauces)) + " " + p.inner()
		p.short = ""
		p.ja = c.glue(joinPhrases(args, "ja"), args) + p.ja
		p.start = args[0].start
		c.joined, c.comma = args[0].joined, args[0].comma
		p.uses = yield(p.uses, args, usual)
		for _, a := range args {
			p.uses = slices.Concat(p.uses, a.uses)
			p.food = p.food || a.food
		}
	}
	c.methods = append(c.methods, commaList(t.term.Methods)...)
	c.push(p)
}

func (c *composer) head(t token, last, of bool) {
	if w := len(c.heads); c.latin && c.joined && t.term.kind == kindHead && w > 0 && c.heads[w-1].phrases < len(c.phrases) && !c.withNext {
		c.flushHeads() // tarte aux noix et glace au miel: two dishes
	}
	n := c.trailing(t.term.Wide, true)
	if n == 1 && !last && c.glazes(t.term) {
		c.pending = append(c.pending, t.term)
		return
	}
	if t.term.Group == "sauce" {
		n = min(n, 1) // 鶏の葱ソース: the sauce is made of the last word only
	}
	if c.latin && t.term.kind == kindMethod && !strings.Contains(t.text, " ") {
		n = min(n, 1) // œuf et noisettes torréfiées: a participle belongs to the word before it
	}
	if c.latin && t.term.kind == kindMethod && n == 0 && len(c.phrases) > 0 && !c.comma {
		n = 1 // carré rôti en croûte d'herbes
	}
	if of || (c.joined && !t.term.Wide) {
		n = 0
	}
	switch {
	case n > 0 && (!c.withNext || len(c.withs) == 0):
		args := c.take(n)
		p := c.apply(t.term, args, args[0].start)
		c.joined, c.comma = args[0].joined, args[0].comma
		c.push(p)
	case c.latin && t.term.kind == kindHead && !last:
		c.heads = append(c.heads, waiting{t, len(c.phrases), len(c.withs), c.joined, c.comma, c.withNext, nil})
		c.joined, c.comma = false, false
	case t.term.kind == kindMethod && !last:
		c.pending = append(c.pending, t.term)
	case t.dish != nil:
		t.term = t.dish
		c.dish(t)
	default:
		c.push(phrase{
			en: t.term.Bare, ja: t.term.ja, uses: t.term.parts, term: t.term, start: t.start, food: len(t.term.parts) > 0,
		})
		c.methods = append(c.methods, commaList(t.term.Methods)...)
	}
}

func (c *composer) modifier(t token, last bool) {
	m := t.term
	switch m.Role {
	case roleAdjective:
		switch {
		case len(c.phrases) == 0 && len(c.pending) == 0 && len(c.heads) == 0:
			c.adjEN, c.adjJA = append(c.adjEN, m.English), append(c.adjJA, m.ja)
		case c.latin && len(c.heads) > 0 && c.heads[len(c.heads)-1].phrases == len(c.phrases):
			h := &c.heads[len(c.heads)-1]
			h.adjectives = append(h.adjectives, m)
		case c.latin && len(c.phrases) > 0:
			c.phrases[len(c.phrases)-1].adorn(m)
		default:
			c.pending = append(c.pending, m)
		}
	case roleSize:
		c.sizes = append(c.sizes, m.English)
	case roleAnd:
		if w := len(c.heads); c.latin && w > 0 && !c.withNext && c.heads[w-1].phrases == len(c.phrases) {
			c.flushHeads() // toasts et citron: nothing was put on the toast
		}
		c.joined, c.comma = true, false
	case roleOr:
		c.choice, c.joined = true, true
	case roleWith:
		c.accompany()
	case roleWithNext:
		c.flushHeads()
		c.withNext = true
	case roleStyle:
		if n := len(c.phrases); n > 0 {
			style := styled(c.take(1)[0], m)
			if last && !c.west { // アヒージョ風: nothing follows that has the style
				c.phrases = append(c.phrases, phrase{en: style.English, ja: style.ja, uses: style.parts, start: t.start, food: len(style.parts) > 0})
				break
			}
			c.pending = append(c.pending, style)
		}
	case roleNot:
		c.negate(t)
	case roleOpaque:
		c.opaque = true
		if n := len(c.adjEN); n > 0 && c.adjEN[n-1] == "the chef's" && strings.HasPrefix(m.English, "chef's") {
			c.adjEN = c.adjEN[:n-1]
		}
		c.adjEN, c.adjJA = append(c.adjEN, m.English), append(c.adjJA, m.ja)
	case roleClaim:
		c.claim(t)
	case roleOf:
		if isAside(t.text) {
			c.aside()
		}
	default: // drop, service, a lone unit: nothing to say
	}
}

// styled makes an adjective of a phrase: 天ぷら風, 柚子風味. What it is made
// of stays possible; only food that another word was put on stays certain.
func styled(p phrase, m *term) *term {
	t := &term{kind: kindModifier, record: record{English: p.inner() + "-" + m.English}, ja: p.ja + m.ja}
	for _, u := range p.uses {
		own := p.term == nil || p.term.kind == kindDish || u.term == p.term || slices.ContainsFunc(p.term.parts, func(o use) bool { return o.term == u.term })
		if own {
			u.cert = possible
		}
		t.parts = append(t.parts, u)
	}
	return t
}

// accompany moves the food before 付き or のせ to what the line says "with".
func (c *composer) accompany() {
	n := c.trailing(false, true)
	c.withs = append(c.withs, c.take(n)...)
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
		if first := c.phrases[0]; first.sauce && !c.phrases[1].sauce && !c.phrases[1].joined { // 味噌きゅうり
			next := &c.phrases[1]
			next.en, next.ja, next.short = joinAttributes(c.phrases[:1])+" "+next.inner(), first.ja+next.ja, ""
			next.uses = slices.Concat(next.uses, first.uses)
			c.phrases = c.phrases[1:]
		}
		kept, moved := c.phrases[:0:0], false
		for i, p := range c.phrases {
			if moved = i > 0 && (p.comma || (c.west && moved) || p.open && (p.sauce || (!c.phrases[0].open && (!p.joined || moved)))); moved {
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

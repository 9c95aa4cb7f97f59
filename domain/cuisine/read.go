package cuisine

import (
	"slices"
	"strings"
)

// Query is one printed menu item. The texts are raw, as printed; empty means
// not printed. Languages are tags such as "ja" or "en-GB".
type Query struct{ Name, Category, Price, SourceLanguage, TargetLanguage string }

// Basis says what an answer rests on.
type Basis string

// The bases, from the firmest to none.
const (
	BasisExact    Basis = "exact"    // a dish of the tables
	BasisComposed Basis = "composed" // known parts put together
	BasisCategory Basis = "category" // only the menu's heading
	BasisNone     Basis = "none"
)

// Reading is the one resolution of a menu item from which all eight answers
// are drawn. It is a value and safe to share.
type Reading struct {
	k        *Knowledge
	q        Query
	printed  string // cleaned for display
	source   string // base language
	target   string
	textLang string // language of the texts: the target, or English where it is not supported

	basis    Basis
	partial  bool // something of the name was not understood
	notDish  bool
	dish     *term // the one dish it is, when nothing but decoration stands beside it
	last     *term // the head or dish that gives the whole its character
	family   *term
	families []*term

	lineEN, lineJA string // menu line without count
	sizes          []string
	uses           []use
	methods        []string
	said           reading
	claims         []string
	negated        map[string]bool
	negLeafs       map[string]bool
	unknown        []string
	choice         bool
	opaque         bool
	diet           string // vegan, vegetarian: what the restaurant calls the dish
	dietAll        bool   // said of the whole line
}

// Read resolves a printed item. It accepts any input: what it cannot resolve
// comes back as an unknown reading, never as an error.
func (k *Knowledge) Read(q Query) Reading {
	r := Reading{k: k, q: q, printed: clean(q.Name), source: baseLanguage(q.SourceLanguage, "ja"), target: baseLanguage(q.TargetLanguage, "en"), basis: BasisNone}
	if r.textLang = r.target; r.textLang != "ja" {
		r.textLang = "en"
	}
	r.families = k.familiesOf(q.Category)
	if len(r.families) > 0 {
		r.family = r.families[0]
	}
	text := simplify(r.printed)
	if isWestern(r.source) {
		text = westernSigns(text)
	}
	if k.noDish(text) {
		r.notDish = true
		return r
	}
	var rest []string
	if len(text) > maxRead { // not a menu line any more: what follows is not understood
		rest, text = []string{string(text[maxRead:])}, text[:maxRead]
	}
	main, extras := brackets(text)
	c, tokens := r.compose(main)
	r.dish = soleDish(tokens)
	k.addExtras(c, extras, &r)
	accepted := k.accepts(tokens, c)
	if !accepted && len(extras) > 0 { // the dish may stand inside the brackets
		open := []rune(strings.Map(func(c rune) rune {
			if strings.ContainsRune(anyBracket, c) {
				return ' '
			}
			return c
		}, string(text)))
		if c2, t2 := r.compose(open); k.accepts(t2, c2) {
			c, tokens, accepted = c2, t2, true
		}
	}
	c.unknown = append(c.unknown, rest...)
	if r.category(c); accepted {
		r.fill(c, tokens)
	} else if r.opaque = c.opaque; r.family != nil {
		r.basis, r.partial, r.unknown, r.claims = BasisCategory, true, []string{r.printed}, c.claims
		r.uses = slices.Clone(r.family.parts)
		if h := k.heads[r.family.HeadID]; h != nil {
			r.uses = append(r.uses, h.parts...)
		}
		if c.opaque {
			r.lineEN, r.lineJA = line(c, "en"), line(c, "ja")
		}
	} else {
		r.claims = c.claims
		if c.opaque && len(c.unknown) == 0 {
			r.lineEN, r.lineJA = line(c, "en"), line(c, "ja")
		}
	}
	if r.said.kana == "" {
		r.said = k.spell(tokens)
	}
	if said, ok := printedReading(main, extras); ok && (r.said.kana == "" || r.said.guessed) {
		r.said = said
	}
	return r
}

// maxRead bounds the runes that are put together, since the work grows faster
// than the text. A long printed menu line has about 60.
const maxRead = 200

// compose splits a text and puts its words together.
func (r *Reading) compose(text []rune) (*composer, []token) {
	latin := r.source == "fr" || r.source == "it"
	c := &composer{
		latin: latin, west: isWestern(r.source), negated: map[string]bool{}, negLeafs: map[string]bool{}, text: phraseGaps(text),
		guess: r.k.guess,
	}
	tokens := r.k.tokenise(text, r.families, r.source)
	c.add(tokens)
	c.finish()
	return c, tokens
}

// isWestern tells the languages whose lines a comma parts.
func isWestern(source string) bool { return source == "en" || source == "fr" || source == "it" }

func baseLanguage(tag, fallback string) string {
	tag, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
	if tag == "" {
		return fallback
	}
	return tag
}

// addExtras reads what stood in brackets: contents and choices join the dish,
// claims are kept, the rest falls away.
func (k *Knowledge) addExtras(c *composer, extras [][]rune, r *Reading) {
	for _, e := range extras {
		tokens := k.tokenise(e, r.families, r.source)
		sub := &composer{latin: c.latin, west: c.west, negated: c.negated, negLeafs: c.negLeafs, text: phraseGaps(e), guess: k.guess}
		sub.add(tokens)
		sub.finish()
		if sub.diet != "" && len(sub.unknown) == 0 { // not (vegan option)
			c.diet, r.dietAll = sub.diet, true
		}
		c.claims, c.sizes, c.choice = append(c.claims, sub.claims...), append(c.sizes, sub.sizes...), c.choice || sub.choice
		if len(sub.unknown) > 0 {
			continue
		}
		if len(sub.phrases) == 0 { // (激辛)
			c.sizes = append(c.sizes, sub.adjEN...)
		}
		for _, p := range slices.Concat(sub.phrases, sub.withs) {
			if c.west && r.dish != nil && holds(r.dish, p.uses) { // (lardons, œuf poché): the recipe has said it
				c.withs = append(c.withs, phrase{uses: p.uses})
				continue
			}
			if p.term != nil && len(sub.phrases) == 1 && p.en == p.term.Bare && !strings.HasPrefix(p.term.English, "{}") && p.term.English != "" && p.term.kind != kindDish && !p.open {
				p.en, p.ja, p.short = "", "", "" // (煮): a detail of the making, nothing beside the dish
			}
			if p.food && !strings.Contains(strings.ToLower(line(c, "en")), strings.ToLower(or(p.inner(), "\x00"))) { // not 油淋鶏(ユーリンチー)
				c.withs = append(c.withs, p)
				if r.dish != nil && r.dish.Family == "drinks" {
					c.choice = true
				}
				r.dish = nil
			}
		}
	}
}

// category lets the heading complete a bare ingredient: 海老 under 天ぷら.
func (r *Reading) category(c *composer) {
	if len(r.families) != 1 || len(c.phrases) == 0 {
		return
	}
	h := r.k.heads[r.family.HeadID]
	if h == nil {
		return
	}
	for _, p := range c.phrases {
		if !p.open || !p.food || p.term == nil || p.term.Group == "drink" || p.term.Group == "alcohol" || p.sauce {
			return
		}
	}
	c.phrases = []phrase{c.apply(h, c.phrases, 0)}
}

// accepts decides whether enough of the name was understood to speak of the
// dish: a whole segment, or a good part with its head.
func (k *Knowledge) accepts(tokens []token, c *composer) bool {
	if !slices.ContainsFunc(slices.Concat(c.phrases, c.withs), func(p phrase) bool {
		return p.food || (p.term != nil && p.term.kind == kindDish)
	}) {
		return false
	}
	known, unknown, segKnown, segUnknown, whole := 0, 0, 0, 0, false
	headLast := false
	for _, t := range append(slices.Clone(tokens), token{gap: true}) {
		switch n := t.end - t.start; {
		case t.gap || (t.term != nil && t.term.Role == roleAnd):
			whole = whole || (segKnown > 1 && segUnknown == 0)
			segKnown, segUnknown = 0, 0
		case t.unknown():
			unknown, segUnknown, headLast = unknown+n, segUnknown+n, false
		case t.term != nil && t.term.kind != kindModifier:
			known, segKnown = known+n, segKnown+n
			headLast = n > 1 || (t.term.kind != kindIngredient && t.term.kind != kindSauce)
		}
	}
	total := known + unknown
	switch {
	case unknown == 0:
		return true
	case len(c.text) > 0 && scriptOf(c.text[0]) == scriptLatin && unknown > 3*known:
		return false
	case whole:
		return true
	case headLast:
		return known*10 >= total*3
	default:
		return known*2 >= total
	}
}

func (r *Reading) fill(c *composer, tokens []token) {
	r.partial = len(c.unknown) > 0
	r.unknown, r.claims, r.negated, r.negLeafs, r.choice, r.opaque = c.unknown, c.claims, c.negated, c.negLeafs, c.choice, c.opaque
	r.sizes, r.lineEN, r.lineJA = c.sizes, line(c, "en"), line(c, "ja")
	r.diet = c.diet
	for i, p := range c.phrases {
		if p.term != nil && (r.last == nil || i == 0) {
			r.last = p.term
		}
		r.gather(p.uses, "main")
	}
	if !r.dietAll {
		r.diet = ""
	}
	for _, p := range c.withs {
		r.gather(p.uses, "secondary")
	}
	seen := map[string]bool{}
	for _, m := range c.methods {
		if !seen[m] {
			seen[m] = true
			r.methods = append(r.methods, m)
		}
	}
	r.basis = BasisComposed
	if r.dish != nil && !r.partial {
		r.basis = BasisExact
	}
	if r.last != nil && r.last.Family != "" {
		r.family = r.k.families[r.last.Family]
	}
	r.said = r.k.spell(tokens)
}

// gather unites ingredients: the firmer certainty and the first role stay. What a compound food is made of comes with it.
func (r *Reading) gather(uses []use, role string) {
	for _, u := range uses {
		if r.negated[u.term.ID] || avoids(r.diet, u.term) {
			u.cert = possible
		}
		if u.role == "main" {
			if u.role = role; u.term.isSeasoning() {
				u.role = "seasoning"
			}
		}
		r.unite(u)
		for _, m := range u.term.made {
			r.unite(use{term: m.term, role: "hidden", cert: min(u.cert, m.cert), raw: m.raw})
		}
	}
}

func (r *Reading) unite(u use) {
	if i := slices.IndexFunc(r.uses, func(o use) bool { return o.term == u.term }); i >= 0 {
		r.uses[i].cert, r.uses[i].raw = max(r.uses[i].cert, u.cert), r.uses[i].raw || u.raw
		return
	}
	r.uses = append(r.uses, u)
}

// theFirst puts the adjective that begins with an article before the others.
func theFirst(adjectives []string) []string {
	i := slices.IndexFunc(adjectives, func(a string) bool { return strings.HasPrefix(a, "the ") })
	if i <= 0 {
		return adjectives
	}
	return slices.Concat(adjectives[i:i+1], adjectives[:i], adjectives[i+1:])
}

// line writes the menu line of a finished composition.
func line(c *composer, lang string) string {
	and := "and"
	if c.choice {
		and = "or"
	}
	main, withs := joinPhrases(c.phrases, lang), ""
	if lang == "en" {
		withs = joinInner(slices.DeleteFunc(slices.Clone(c.withs), func(p phrase) bool { return strings.Contains(main, p.inner()) }))
		if len(c.phrases) > 1 || len(c.adjEN) > 0 || (withs != "" && strings.Contains(main, " with ")) {
			main = joinInner(c.phrases)
		}
	} else {
		withs = joinPhrases(slices.DeleteFunc(slices.Clone(c.withs), func(p phrase) bool { return c.west && strings.Contains(main, p.ja) }), lang)
	}
	before, after := theFirst(c.adjEN), ""
	if i := slices.IndexFunc(before, func(a string) bool { return strings.HasPrefix(a, "with ") }); lang == "en" && i >= 0 && main != "" {
		if food := strings.TrimSuffix(before[i][len("with "):], "s"); !strings.Contains(strings.ToLower(main), food) {
			after = " " + before[i]
		}
		before = slices.Concat(before[:i], before[i+1:])
	}
	main += after
	adj := strings.Join(before, " ")
	if main == "" && lang == "en" { // the chef's choice, and nothing more is said
		if s, choice := strings.CutSuffix(adj, " of"); choice || adj == "" || strings.HasSuffix(adj, " of the day") {
			return s
		}
		return adj + " dish"
	}
	if lang == "ja" {
		if withs != "" {
			main += " " + withs + "添え"
		}
		return strings.Join(c.adjJA, "") + main
	}
	if and == "or" {
		main = strings.Replace(main, " and ", " or ", 1)
		withs = strings.ReplaceAll(withs, " and ", " or ")
	}
	switch {
	case withs == "":
	case strings.Contains(main, " with "):
		main += " and " + withs
	default:
		main += " with " + withs
	}
	return strings.TrimSpace(adj + " " + main)
}

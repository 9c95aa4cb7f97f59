package cuisine

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// numero is a size of oysters, which says nothing of the dish: "n°3".
var numero = regexp.MustCompile(`\bn°\s?\d+`)

// westernSigns makes one sign of those that part a western line: a comma before what comes with the dish, a semicolon
// behind a name that the kitchen gave it ("La Forestière : champignons, lardons").
func westernSigns(text []rune) []rune {
	out := []rune(numero.ReplaceAllString(string(text), ""))
	for i, r := range out {
		open := i+1 == len(out) || out[i+1] == ' '
		switch {
		case r == ':' && open:
			out[i] = ';'
		case (r == '–' || r == '—' || r == '-') && open && i > 0 && out[i-1] == ' ':
			out[i] = ','
		}
	}
	return out
}

// isAside tells the French and Italian "à la", "au", "alla" from "de" and "di": behind a food it begins what comes with it.
func isAside(text string) bool {
	first, _, _ := strings.Cut(text, " ")
	switch first {
	case "a", "au", "aux", "al", "alla", "allo", "alle", "ai", "agli", "all":
		return true
	default:
		return false
	}
}

// aside lets the words that follow come with the dish, unless a head still waits for what it is made of (tarte aux pommes).
func (c *composer) aside() {
	if !c.latin || c.joined || c.comma || c.withNext || slices.ContainsFunc(c.phrases, func(p phrase) bool { return p.comma }) {
		return
	}
	if n := len(c.heads); n > 0 && c.heads[n-1].phrases >= len(c.phrases) {
		return
	}
	if c.flushHeads(); len(c.phrases) > 0 {
		c.withNext = true
	}
}

// parts a western line: a comma, "and", "with", "or", "à la".
func partsLine(t token) bool {
	if t.gap {
		return t.text != " " && t.text != "'" && t.text != "-" && t.text != "."
	}
	if t.term == nil {
		return false
	}
	switch t.term.Role {
	case roleAnd, roleOr, roleWithNext:
		return true
	case roleOf:
		return isAside(t.text)
	default:
		return false
	}
}

// settle decides what becomes of the words that no table has, between one sign that parts the line and the next. What was
// cooked in some way keeps its name as printed ("braised xyz"), and so does the first thing of the line: the honey that
// comes with it is not the dish. Adjectives of an unknown word fall away with it.
func settle(tokens []token) []token {
	var out []token
	for start := 0; start < len(tokens); {
		end := start
		for end < len(tokens) && !partsLine(tokens[end]) && (end == start || !isSide(tokens[end])) {
			end++
		}
		chunk := tokens[start:end]
		first, label := start == 0 && end < len(tokens), end < len(tokens) && tokens[end].text == ";"
		out = append(out, settled(chunk, first && !label)...)
		start = end
		if end < len(tokens) && partsLine(tokens[end]) {
			out = append(out, tokens[end])
			start = end + 1
		}
	}
	return out
}

// isSide tells a food that the tables have with its "au" or "alla": au poivre.
func isSide(t token) bool {
	return t.term != nil && (t.term.kind == kindIngredient || t.term.kind == kindSauce) && strings.Contains(t.text, " ") && isAside(t.text)
}

func settled(chunk []token, first bool) []token {
	unknown, food, method := -1, false, false
	for i, t := range chunk {
		switch {
		case t.unknown() && unknown < 0 && strings.ContainsFunc(t.text, unicode.IsLetter):
			unknown = i
		case t.term == nil || t.term.kind == kindModifier:
		case t.term.kind == kindMethod || (t.term.kind == kindHead && strings.HasSuffix(t.term.English, " {}")): // braised {}
			method = true
		default:
			food = true
		}
	}
	if unknown < 0 || food {
		return chunk
	}
	var out []token
	for i, t := range chunk {
		switch {
		case t.unknown() && (method || first):
			n := len(out)
			if n > 1 && out[n-1].text == " " && out[n-2].kept {
				out[n-2].end, out[n-2].text = t.end, out[n-2].text+" "+t.text
				out = out[:n-1]
				continue
			}
			t.kept = true
			out = append(out, t)
		case t.term != nil && t.term.Role == roleAdjective && !method && !first && i >= 0:
		default:
			out = append(out, t)
		}
	}
	return out
}

// swallows tells a word that only names the animal of the cut before it: onglet de bœuf, rack of lamb.
func swallows(last *phrase, animal *term) bool {
	if last.term == nil || last.term.Group != "meat" || last.term == animal || last.term.Role == roleCut {
		return false
	}
	switch animal.ID {
	case "beef", "veal", "pork", "lamb", "chicken", "duck":
	default:
		return false
	}
	return strings.Contains(last.en, animal.English) || (len(animal.leaves) > 0 && slices.ContainsFunc(last.term.leaves, func(l leafUse) bool {
		return l.cert == classical && l.leaf == animal.leaves[0].leaf
	}))
}

// avoids tells whether what the restaurant calls the dish speaks against an ingredient of the usual recipe. It then stays
// possible: the claim is the restaurant's. Only what is all of an animal is meant: a bun may have milk, and still is wheat.
func avoids(diet string, t *term) bool {
	switch t.Group {
	case "meat", "processed_meat", "fish", "shellfish", "fish_paste":
		return diet != ""
	case "stock":
		return diet != "" && t.animalAt(usual) != ""
	case "egg", "dairy":
		return diet == "vegan"
	default:
		return false
	}
}

// claim notes what the restaurant says of the dish. Said of a side only ("vegan slaw") it tells nothing about the rest.
func (c *composer) claim(t token) {
	c.claims = append(c.claims, t.text)
	if t.term.English == "" {
		return
	}
	if c.comma || c.withNext || len(c.withs) > 0 || slices.ContainsFunc(c.phrases, func(p phrase) bool { return p.comma }) {
		return
	}
	if c.diet != "vegan" {
		c.diet = t.term.Diet
	}
	c.adjEN, c.adjJA = append(c.adjEN, t.term.English), append(c.adjJA, t.term.ja)
}

// shorten cuts the last things that come with the dish until the line fits.
func shorten(line string, limit int) string {
	cutOff := false
	for len([]rune(line)) > limit-2 {
		with := strings.Index(line, " with ")
		if with < 0 {
			break
		}
		i := max(strings.LastIndex(line, ", "), strings.LastIndex(line, " and "), with)
		line, cutOff = line[:i], true
	}
	if i := strings.LastIndex(line, ", "); cutOff && i > strings.Index(line, " with ") && !strings.Contains(line[i:], " and ") {
		line = line[:i] + " and " + line[i+2:]
	}
	return line
}

// glue puts の behind a list in front of the Japanese word for what is made of it: 鶏肉・ハムのパイ, but 鶏肉パイ.
func (c *composer) glue(ja string, args []phrase) string {
	if c.west && (len(args) > 1 || strings.Contains(ja, "の")) {
		return ja + "の"
	}
	return ja
}

// holds tells whether a recipe names all of these ingredients.
func holds(dish *term, uses []use) bool {
	return len(uses) > 0 && !slices.ContainsFunc(uses, func(u use) bool {
		return !slices.ContainsFunc(dish.parts, func(o use) bool { return o.term == u.term })
	})
}

// attributes gives foods the form they have in front of a noun: lentil salad, mixed berry tart.
func attributes(foods []phrase) []phrase {
	out := slices.Clone(foods)
	for i, p := range out {
		if p.term != nil && p.term.kind == kindIngredient {
			out[i].en, out[i].short = singular(p.inner()), ""
		}
	}
	return out
}

func singular(noun string) string {
	for _, end := range [...][2]string{{"ss", "ss"}, {"us", "us"}, {"is", "is"}, {"ries", "ry"}, {"toes", "to"}, {"s", ""}} {
		if stem, ok := strings.CutSuffix(noun, end[0]); ok {
			return stem + end[1]
		}
	}
	return noun
}

// headingSigns parts a heading where it says "and": Fromages et desserts.
func headingSigns(heading, source string) string {
	for lang, and := range map[string]string{"en": " and ", "fr": " et ", "it": " e "} {
		if lang == source {
			heading = strings.ReplaceAll(heading, and, ",")
		}
	}
	return heading
}

// compound joins two English words that stand side by side into one sauce: tarragon cream sauce, truffle honey butter.
func (c *composer) compound(p phrase) bool {
	list := c.phrases
	if c.withNext {
		list = c.withs
	}
	if !c.west || c.latin || !p.sauce || c.joined || c.comma || len(c.pending) > 0 || len(list) == 0 {
		return false
	}
	last := &list[len(list)-1]
	if !last.sauce || !last.open || last.term == nil {
		return false
	}
	last.en, last.ja = last.inner()+" "+p.en, last.ja+p.ja
	last.short, last.term, last.uses = "", p.term, slices.Concat(last.uses, p.uses)
	return true
}

// glazes tells an English method that stands between a seasoning and its food, and lets the seasoning wait with it:
// miso-glazed salmon.
func (c *composer) glazes(method *term) bool {
	last := c.phrases[len(c.phrases)-1]
	if !c.west || c.latin || c.withNext || c.comma || c.joined || method.kind != kindMethod || !strings.HasSuffix(method.English, " {}") || !last.open ||
		(!last.sauce && (last.term == nil || last.term.Group != "sweet")) {
		return false
	}
	c.take(1)
	c.joined, c.comma = last.joined, last.comma
	c.pending = append(c.pending, &term{kind: kindModifier, record: record{English: last.inner()}, ja: last.ja, parts: last.uses})
	return true
}

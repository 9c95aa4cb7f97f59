package cuisine

import (
	"regexp"
	"slices"
	"strings"
)

var bracketed = regexp.MustCompile(` \([^()]*\)`)

// TranslationData is the answer of stage "translation".
type TranslationData struct {
	Translation         string   `json:"translation"`
	CategoryTranslation *string  `json:"category_translation"`
	KeepTerm            *string  `json:"keep_term"`
	Literal             *string  `json:"literal"`
	Alternatives        []string `json:"alternatives"`
	SourceLanguage      string   `json:"source_language"`
	TargetLanguage      string   `json:"target_language"`
}

// DescriptionData is the answer of stage "description".
type DescriptionData struct {
	Description string  `json:"description"`
	Serving     string  `json:"serving"`
	Raw         string  `json:"raw"`
	HowToEat    *string `json:"how_to_eat"`
	Region      *string `json:"region"`
}

func pointer(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Translation answers with a line fit to print on a menu.
func (r Reading) Translation() Answer {
	d := TranslationData{
		Translation: r.printedName(), Alternatives: []string{},
		SourceLanguage: language(r.q.SourceLanguage, r.source), TargetLanguage: language(r.q.TargetLanguage, r.target),
	}
	a := r.answer()
	switch {
	case r.source == r.target:
		d.CategoryTranslation = pointer(cut(clean(r.q.Category), maxTranslation))
		if !r.notDish && r.basis != BasisNone {
			a.Status, a.Confidence = StatusOK, 1
		}
	case r.target != "en" && r.target != "ja":
		a.Status, a.Confidence = StatusUnknown, 0
		a.Warnings = append(a.Warnings, "The offline knowledge has no words in the language "+cut(clean(r.target), 20)+"; the printed name is kept.")
	default:
		d.CategoryTranslation = pointer(r.categoryLine())
		r.translate(&d, &a)
	}
	a.Data = d
	return a
}

func (r Reading) translate(d *TranslationData, a *Answer) {
	line := upperFirst(r.lineEN)
	if r.target == "ja" {
		line = r.lineJA
	}
	switch {
	case line == "" && r.basis == BasisCategory:
		if plain, _ := romanise(r.said.kana); plain != "" && r.target == "en" && r.family.Bare != "" {
			d.Translation = cut(upperFirst(plain)+" ("+r.family.Bare+")", maxTranslation)
		}
		return
	case line == "":
		return
	case r.basis == BasisNone || r.basis == BasisCategory: // an opaque name: the words are known, the contents are not
		a.Status, a.Basis, a.Confidence = StatusPartial, BasisComposed, 0.5
	}
	if r.target == "en" && r.dish != nil {
		d.Literal = pointer(r.dish.Literal)
		if term := r.keepTerm(); term != "" {
			d.KeepTerm = &term
			if long := line + " (" + term + ")"; len([]rune(long)) <= maxTranslation && !strings.Contains(strings.ToLower(line), strings.ToLower(term)) {
				line = long
			}
		}
	}
	if len([]rune(line)) > maxTranslation { // the loan words are the least loss
		line = bracketed.ReplaceAllString(line, "")
	}
	var sizes []string
	for _, s := range r.sizes {
		if s != "" && !slices.Contains(sizes, s) && r.target == "en" {
			sizes = append(sizes, s)
		}
	}
	if long := line + " (" + strings.Join(sizes, ", ") + ")"; len(sizes) > 0 && len([]rune(long)) <= maxLine {
		line = long
	}
	d.Translation = cut(shorten(line, maxLine), maxLine)
}

// keepTerm is the word of the menu that a guest should know as well: a loan word of the tables, or what a French or
// Italian menu calls the dish.
func (r Reading) keepTerm() string {
	switch {
	case r.dish.Term == "=":
		plain, _ := romanise(r.dish.kana)
		return plain
	case r.dish.Term == "" && (r.source == "fr" || r.source == "it") && r.basis == BasisExact && !strings.Contains(r.dish.English, "("):
		main, _ := brackets([]rune(strings.ToLower(r.printed)))
		return strings.TrimSpace(string(main))
	default:
		return r.dish.Term
	}
}

func language(tag, base string) string {
	if t := clean(tag); t != "" {
		return cut(t, 35)
	}
	return base
}

// printedName is the source's own name, short enough for a menu line.
func (r Reading) printedName() string { return cut(r.printed, maxTranslation) }

// categoryLine translates the heading, or returns "" where a word is unknown.
func (r Reading) categoryLine() string {
	main, _ := brackets(simplify(clean(r.q.Category)))
	if s := r.heading(lookupKey(string(main))); s != "" {
		return cut(upperFirst(s), maxTranslation)
	}
	var out []string
	for part := range strings.FieldsFuncSeq(headingSigns(string(main), r.source), func(c rune) bool { return strings.ContainsRune("・/、&,|", c) }) {
		key := lookupKey(part)
		if s := r.heading(key); s != "" {
			out = append(out, s)
			continue
		}
		c := &composer{latin: r.source == "fr" || r.source == "it", negated: map[string]bool{}, negLeafs: map[string]bool{}, text: phraseGaps([]rune(part)), guess: r.k.guess}
		c.add(r.k.segment([]rune(part), r.families, r.source))
		c.finish()
		if s := line(c, r.textLang); len(c.unknown) == 0 && s != "" {
			out = append(out, s)
		} else if key != "" {
			return ""
		}
	}
	out = slices.Compact(out)
	if r.textLang == "ja" {
		return cut(strings.Join(out, "・"), maxTranslation)
	}
	for i := range out {
		out[i] = upperFirst(out[i])
	}
	return cut(strings.Join(out, ", "), maxTranslation)
}

// heading translates one word of a heading. A spelling that has a meaning of
// its own (グラタン under "Western-style dishes") keeps it.
func (r Reading) heading(key string) string {
	t := r.k.categories[key]
	if t == nil {
		return ""
	}
	if w := r.k.meanings(key, r.families); w.term != nil && w.kind != kindModifier && t.Role == "broad" && lookupKey(t.ja) != key {
		return r.say(or(w.Bare, w.English), w.ja)
	}
	return r.say(t.English, t.ja)
}

// Description says in a few words what the dish is.
func (r Reading) Description() Answer {
	d := DescriptionData{Serving: "unknown", Raw: "unknown"}
	a := r.answer()
	switch {
	case r.notDish:
		d.Description = r.say("This line is not a dish.", "料理の名前ではありません。")
	case r.basis == BasisNone, r.dish != nil && r.dish.Desc == "" && len(r.uses) == 0:
		d.Description = r.say("What this dish contains is not known here. Please ask the staff.", "この料理の内容は分かりません。お店の人に聞いてください。")
	case r.basis == BasisCategory:
		d.Description = r.say("Listed under ", "「") + r.say(r.family.English, r.family.ja) + r.say("; what exactly it contains is not known here. Please ask the staff.", "」の一品。詳しい内容は分かりません。お店の人に聞いてください。")
		d.Serving = or(r.family.Serving, "unknown")
	default:
		d.Description = cut(r.describe(), maxDescription)
		d.Serving, d.Raw = r.serving(), r.rawness()
		if r.dish != nil && r.textLang == "en" {
			d.HowToEat, d.Region = pointer(r.dish.How), pointer(r.dish.Region)
		}
	}
	r.warnLanguage(&a)
	a.Data = d
	return a
}

func (r Reading) warnLanguage(a *Answer) {
	if r.target != "en" && r.target != "ja" {
		if a.Status == StatusOK {
			a.Status = StatusPartial
		}
		a.Warnings = append(a.Warnings, "No text in the language "+cut(clean(r.target), 20)+" is kept offline; this is English.")
	}
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func (r Reading) describe() string {
	if r.dish != nil {
		if s := r.say(r.dish.Desc, r.dish.DescJa); s != "" {
			return s
		}
	}
	named, shown, hidden := r.ingredientNames()
	if r.textLang == "ja" {
		s := or(r.lineJA, r.printedName()) + "。"
		if !saidAll(s, shown) {
			s += "主な材料は" + strings.Join(shown, "、") + "。"
		}
		hidden = slices.DeleteFunc(hidden, func(n string) bool { return strings.Contains(s, n) })
		if len(hidden) > 0 {
			s += "ふつう" + strings.Join(hidden, "、") + "も使います。"
		}
		if strings.Count(s, "。") == 1 {
			s += r.kindOfDish()
		}
		return s
	}
	s := upperFirst(r.lineEN)
	switch {
	case r.last != nil && len(named) > 0 && !r.partial && strings.Contains(r.last.Desc, "{}"):
		s = upperFirst(strings.Replace(r.last.Desc, "{}", joinWords(named, "and"), 1))
		hidden = slices.DeleteFunc(hidden, func(n string) bool { // the sentence has said it
			return slices.ContainsFunc(r.last.parts, func(o use) bool { return o.role == "hidden" && r.name(o.term) == n })
		})
	case len(shown) > 1 && !saidAll(s, shown):
		s += ": made with " + joinWords(shown, "and") + "."
	default:
		s += "."
		if r.last != nil && (r.last.kind == kindIngredient || r.last.kind == kindSauce) && len(r.families) == 1 && r.families[0].Desc != "" {
			s += " " + r.families[0].Desc
		}
	}
	said := strings.ToLower(s)
	hidden = slices.DeleteFunc(hidden, func(n string) bool { return strings.Contains(said, singular(strings.ToLower(n))) })
	if len(hidden) > 0 {
		s += " Usually also " + joinWords(hidden, "and") + "."
	}
	if kind := r.kindOfDish(); kind != "" && s == upperFirst(r.lineEN)+"." {
		s += " " + kind
	}
	return s
}

// saidAll tells whether a line names all of these ingredients already.
func saidAll(line string, names []string) bool {
	line = strings.ToLower(line)
	return !slices.ContainsFunc(names, func(n string) bool { return !strings.Contains(line, singular(strings.ToLower(n))) })
}

// kindOfDish says what a dish is made of on the whole, for a line whose words a guest may not know (andouillette).
func (r Reading) kindOfDish() string {
	for _, u := range r.uses {
		if u.role != "main" || u.cert < classical {
			continue
		}
		switch u.term.Group {
		case "meat", "processed_meat":
			return r.say("A meat dish.", "肉料理です。")
		case "fish":
			return r.say("A fish dish.", "魚料理です。")
		case "shellfish":
			return r.say("A seafood dish.", "魚介料理です。")
		case "egg":
			return r.say("An egg dish.", "卵料理です。")
		case "vegetable", "mushroom", "potato", "legume":
			return r.say("A vegetable dish.", "野菜料理です。")
		default:
			return ""
		}
	}
	return ""
}

// ingredientNames lists what the name itself says, all that can be seen, and
// what the recipe usually hides.
func (r Reading) ingredientNames() (named, shown, hidden []string) {
	for _, u := range r.uses {
		name := r.name(u.term)
		own := r.last != nil && slices.ContainsFunc(r.last.parts, func(o use) bool { return o.term == u.term && r.last.kind != kindIngredient })
		switch {
		case u.cert == possible:
		case u.role == "main" || u.role == "secondary":
			shown = append(shown, name)
			if !own && u.cert == classical {
				named = append(named, name)
			}
		default:
			hidden = append(hidden, name)
		}
	}
	return named[:min(len(named), 6)], shown[:min(len(shown), 6)], hidden[:min(len(hidden), 5)]
}

func (r Reading) serving() string {
	if line := strings.ToLower(r.lineEN); strings.HasPrefix(line, "cold ") || strings.HasPrefix(line, "chilled ") || strings.HasPrefix(line, "iced ") {
		return "cold"
	}
	for _, t := range []*term{r.dish, r.last, r.family} {
		if t != nil && t.Serving != "" {
			return t.Serving
		}
	}
	return "unknown"
}

// heated tells whether a method cooks what it is done to.
func heated(method string) bool {
	switch method {
	case "cured", "pickled", "marinated", "whipped", "crushed", "served raw", "sliced raw":
		return false
	default:
		return true
	}
}

func (r Reading) rawness() string {
	if r.dish != nil && r.dish.Raw != "" {
		return map[string]string{"raw": "raw", "part": "partly_raw", "cooked": "cooked"}[r.dish.Raw]
	}
	raw, animals := 0, 0
	for _, u := range r.uses {
		if u.term.animal() != "" && (u.role == "main" || u.role == "secondary") {
			animals++
		}
		if u.raw && u.cert > possible {
			raw++
		}
	}
	switch {
	case raw > 0 && raw >= animals:
		return "raw"
	case raw > 0:
		return "partly_raw"
	case slices.ContainsFunc(r.methods, heated):
		return "cooked"
	default:
		return "unknown"
	}
}

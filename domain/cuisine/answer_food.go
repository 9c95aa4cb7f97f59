package cuisine

import (
	"slices"
	"strings"
)

// AllergenData is the answer of stage "allergen". Allergens lists what is
// known to be, or may be, inside; what is missing from it is not known.
type AllergenData struct {
	Allergens            []AllergenFinding `json:"allergens"`
	ByStandard           ByStandard        `json:"by_standard"`
	Completeness         string            `json:"completeness"` // recipe, name_only, unknown
	DeclaredByRestaurant []string          `json:"declared_by_restaurant"`
	AskStaff             AskStaff          `json:"ask_staff"`
	Disclaimer           string            `json:"disclaimer"`
}

// AllergenFinding is one leaf with the ingredient that brings it.
type AllergenFinding struct {
	Code             string  `json:"code"`
	Level            string  `json:"level"` // contains, likely, may_contain
	SourceIngredient string  `json:"source_ingredient"`
	Confidence       float64 `json:"confidence"`
}

// ByStandard holds the findings in the words of three laws.
type ByStandard struct {
	JP []string `json:"jp"`
	EU []string `json:"eu"`
	US []string `json:"us"`
}

// AskStaff is the same question for the staff and for the guest.
type AskStaff struct {
	Ja         string `json:"ja"`
	Translated string `json:"translated"`
}

// IngredientData is the answer of stage "ingredient".
type IngredientData struct {
	Ingredients    []IngredientUse `json:"ingredients"`
	CookingMethods []string        `json:"cooking_methods"`
	Cuisine        *string         `json:"cuisine"`
}

// IngredientUse is one ingredient of the recipe.
type IngredientUse struct {
	Name       string  `json:"name"`
	NameSource *string `json:"name_source"`
	Role       string  `json:"role"`      // main, secondary, seasoning, hidden
	Certainty  string  `json:"certainty"` // classical, usual, possible
	FoodGroup  string  `json:"food_group"`
}

// finding is a leaf with the firmest reason found for it.
type finding struct {
	leaf *Leaf
	cert certainty
	from *term
	role string // of the ingredient
}

// nearer tells whether an ingredient explains a leaf better to a guest than another that is as certain: the udon noodles
// rather than the soy sauce in their broth.
func nearer(role, than string) bool {
	order := []string{"main", "secondary", "hidden", "seasoning"}
	return slices.Index(order, role) < slices.Index(order, than)
}

// findings derives the allergens from the ingredients: a leaf is as certain as
// the weaker of the ingredient in the dish and the leaf in the ingredient.
func (r Reading) findings() []finding {
	var out []finding
	for _, u := range r.uses {
		for _, l := range u.term.leaves {
			c := min(u.cert, l.cert)
			if r.negLeafs[l.leaf.Code] {
				c = possible
			}
			if r.basis == BasisCategory {
				c = min(c, usual)
			}
			if i := slices.IndexFunc(out, func(f finding) bool { return f.leaf == l.leaf }); i < 0 {
				out = append(out, finding{l.leaf, c, u.term, u.role})
			} else if c > out[i].cert || (c == out[i].cert && nearer(u.role, out[i].role)) {
				out[i] = finding{l.leaf, c, u.term, u.role}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b finding) int {
		if a.cert != b.cert {
			return int(b.cert - a.cert)
		}
		return r.k.laws.order[a.leaf.Code] - r.k.laws.order[b.leaf.Code]
	})
	return out
}

// Allergens answers with what the dish contains, likely contains or may
// contain. An empty list comes with a warning and is never a clearance.
func (r Reading) Allergens() Answer {
	d := AllergenData{
		Allergens: []AllergenFinding{}, Completeness: "unknown", DeclaredByRestaurant: []string{},
		Disclaimer: r.say("Inferred from the printed name and the classical recipe, not from this kitchen. Ask the staff.",
			"料理名と一般的なレシピからの推定です。この店の調理とは異なることがあります。必ずお店の人に確認してください。"),
	}
	a := r.answer()
	found := r.findings()
	codes := make([]string, 0, len(found))
	for _, f := range found {
		codes = append(codes, f.leaf.Code)
		level, conf := "contains", 0.97
		switch f.cert {
		case classical:
		case usual:
			level, conf = "likely", 0.8
		case possible:
			level, conf = "may_contain", 0.4
		}
		d.Allergens = append(d.Allergens, AllergenFinding{f.leaf.Code, level, r.name(f.from), round2(conf * min(1, r.confidence()+0.1))})
	}
	d.ByStandard = ByStandard{r.k.ByLaw(LawJapan, codes), r.k.ByLaw(LawEU, codes), r.k.ByLaw(LawUS, codes)}
	switch {
	case len(r.uses) == 0:
		a.Status = StatusUnknown
		if r.basis != BasisNone && r.basis != BasisCategory {
			a.Confidence = 0
		}
		a.Warnings = append(a.Warnings, r.say("The ingredients are not known here; ask the staff before ordering.", "材料が分かりません。注文前にお店の人に確認してください。"))
	case r.dish != nil && !r.partial:
		d.Completeness = "recipe"
	default:
		d.Completeness = "name_only"
	}
	if len(r.uses) > 0 && len(found) == 0 {
		a.Status = StatusPartial
		a.Warnings = append(a.Warnings, r.say("An empty list only means that nothing was recognised; ask the staff.", "一覧が空でも、判定できたものがないというだけです。お店の人に確認してください。"))
	}
	if r.opaque && a.Status == StatusOK {
		a.Status = StatusPartial
	}
	for _, c := range r.claims {
		if c = strings.TrimSpace(c); c != "" && !slices.Contains(d.DeclaredByRestaurant, c) {
			d.DeclaredByRestaurant = append(d.DeclaredByRestaurant, cut(c, 80))
		}
	}
	if len(d.DeclaredByRestaurant) > 0 {
		a.Warnings = append(a.Warnings, r.say("The menu prints a claim of its own; it is the restaurant's and was not checked.", "メニューの表示は店の記載であり、確認したものではありません。"))
	}
	if r.choice {
		a.Warnings = append(a.Warnings, r.say("You choose: the list covers every option.", "選択式です。一覧はすべての選択肢を含みます。"))
	}
	d.AskStaff = r.AskStaff(codes)
	r.warnLanguage(&a)
	a.Data = d
	return a
}

func round2(f float64) float64 { return float64(int(f*100+0.5)) / 100 }

// AskStaff writes the question for the first five of the leaves, or an open one
// where there are none; a code that is no leaf is left out. The second text is
// for the guest; where the menu is not Japanese it is in the menu's language,
// since there the staff reads it.
func (r Reading) AskStaff(codes []string) AskStaff {
	var ja, en []string
	for _, code := range codes {
		if leaf := r.k.laws.byCode[code]; leaf != nil && len(ja) < 5 {
			ja, en = append(ja, leaf.short("ja")), append(en, leaf.short("en"))
		}
	}
	lang := r.textLang
	if r.source != "ja" {
		lang = r.source
	}
	q := AskStaff{Ja: "この料理の材料とアレルゲンを教えてください。", Translated: "Could you tell me what is in this dish, allergens included?"}
	if len(ja) > 0 {
		q.Ja = "この料理に" + strings.Join(ja, "・") + "は入っていますか？"
		q.Translated = "Does this dish contain " + joinWords(en, "or") + "?"
	}
	switch lang {
	case "ja":
		q.Translated = q.Ja
	case "fr":
		q.Translated = "Pouvez-vous me dire quels ingrédients et allergènes contient ce plat ?"
	case "it":
		q.Translated = "Può dirmi quali ingredienti e allergeni contiene questo piatto?"
	}
	return q
}

// Ingredients answers with the recipe, the hidden parts included.
func (r Reading) Ingredients() Answer {
	d := IngredientData{Ingredients: []IngredientUse{}, CookingMethods: []string{}}
	a := r.answer()
	order := map[string]int{"main": 0, "secondary": 1, "seasoning": 2, "hidden": 3}
	uses := slices.Clone(r.uses)
	slices.SortStableFunc(uses, func(a, b use) int { return order[a.role] - order[b.role] })
	for _, u := range uses {
		if r.basis == BasisCategory {
			u.cert = min(u.cert, usual)
		}
		var src *string
		if r.source == "ja" {
			src = pointer(u.term.ja)
		}
		d.Ingredients = append(d.Ingredients, IngredientUse{r.name(u.term), src, u.role, u.cert.String(), u.term.Group})
	}
	d.CookingMethods = append(d.CookingMethods, r.methods...)
	if len(r.uses) == 0 {
		a.Status, a.Confidence = StatusUnknown, 0
	}
	if r.basis != BasisNone {
		for _, t := range []*term{r.dish, r.last, r.family} {
			if t != nil && t.Cuisine != "" {
				if d.Cuisine = pointer(t.Cuisine); r.source != "ja" && t.kind != kindDish {
					d.Cuisine = nil // a Japanese family's habit says nothing of a menu elsewhere
				}
				break
			}
		}
	}
	r.warnLanguage(&a)
	a.Data = d
	return a
}

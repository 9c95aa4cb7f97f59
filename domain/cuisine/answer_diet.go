package cuisine

import "slices"

// DietData is the answer of stage "task6".
type DietData struct {
	Kind   string      `json:"kind"` // "diet"
	Labels []DietLabel `json:"labels"`
}

// DietLabel is one verdict with its reason.
type DietLabel struct {
	Code    string `json:"code"`
	Verdict string `json:"verdict"` // yes, no, depends, unknown
	Reason  string `json:"reason"`
}

// Kinds of animal food, as the diets tell them apart.
const (
	animalMeat  = "meat"
	animalFish  = "fish"
	animalEgg   = "egg"
	animalMilk  = "milk"
	animalHoney = "honey"
)

// animal tells which animal food an ingredient certainly is, or "".
func (t *term) animal() string { return t.animalAt(classical) }

// animalAt also counts animal parts of at least the given certainty.
func (t *term) animalAt(least certainty) string {
	switch t.Group {
	case "meat", "processed_meat":
		return animalMeat
	case "fish", "shellfish", "fish_paste":
		return animalFish
	case "egg":
		return animalEgg
	case "dairy":
		return animalMilk
	}
	if t.ID == "honey" {
		return animalHoney
	}
	kinds := map[string]bool{}
	for _, l := range t.leaves {
		if l.cert < least {
			continue
		}
		switch l.leaf.Code {
		case "beef", "pork", "chicken", "gelatin":
			return animalMeat
		case "fish", "salmon", "mackerel", "salmon_roe", "shrimp", "crab", "crustacean", "squid", "abalone", "mollusc":
			kinds[animalFish] = true
		case "egg":
			kinds[animalEgg] = true
		case "milk":
			kinds[animalMilk] = true
		}
	}
	for _, k := range []string{animalFish, animalEgg, animalMilk} {
		if kinds[k] {
			return k
		}
	}
	return ""
}

// Diet answers with dietary labels. "yes" needs an exact recipe whose every
// ingredient, the stock included, is certain.
func (r Reading) Diet() Answer {
	d := DietData{Kind: "diet", Labels: []DietLabel{}}
	a := r.answer()
	unsure := len(r.uses) == 0 || r.basis == BasisCategory || r.partial || r.opaque
	for _, diet := range []struct {
		code string
		bad  []string
	}{
		{"vegetarian", []string{animalMeat, animalFish}},
		{"vegan", []string{animalMeat, animalFish, animalEgg, animalMilk, animalHoney}},
		{"pescatarian", []string{animalMeat}},
	} {
		d.Labels = append(d.Labels, r.dietLabel(diet.code, diet.bad, unsure))
	}
	if len(r.uses) == 0 {
		a.Status, a.Confidence = StatusUnknown, 0
		for _, c := range []string{"halal_concern", "kosher_concern", "gluten_concern", "dairy_free_concern"} {
			d.Labels = append(d.Labels, DietLabel{c, "unknown", r.say("ingredients not known", "材料が不明")})
		}
		a.Data = d
		return a
	}
	r.concerns(&d)
	r.warnLanguage(&a)
	a.Data = d
	return a
}

func (r Reading) dietLabel(code string, bad []string, unsure bool) DietLabel {
	var maybe *term
	for _, u := range r.uses {
		if a := u.term.animal(); slices.Contains(bad, a) {
			if u.cert == classical && !r.negated[u.term.ID] {
				return DietLabel{code, "no", r.name(u.term)}
			}
			maybe = u.term
		} else if maybe == nil && slices.Contains(bad, u.term.animalAt(possible)) {
			maybe = u.term
		}
	}
	switch {
	case maybe != nil:
		return DietLabel{code, "depends", r.name(maybe)}
	case unsure:
		return DietLabel{code, "unknown", r.say("ingredients not fully known", "材料が十分に分からない")}
	case r.basis == BasisExact:
		return DietLabel{code, "yes", r.say("by the classical recipe; ask about stock and shared oil", "一般的なレシピによる。出汁や揚げ油は要確認")}
	default:
		return DietLabel{code, "depends", r.say("inferred from the name; ask about stock and sauces", "名前からの推定。出汁やソースは要確認")}
	}
}

// concerns adds the labels that warn; it never adds one that clears.
func (r Reading) concerns(d *DietData) {
	warn := func(code string, hits func(u use) certainty) {
		best, from := certainty(-1), (*term)(nil)
		for _, u := range r.uses {
			if c := hits(u); c > best {
				best, from = min(c, u.cert), u.term
			}
		}
		if from == nil {
			return
		}
		verdict := "yes"
		if best < classical || r.basis == BasisCategory {
			verdict = "depends"
		}
		d.Labels = append(d.Labels, DietLabel{code, verdict, r.name(from)})
	}
	leaf := func(codes ...string) func(use) certainty {
		return func(u use) certainty {
			best := certainty(-1)
			for _, l := range u.term.leaves {
				if slices.Contains(codes, l.leaf.Code) && !r.negLeafs[l.leaf.Code] {
					best = max(best, min(l.cert, u.cert))
				}
			}
			return best
		}
	}
	alcohol := func(u use) certainty {
		if u.term.Alcohol || u.term.Group == "alcohol" {
			return u.cert
		}
		return -1
	}
	rawOf := func(kinds ...string) func(use) certainty {
		return func(u use) certainty {
			if u.raw && slices.Contains(kinds, u.term.animal()) {
				return u.cert
			}
			return -1
		}
	}
	pork := leaf("pork")
	warn("halal_concern", func(u use) certainty {
		if c := max(pork(u), alcohol(u)); c >= 0 {
			return c
		}
		if u.term.animal() == animalMeat {
			return min(u.cert, usual)
		}
		return -1
	})
	shell := leaf("pork", "shrimp", "crab", "crustacean", "squid", "abalone", "mollusc")
	warn("kosher_concern", func(u use) certainty {
		if c := shell(u); c >= 0 {
			return c
		}
		if u.term.animal() == animalMeat {
			return min(u.cert, usual)
		}
		return -1
	})
	warn("gluten_concern", leaf("wheat", "barley", "rye", "oats"))
	warn("dairy_free_concern", leaf("milk"))
	warn("alcohol", alcohol)
	warn("raw_fish", rawOf(animalFish))
	warn("raw_meat", rawOf(animalMeat))
	warn("raw_egg", rawOf(animalEgg))
}

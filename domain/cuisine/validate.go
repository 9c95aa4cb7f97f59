package cuisine

import (
	"fmt"
	"slices"
	"strings"
)

// foodGroups are the values of key "g". The diet answers reason with them.
func foodGroups() []string {
	return []string{
		"meat", "fish", "shellfish", "egg", "dairy", "cereal", "noodle", "bread", "vegetable", "mushroom", "seaweed",
		"legume", "soy", "nut", "fruit", "potato", "seasoning", "sauce", "stock", "spice", "oil", "sweet", "drink",
		"alcohol", "fish_paste", "pickle", "starch", "processed_meat",
	}
}

// check finds what a record says against itself or against the tables.
func (k *Knowledge) check(t *term) []error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", t.ID, fmt.Sprintf(format, args...)))
	}
	for _, f := range t.in {
		if k.families[f] == nil {
			bad("unknown context %q", f)
		}
	}
	switch t.kind {
	case kindIngredient, kindSauce:
		if !slices.Contains(foodGroups(), t.Group) {
			bad("food group %q is missing or unknown", t.Group)
		}
		if t.English == "" || t.ja == "" {
			bad("an ingredient needs a Japanese and an English name")
		}
	case kindDish:
		k.checkDish(t, bad)
	case kindMethod, kindHead:
		if strings.Count(t.English, "{}") != 1 || strings.Count(t.JaTmpl, "{}") > 1 {
			bad("template %q needs one {}", t.English)
		}
		if t.Desc != "" && strings.Count(t.Desc, "{}") != 1 {
			bad("description %q needs one {}", t.Desc)
		}
	case kindModifier:
		roles := []string{
			roleAdjective, roleSize, roleDrop, roleOf, roleAnd, roleOr, roleWith, roleWithNext, roleStyle, roleNot, roleUnit,
			roleOpaque, roleService, roleClaim,
		}
		if !slices.Contains(roles, t.Role) {
			bad("unknown role %q", t.Role)
		}
	case kindCategory:
		if t.English == "" || t.Emoji == "" {
			bad("a category needs an English name and an emoji")
		}
		if t.HeadID != "" && k.heads[t.HeadID] == nil {
			bad("unknown head %q", t.HeadID)
		}
	case kindKanji:
		if t.SufKana != "" && !isKana(t.SufKana) {
			bad("reading %q is not kana", t.SufKana)
		}
	}
	for _, n := range t.names {
		if n.kana == "" && t.kind != kindModifier && t.kind != kindCategory {
			bad("no reading for %q", n.text)
		}
		if n.kana != "" && !isKana(strings.ReplaceAll(n.kana, "|", "")) {
			bad("reading %q is not kana", n.kana)
		}
	}
	return errs
}

func (k *Knowledge) checkDish(t *term, bad func(string, ...any)) {
	if t.ja == "" || t.English == "" {
		bad("a dish needs a Japanese and an English name")
	}
	if k.families[t.Family] == nil {
		bad("unknown family %q", t.Family)
	}
	if n := len([]rune(t.English)); n > maxTranslation {
		bad("English name has %d characters, a menu line %d", n, maxTranslation)
	}
	for _, d := range []string{t.Desc, t.DescJa} {
		if n := len([]rune(d)); n > maxDescription {
			bad("description has %d characters, allowed are %d", n, maxDescription)
		}
	}
	if !slices.Contains([]string{"", "hot", "cold", "room", "either"}, t.Serving) {
		bad("unknown serving %q", t.Serving)
	}
	if !slices.Contains([]string{"", "raw", "part", "cooked"}, t.Raw) {
		bad("unknown rawness %q", t.Raw)
	}
	if t.Hot < 0 || t.Hot > 4 {
		bad("spiciness %d is outside 0-4", t.Hot)
	}
	for _, u := range t.parts {
		if a := u.term.animal(); t.Diet != "" && a != "" && (t.Diet == "vegan" || (a != animalEgg && a != animalMilk)) {
			bad("diet %q contradicts ingredient %q (%s)", t.Diet, u.term.ID, a)
		}
		if u.raw && t.Raw == "cooked" {
			bad("cooked, but %q is marked raw", u.term.ID)
		}
	}
}

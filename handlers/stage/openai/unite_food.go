package openai

import (
	"cmp"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
)

// What people may be hurt by is united so that a model can only add to it: a finding of the knowledge base is never
// removed or weakened, a verdict never becomes less careful.

// maxIngredients bounds a united list.
const maxIngredients = 60

// firmness orders the levels of an allergen.
func firmness(level string) int {
	switch level {
	case "contains":
		return 3
	case "likely":
		return 2
	case "may_contain":
		return 1
	}
	return 0
}

func (p *Provider) mergeAllergens(d *dish, e entry) (united, error) {
	data, model, err := both[cuisine.AllergenData](d, e)
	if err != nil {
		return united{}, err
	}
	found := slices.Clone(data.Allergens)
	for _, f := range model.Allergens {
		f.Confidence = min(f.Confidence, maxConfidence)
		if !d.known() && f.Level == "contains" {
			f.Level = "likely" // nobody here can say so much of a dish that the knowledge base does not know
		}
		i := slices.IndexFunc(found, func(o cuisine.AllergenFinding) bool { return o.Code == f.Code })
		switch {
		case i < 0:
			found = append(found, f)
		case firmness(f.Level) > firmness(found[i].Level):
			found[i] = f
		case f.Level == found[i].Level:
			found[i].Confidence = max(found[i].Confidence, f.Confidence)
		}
	}
	if len(found) == 0 {
		return united{nothing: true}, nil
	}
	order := map[string]int{}
	for i, leaf := range p.knowledge.Allergens() {
		order[leaf.Code] = i
	}
	slices.SortStableFunc(found, func(a, b cuisine.AllergenFinding) int {
		return cmp.Or(firmness(b.Level)-firmness(a.Level), order[a.Code]-order[b.Code])
	})
	codes := make([]string, len(found))
	for i, f := range found {
		codes[i] = f.Code
	}
	data.Allergens = found
	data.ByStandard = cuisine.ByStandard{
		JP: p.knowledge.ByLaw(cuisine.LawJapan, codes), EU: p.knowledge.ByLaw(cuisine.LawEU, codes), US: p.knowledge.ByLaw(cuisine.LawUS, codes),
	}
	data.AskStaff = d.reading.AskStaff(codes)
	if data.Completeness == unknown {
		data.Completeness = "name_only"
	}
	return united{data: data, status: d.status(e), warnings: d.local.Warnings}, nil
}

// status of an answer that people may be hurt by: whole only if the knowledge base knows the dish and the model does too.
func (d *dish) status(e entry) menu.ResultStatus {
	if d.local.Status == cuisine.StatusOK {
		return e.status
	}
	return menu.StatusPartial
}

func certainty(c string) int {
	switch c {
	case "classical":
		return 3
	case "usual":
		return 2
	case "possible":
		return 1
	}
	return 0
}

func mergeIngredients(d *dish, e entry) (united, error) {
	data, model, err := both[cuisine.IngredientData](d, e)
	if err != nil {
		return united{}, err
	}
	list := slices.Clone(data.Ingredients)
	for _, m := range model.Ingredients {
		if !d.known() && m.Certainty == "classical" {
			m.Certainty = "usual"
		}
		i := slices.IndexFunc(list, func(o cuisine.IngredientUse) bool { return sameIngredient(o, m) })
		if i < 0 {
			if len(list) < maxIngredients {
				list = append(list, m)
			}
			continue
		}
		if certainty(m.Certainty) > certainty(list[i].Certainty) {
			list[i].Certainty = m.Certainty
		}
	}
	if len(list) == 0 {
		return united{nothing: true}, nil
	}
	data.Ingredients = list
	methods := slices.Clone(data.CookingMethods)
	for _, m := range model.CookingMethods {
		if !slices.ContainsFunc(methods, func(o string) bool { return folded(o) == folded(m) }) {
			methods = append(methods, m)
		}
	}
	data.CookingMethods, data.Cuisine = methods, either(data.Cuisine, model.Cuisine)
	return united{data: data, status: d.status(e), warnings: d.local.Warnings}, nil
}

func sameIngredient(a, b cuisine.IngredientUse) bool {
	if folded(a.Name) == folded(b.Name) {
		return true
	}
	return a.NameSource != nil && b.NameSource != nil && *a.NameSource != "" && folded(*a.NameSource) == folded(*b.NameSource)
}

func folded(text string) string { return strings.ToLower(strings.TrimSpace(norm.NFKC.String(text))) }

// mergeDiet lets a model make verdicts more careful and add concerns. One that is unknown here never becomes a yes.
func mergeDiet(d *dish, e entry) (united, error) {
	data, model, err := both[cuisine.DietData](d, e)
	if err != nil {
		return united{}, err
	}
	labels, changed := slices.Clone(data.Labels), false
	for _, m := range model.Labels {
		i := slices.IndexFunc(labels, func(o cuisine.DietLabel) bool { return o.Code == m.Code })
		switch {
		case m.Verdict == unknown: // says nothing
		case i >= 0:
			if care(m) > care(labels[i]) {
				labels[i], changed = m, true
			}
		case care(m) > 0 && !diet(m.Code):
			labels, changed = append(labels, m), true
		}
	}
	if !changed && d.local.Status != cuisine.StatusOK {
		return united{nothing: true}, nil
	}
	data.Labels = labels
	return united{data: data, status: d.status(e), warnings: d.local.Warnings}, nil
}

// diet says whether a label is one that a dish fits; all others are concerns.
func diet(code string) bool { return code == "vegetarian" || code == "vegan" || code == "pescatarian" }

// care orders verdicts by how careful they make a guest: a diet that does not fit, a concern that there is.
func care(l cuisine.DietLabel) int {
	switch l.Verdict {
	case "depends":
		return 2
	case unknown:
		return 1
	case "no":
		if diet(l.Code) {
			return 3
		}
	case "yes":
		if !diet(l.Code) {
			return 3
		}
	}
	return 0
}

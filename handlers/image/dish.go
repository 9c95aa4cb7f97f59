package image

import (
	"encoding/json"
	"slices"
	"strings"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
)

// Names says what allergens are called, by their code.
type Names map[string]Words

// NamesOf returns the names of all allergens that the knowledge of dishes tells apart.
func NamesOf(k *cuisine.Knowledge) Names {
	names := Names{}
	for _, leaf := range k.Allergens() {
		names[leaf.Code] = Words{Ja: short(leaf.NameJa), En: short(leaf.NameEn)}
	}
	return names
}

// short is a name without its examples and its second choice.
func short(name string) string {
	for _, end := range []string{" (", "(", " / "} {
		name, _, _ = strings.Cut(name, end)
	}
	return name
}

// CardOf returns the card of a dish as far as the stages have answered. What a stage does not know, has not answered or gave up
// stays unknown.
func CardOf(s menu.Session, d menu.Dish, names Names) Card {
	c := Card{Name: d.Name, Price: d.Price, SourceLanguage: s.SourceLanguage, TargetLanguage: s.TargetLanguage}

	var translation struct{ Translation string }
	if read(d, menu.Translation, &translation) {
		c.Translation = translation.Translation
	}
	var description struct{ Description string }
	if read(d, menu.Description, &description) {
		c.Description = description.Description
	}
	var reading struct {
		Kind, Kana, Romaji string
		RomajiMacron       string `json:"romaji_macron"`
	}
	if read(d, menu.Task7, &reading) && reading.Kind == "pronunciation" { // the slots are the operator's
		c.Reading, c.Romaji = reading.Kana, reading.RomajiMacron
		if c.Romaji == "" {
			c.Romaji = reading.Romaji
		}
	}
	var allergens struct {
		Allergens []struct {
			Code  string
			Level Level
		}
	}
	if read(d, menu.Allergen, &allergens) {
		for _, a := range allergens.Allergens {
			c.Allergens = append(c.Allergens, Allergen{Level: levelOf(a.Level), Names: names.of(a.Code)})
		}
	}
	var diet struct {
		Kind   string
		Labels []struct{ Code, Verdict string }
	}
	if read(d, menu.Task6, &diet) && diet.Kind == "diet" {
		for _, l := range diet.Labels {
			if mark, known := dietMarks[l.Code+" "+l.Verdict]; known && !slices.Contains(c.Marks, mark) {
				c.Marks = append(c.Marks, mark)
			}
		}
	}
	var taste struct {
		Kind      string
		Spiciness int
	}
	if read(d, menu.Task8, &taste) && taste.Kind == "taste" {
		c.Spiciness = max(0, min(taste.Spiciness, 4))
	}
	return c
}

// read decodes what a stage has answered for a dish. Data that is not as expected counts as none: whoever answered it was
// free to.
func read(d menu.Dish, stage menu.Stage, into any) bool {
	s := d.Stages[stage]
	switch menu.ResultStatus(s.Status) {
	case menu.StatusOK, menu.StatusPartial:
		return json.Unmarshal(s.Data, into) == nil
	case menu.StatusUnknown, menu.StatusSkipped:
	}
	return false
}

// levelOf takes a level that nobody knows for the weakest one.
func levelOf(l Level) Level {
	if l == Contains || l == Likely {
		return l
	}
	return MayContain
}

func (n Names) of(code string) Words {
	if name, known := n[code]; known {
		return name
	}
	code = strings.ReplaceAll(code, "_", " ")
	return Words{Ja: code, En: code}
}

// dietMarks are the labels of diet that a card shows, by code and verdict. Those that concern a diet are left to the
// allergens; "usually" is as far as an inference from a name goes.
var dietMarks = map[string]Words{ //nolint:gochecknoglobals // a constant; Go has no constant maps
	"vegetarian yes":   {"通常は菜食", "Usually vegetarian"},
	"vegan yes":        {"通常はヴィーガン", "Usually vegan"},
	"alcohol yes":      {"アルコール使用", "Alcohol"},
	"alcohol depends":  {"アルコール使用の場合あり", "Maybe alcohol"},
	"raw_fish yes":     {"生魚", "Raw fish"},
	"raw_fish depends": {"生魚の場合あり", "Maybe raw fish"},
	"raw_meat yes":     {"生肉", "Raw meat"},
	"raw_meat depends": {"生肉の場合あり", "Maybe raw meat"},
	"raw_egg yes":      {"生卵", "Raw egg"},
	"raw_egg depends":  {"生卵の場合あり", "Maybe raw egg"},
}

// maxPrompt bounds what a painter is told of one text, in characters.
const maxPrompt = 200

// prompt asks a painter for a picture of the dish on a card.
func (c Card) prompt() string {
	var b strings.Builder
	b.WriteString("A realistic picture of one dish as a restaurant serves it, from above at an angle, on a plain table in daylight. No text, no people, no logo.")
	for _, part := range []struct{ label, text string }{
		{"The dish on the menu", c.Name}, {"In other words", c.Translation}, {"What it is", c.Description},
	} {
		if text := []rune(clean(part.text)); len(text) > 0 {
			b.WriteString(" " + part.label + ": \"" + string(text[:min(len(text), maxPrompt)]) + "\".")
		}
	}
	return b.String()
}

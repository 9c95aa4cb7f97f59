package cuisine_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kondate/domain/cuisine"
)

var (
	qualityMenus  = flag.String("quality-menus", "testdata/quality", "folder of the menus with expectations that TestQuality scores")
	qualityMisses = flag.Bool("quality-misses", false, "TestQuality names every miss")
)

// expected is what a specialist says of one dish. See testdata/quality/README.md.
type expected struct {
	Translation [][]string `json:"translation"` // right if all fragments of one list occur
	Must        []string   `json:"must"`        // leaves that the classical dish always has
	May         []string   `json:"may"`         // further leaves that may be inside
	Kana        []string   `json:"kana"`        // accepted readings; none: not scored
	Ingredients [][]string `json:"ingredients"` // each list is one ingredient's accepted names
}

type qualityMenu struct {
	Title  string `json:"title"`
	Source string `json:"source_language"`
	Target string `json:"target_language"`
	Items  []struct {
		Name     string    `json:"name"`
		Category string    `json:"category"`
		Price    string    `json:"price"`
		Expect   *expected `json:"expect"`
	} `json:"items"`
}

// ratio counts hits.
type ratio struct{ hit, of int }

func (r *ratio) add(hit bool) {
	r.of++
	if hit {
		r.hit++
	}
}

func (r ratio) share() float64 {
	if r.of == 0 {
		return 1
	}
	return float64(r.hit) / float64(r.of)
}

func (r ratio) String() string {
	if r.of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*r.share())
}

// score holds the measures of the table, in the order of its columns.
type score struct {
	dishes                                                                int
	translation, warned, named, falseContains, reading, ingredients, bare ratio
	safety                                                                int
}

func (s *score) plus(o score) {
	s.dishes += o.dishes
	s.safety += o.safety
	for _, p := range [][2]*ratio{
		{&s.translation, &o.translation},
		{&s.warned, &o.warned},
		{&s.named, &o.named},
		{&s.falseContains, &o.falseContains},
		{&s.reading, &o.reading},
		{&s.ingredients, &o.ingredients},
		{&s.bare, &o.bare},
	} {
		p[0].hit += p[1].hit
		p[0].of += p[1].of
	}
}

func (s score) row(name string) string {
	return fmt.Sprintf("| %s | %d | %v | %v | %v | %v | %v | %v | %d | %d |",
		name, s.dishes, s.translation, s.warned, s.named, s.falseContains, s.reading, s.ingredients, s.bare.hit, s.safety)
}

// TestQuality scores the answers against expectations and holds what has been reached. The table is printed with -v.
func TestQuality(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(*qualityMenus, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no menus in %s: %v", *qualityMenus, err)
	}
	var all score
	rows := []string{
		"| menu | dishes | translation | allergens warned | named \"contains\" | false \"contains\" | readings | key ingredients | empty cards | claims of safety |",
		"|---|---|---|---|---|---|---|---|---|---|",
	}
	for _, f := range files {
		s := scoreFile(t, f)
		all.plus(s)
		rows = append(rows, s.row(strings.TrimSuffix(filepath.Base(f), ".json")))
	}
	t.Log("\n" + strings.Join(append(rows, all.row("all")), "\n"))
	for _, goal := range []struct {
		name  string
		value float64
		least float64
	}{
		{"translation", all.translation.share(), 0.95},
		{"allergens warned", all.warned.share(), 0.98},
		{"allergens named contains", all.named.share(), 0.88},
		{"contains that are true", 1 - all.falseContains.share(), 0.99},
		{"readings", all.reading.share(), 0.97},
		{"key ingredients", all.ingredients.share(), 0.95},
	} {
		if goal.value < goal.least {
			t.Errorf("%s: %.3f, want at least %.3f (go test ./domain/cuisine -run Quality -v -quality-misses names the misses)", goal.name, goal.value, goal.least)
		}
	}
	if all.bare.hit > 0 || all.safety > 0 {
		t.Errorf("%d empty cards and %d claims of safety, want none", all.bare.hit, all.safety)
	}
}

func scoreFile(t *testing.T, file string) score {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var m qualityMenu
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var s score
	for _, item := range m.Items {
		q := cuisine.Query{Name: item.Name, Category: item.Category, Price: item.Price, SourceLanguage: m.Source, TargetLanguage: m.Target}
		r := load(t).Read(q)
		miss := func(format string, args ...any) {
			if *qualityMisses {
				t.Logf("%s %s [%s]: %s", filepath.Base(file), item.Name, item.Category, fmt.Sprintf(format, args...))
			}
		}
		s.card(r, miss)
		if item.Expect != nil {
			s.dishes++
			s.judge(load(t), r, *item.Expect, miss)
			s.contents(load(t), q, *item.Expect, miss)
		}
	}
	return s
}

// safetyClaim finds texts that say a dish is free of something. What a restaurant declares itself is not looked at.
var safetyClaim = regexp.MustCompile(`(?i)\b(?:allergen|gluten|dairy|nut|egg|milk|wheat|soy)[- ]free\b|\bsafe\b|\bcontains no\b|\bdoes not contain\b|含まれて(?:い)?ません|入って(?:い)?ません|不使用です|安全`)

// card checks what holds for every dish: something to read on it, and no claim of safety.
func (s *score) card(r cuisine.Reading, miss func(string, ...any)) {
	tr, _ := r.Translation().Data.(cuisine.TranslationData)
	de, _ := r.Description().Data.(cuisine.DescriptionData)
	empty := strings.TrimSpace(tr.Translation) == "" || strings.TrimSpace(de.Description) == ""
	if s.bare.add(empty); empty {
		miss("empty card")
	}
	for _, a := range stages(r) {
		d := a.Data
		if al, ok := d.(cuisine.AllergenData); ok {
			al.DeclaredByRestaurant = nil
			d = al
		}
		b, _ := json.Marshal(d)
		if said := safetyClaim.Find(b); said != nil {
			s.safety++
			miss("claims %q", said)
		}
	}
}

func (s *score) judge(k *cuisine.Knowledge, r cuisine.Reading, e expected, miss func(string, ...any)) {
	tr, _ := r.Translation().Data.(cuisine.TranslationData)
	right := slices.ContainsFunc(e.Translation, func(all []string) bool {
		return !slices.ContainsFunc(all, func(f string) bool { return !strings.Contains(strings.ToLower(tr.Translation), strings.ToLower(f)) })
	})
	if s.translation.add(right); !right {
		miss("translated %q, want one of %q", tr.Translation, e.Translation)
	}
	levels := map[string]string{}
	al, _ := r.Allergens().Data.(cuisine.AllergenData)
	for _, f := range al.Allergens {
		levels[f.Code] = f.Level
		if f.Level != "contains" {
			continue
		}
		wrong := !slices.Contains(e.Must, f.Code) && !slices.Contains(e.May, f.Code)
		if s.falseContains.add(wrong); wrong {
			miss("false contains %s (%s)", f.Code, f.SourceIngredient)
		}
	}
	for _, code := range e.Must {
		if len(k.ByLaw(cuisine.LawJapan, []string{code}))+len(k.ByLaw(cuisine.LawEU, []string{code})) == 0 {
			continue // on neither list
		}
		if s.warned.add(levels[code] != ""); levels[code] == "" {
			miss("no warning of %s", code)
		}
		if s.named.add(levels[code] == "contains"); levels[code] != "contains" && levels[code] != "" {
			miss("%s is %s, want contains", code, levels[code])
		}
	}
	if len(e.Kana) > 0 {
		pr, _ := r.Pronunciation().Data.(cuisine.PronunciationData)
		if s.reading.add(slices.Contains(e.Kana, pr.Kana)); !slices.Contains(e.Kana, pr.Kana) {
			miss("read %q, want one of %q", pr.Kana, e.Kana)
		}
	}
}

// contents looks for the key ingredients, under their names in English and in the menu's target language.
func (s *score) contents(k *cuisine.Knowledge, q cuisine.Query, e expected, miss func(string, ...any)) {
	var names []string
	for _, target := range []string{q.TargetLanguage, "en"} {
		q.TargetLanguage = target
		in, _ := k.Read(q).Ingredients().Data.(cuisine.IngredientData)
		for _, u := range in.Ingredients {
			names = append(names, strings.ToLower(u.Name))
		}
	}
	all := strings.Join(names, "\n")
	for _, accepted := range e.Ingredients {
		found := slices.ContainsFunc(accepted, func(f string) bool { return strings.Contains(all, strings.ToLower(f)) })
		if s.ingredients.add(found); !found {
			miss("no ingredient of %q among %q", accepted, names)
		}
	}
}

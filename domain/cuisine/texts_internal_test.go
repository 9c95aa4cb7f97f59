package cuisine

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Load refuses what contradicts itself in the columns of the tables. This test reads their sentences as well, which is
// too slow for every start of the program.

// absence finds sentences that say what is not inside.
var absence = regexp.MustCompile(`(?i)\b(?:without|free of|no (?:meat|fish|egg|dairy|milk|wheat|gluten)|[a-z]+-free|safe)\b|不使用|入っていない|入らない|使わない|抜き`)

// comparison finds the part of a sentence that speaks of another food: "like an omelette", "named after chestnuts".
var comparison = regexp.MustCompile(`(?i)\b(?:like|than|named|shaped|\w+-style|resembles?|recalls?|instead of|not to be confused|taste of|looks?|imitat\w+|texture of)\b[^,.;]*`)

func TestTextsAgreeWithIngredients(t *testing.T) {
	t.Parallel()
	k, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range k.allDishes(t) {
		for _, fault := range k.textFaults(d) {
			t.Errorf("%s: %s", d.ja, fault)
		}
	}
}

func TestTextFaultsAreFound(t *testing.T) {
	t.Parallel()
	k, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	broken := &term{kind: kindDish, record: record{
		English: "Grilled chicken with shrimp", Desc: "Chicken cooked without dairy, with butter.", DescJa: "エビの入った鶏料理。", Raw: "raw",
	}, names: []spelling{{text: "焼きエビ鶏", kana: "やきえびにく"}, {text: "焼き鶏", kana: "にわとり"}}}
	if broken.parts, err = parseParts("chicken", k.ingredients); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(k.textFaults(broken), "\n")
	for _, want := range []string{"shrimp", "butter", "without", "エビ", "にわとり", "raw"} {
		if !strings.Contains(got, want) {
			t.Errorf("no fault names %s; found:\n%s", want, got)
		}
	}
}

func (k *Knowledge) allDishes(t *testing.T) []*term {
	t.Helper()
	var out []*term
	sub, err := fs.Sub(embedded, "data")
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(sub, "dishes_*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := decode(sub, f, kindDish, func(d *term) error { out = append(out, d); return k.link(d) }); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func (k *Knowledge) textFaults(d *term) []string {
	var faults []string
	for _, s := range []string{d.Desc, d.DescJa, d.How} {
		if said := absence.FindString(s); said != "" {
			faults = append(faults, fmt.Sprintf("%q says what is not inside: %q", s, said))
		}
		if lang := "en"; len(d.parts) > 0 || s == "" {
			if containsJapanese(s) {
				lang = "ja"
			}
			faults = append(faults, k.unexplained(d, comparison.ReplaceAllString(s, ""), lang)...)
		}
	}
	if len(d.parts) > 0 {
		faults = append(faults, k.unexplained(d, d.English, "en")...)
	}
	for _, n := range d.names {
		if n.kana != "" && !readsAs(n.text, n.kana) {
			faults = append(faults, fmt.Sprintf("%s cannot be read %s", n.text, n.kana))
		}
	}
	if d.Raw == "raw" && len(d.parts) > 0 && !slices.ContainsFunc(d.parts, func(u use) bool { return u.raw }) {
		faults = append(faults, "raw, but no ingredient is marked as served raw")
	}
	return faults
}

// unexplained names the foods of a sentence whose allergens, or alcohol, no ingredient brings.
func (k *Knowledge) unexplained(d *term, sentence, lang string) []string {
	var faults []string
	for _, w := range k.segment(simplify(clean(sentence)), nil, lang) {
		if w.term == nil || (w.term.kind != kindIngredient && w.term.kind != kindSauce) || (lang == "ja" && w.end-w.start < 2) {
			continue
		}
		for _, l := range w.term.leaves {
			explained := slices.ContainsFunc(d.parts, func(u use) bool {
				return slices.ContainsFunc(u.term.leaves, func(o leafUse) bool { return o.leaf == l.leaf })
			})
			if l.cert == classical && !explained {
				faults = append(faults, fmt.Sprintf("%q speaks of %s, and no ingredient explains %s", sentence, w.text, l.leaf.Code))
			}
		}
		alcohol := func(t *term) bool { return t.Alcohol || t.Group == "alcohol" }
		if alcohol(w.term) && !slices.ContainsFunc(d.parts, func(u use) bool { return alcohol(u.term) }) {
			faults = append(faults, fmt.Sprintf("%q speaks of %s, and no ingredient is alcoholic", sentence, w.text))
		}
	}
	return faults
}

// readsAs tells whether the kana of a spelling stand in its reading, in their order, with something between them where
// the spelling has kanji.
func readsAs(text, kana string) bool {
	var b strings.Builder
	b.WriteString("^")
	for _, r := range clean(text) {
		switch {
		case isKanaRune(r):
			b.WriteString(regexp.QuoteMeta(string(toHiragana(r))))
		case scriptOf(r) == scriptKanji:
			b.WriteString(".+?")
		default:
			b.WriteString(".*?")
		}
	}
	return regexp.MustCompile(b.String() + "$").MatchString(hiraganaOf(kana))
}

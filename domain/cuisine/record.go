package cuisine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// kind tells what a record is; it follows from the file the record stands in.
type kind int

const (
	kindDish kind = iota + 1
	kindIngredient
	kindSauce    // an ingredient that the grammar may put after "with"
	kindMethod   // grilled {}, {} tempura: changes the food before or after it
	kindHead     // {} rice bowl: what the whole thing is
	kindModifier // everything that is no food: adjectives, particles, counters
	kindCategory // headings of a menu; a separate index
	kindKanji    // how a word without a meaning here is read
)

// Modifier roles (key "w" of modifiers.jsonl).
const (
	roleAdjective = "adj"     // stands before the food: "spicy"
	roleSize      = "size"    // stands in brackets at the end: "(large)"
	roleDrop      = "drop"    // decoration, says nothing
	roleOf        = "of"      // の, of, di
	roleAnd       = "and"     // と, &, e
	roleOr        = "or"      // または
	roleWith      = "with"    // 付き: the food before it is an accompaniment
	roleWithNext  = "withpre" // with, con: the food after it is an accompaniment
	roleStyle     = "style"   // 風: the word before it becomes "-style"
	roleNot       = "not"     // 不使用: the restaurant's claim about the food before it
	roleUnit      = "unit"    // 個: makes a number a count
	roleOpaque    = "opaque"  // 気まぐれ: the kitchen decides
	roleService   = "service" // marks a line that is no dish
	roleClaim     = "claim"   // (V): a claim in itself
	roleCut       = "cut"     // an ingredient: fillet is beef unless another animal stands beside it
)

// record is one line of a data file. The short keys are explained in
// data/README.md; a key that a kind does not use stays empty.
type record struct {
	ID      string `json:"id"`
	Names   string `json:"n"`  // Japanese spellings with readings, "親子丼=おやこどん/おやこ丼=おやこどん", the usual one first
	English string `json:"e"`  // menu line, noun or template with {}
	Bare    string `json:"b"`  // English without its argument, or as part of a longer name
	JaTmpl  string `json:"j"`  // Japanese template for the other direction
	SufKana string `json:"s"`  // reading directly after another word (丼 どん)
	En      string `json:"en"` // further English spellings
	Fr      string `json:"fr"`
	It      string `json:"it"`

	Group  string `json:"g"`  // food group
	Leaves string `json:"a"`  // allergen leaves: "soybean wheat~ fish?"
	Parts  string `json:"i"`  // ingredients: "main | with | hidden"
	In     string `json:"in"` // valid only under these categories
	Role   string `json:"w"`  // a modifier's role

	Methods string `json:"m"` // English words, ", " between them
	Family  string `json:"f"` // category id
	Term    string `json:"t"` // loan word kept in brackets; "=" is the romaji
	Literal string `json:"l"`
	Desc    string `json:"d"`
	DescJa  string `json:"dj"`
	How     string `json:"h"`
	Region  string `json:"rg"`
	Serving string `json:"sv"` // hot, cold, room, either
	Raw     string `json:"r"`  // raw, part, cooked
	Cuisine string `json:"c"`
	Diet    string `json:"v"` // vegetarian or vegan: checked against the ingredients
	Emoji   string `json:"em"`
	Hot     int    `json:"hot"` // 0-4
	Taste   string `json:"ta"`
	Texture string `json:"tx"`
	Pairing string `json:"pa"`
	HeadID  string `json:"hd"`  // category: what a bare ingredient becomes here
	Wide    bool   `json:"all"` // the head takes everything before it (定食, 盛り合わせ)
	Glue    bool   `json:"gl"`  // written together with the word before it in romaji
	Alcohol bool   `json:"al"`
}

// certainty of an ingredient in a recipe, and of a leaf in an ingredient.
type certainty int

const (
	possible certainty = iota
	usual
	classical
)

func (c certainty) String() string { return [...]string{"possible", "usual", "classical"}[c] }

// use is one ingredient in a recipe.
type use struct {
	term *term
	role string
	cert certainty
	raw  bool // served uncooked
}

type leafUse struct {
	leaf *Leaf
	cert certainty
}

// term is a record made ready for use.
type term struct {
	record
	kind   kind
	names  []spelling // Japanese, the usual one first
	ja     string     // usual Japanese spelling
	kana   string     // its reading
	in     []string   // contexts
	parts  []use      // what it brings into a dish
	made   []use      // ingredients only: what a compound food is made of
	leaves []leafUse  // ingredients only
}

// spelling is a written form with its reading, which is empty when unknown.
type spelling struct {
	text, kana string
	shown      bool // "-": only for display, another word owns the spelling
	whole      bool // "*": only as a whole name, never a part of one
}

// sense is a word as it stands in the index: what it means and how it is read.
type sense struct {
	*term
	read  string
	whole bool
}

func spellings(s string) []spelling {
	var out []spelling
	for _, p := range list(s) {
		p, shown := strings.CutPrefix(p, "-")
		p, whole := strings.CutPrefix(p, "*")
		text, kana, _ := strings.Cut(p, "=")
		if kana == "" && isKana(text) {
			kana = text
		}
		out = append(out, spelling{text, kana, shown, whole})
	}
	return out
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "/")
}

func commaList(s string) []string {
	out := []string{}
	for p := range strings.SplitSeq(s, ",") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// foreign calls fn with every spelling in Latin script and its language.
func (r *record) foreign(k kind, fn func(lang, spelling string)) {
	for _, l := range [...]struct{ lang, names string }{{"en", r.En}, {"fr", r.Fr}, {"it", r.It}} {
		if l.names == "" {
			continue
		}
		for n := range strings.SplitSeq(l.names, "/") {
			fn(l.lang, n)
		}
	}
	if (k == kindIngredient || k == kindSauce || k == kindDish) && r.English != "" {
		fn("en", r.English)
	}
}

// decode reads one JSONL file strictly: an unknown key is a mistake in the data. A line that begins with # is a remark.
func decode(fsys fs.FS, file string, k kind, yield func(*term) error) error {
	b, err := fs.ReadFile(fsys, file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	b = withoutRemarks(b)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	for {
		t := &term{kind: k}
		err := d.Decode(&t.record)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = yield(t.prepare())
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", file, 1+bytes.Count(b[:d.InputOffset()], []byte("\n")), err)
		}
	}
}

// withoutRemarks blanks the lines that begin with #, so that the others keep their numbers.
func withoutRemarks(b []byte) []byte {
	if !bytes.HasPrefix(b, []byte("#")) && !bytes.Contains(b, []byte("\n#")) {
		return b
	}
	lines := bytes.SplitAfter(b, []byte("\n"))
	for i, l := range lines {
		if bytes.HasPrefix(l, []byte("#")) {
			lines[i] = []byte("\n")
		}
	}
	return bytes.Join(lines, nil)
}

// prepare fills in what follows from the record alone.
func (t *term) prepare() *term {
	t.in = strings.Fields(t.In)
	if t.ID == "" && t.kind == kindDish {
		t.ID = t.Names[:min(len(t.Names), strings.IndexAny(t.Names+"=/", "=/"))]
	}
	if t.names = spellings(t.Names); len(t.names) > 0 {
		t.ja, t.kana = t.names[0].text, t.names[0].kana
	}
	return t
}

// mark splits the certainty and rawness marks off a word: "egg!~".
func mark(word string) (id string, c certainty, raw bool) {
	c = classical
	for {
		switch {
		case strings.HasSuffix(word, "~"):
			c, word = usual, word[:len(word)-1]
		case strings.HasSuffix(word, "?"):
			c, word = possible, word[:len(word)-1]
		case strings.HasSuffix(word, "!"):
			raw, word = true, word[:len(word)-1]
		default:
			return word, c, raw
		}
	}
}

func parseParts(s string, ingredients map[string]*term) ([]use, error) {
	roles := [...]string{"main", "secondary", "hidden"}
	var out []use
	var errs []error
	seen := map[string]bool{}
	sections := strings.Split(s, "|")
	if len(sections) > len(roles) {
		return nil, fmt.Errorf("more than %d sections in %q", len(roles), s)
	}
	for n, role := range roles[:len(sections)] {
		for w := range strings.FieldsSeq(sections[n]) {
			id, c, raw := mark(w)
			t := ingredients[id]
			switch {
			case t == nil:
				errs = append(errs, fmt.Errorf("unknown ingredient %q", id))
			case seen[id]:
				errs = append(errs, fmt.Errorf("ingredient %q twice", id))
			default:
				seen[id] = true
				u := use{t, role, c, raw}
				if role == "secondary" && t.isSeasoning() {
					u.role = "seasoning"
				}
				out = append(out, u)
			}
		}
	}
	return out, errors.Join(errs...)
}

func (t *term) isSeasoning() bool {
	switch t.Group {
	case "seasoning", "sauce", "spice", "oil":
		return true
	default:
		return false
	}
}

func parseLeaves(s string, laws *laws) ([]leafUse, error) {
	var out []leafUse
	for w := range strings.FieldsSeq(s) {
		code, c, _ := mark(w)
		l := laws.byCode[code]
		if l == nil {
			return nil, fmt.Errorf("unknown allergen leaf %q", code)
		}
		out = append(out, leafUse{l, c})
	}
	return out, nil
}

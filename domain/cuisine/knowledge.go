package cuisine

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

//go:embed data/*.jsonl data/allergens.json
var embedded embed.FS

//nolint:gochecknoglobals // the data is immutable and parsed once for every caller
var loadOnce = sync.OnceValues(func() (*Knowledge, error) {
	sub, err := fs.Sub(embedded, "data")
	if err != nil {
		return nil, fmt.Errorf("load cuisine data: %w", err)
	}
	return loadFS(sub)
})

// Load parses and validates the embedded data at the first call; every caller
// shares the result, which is immutable and safe for concurrent use. An error
// means that the program was built with broken data.
func Load() (*Knowledge, error) { return loadOnce() }

// Knowledge is what the package knows about food. It never changes after Load.
type Knowledge struct {
	laws        *laws
	version     string
	menu        map[string][]sense // lookup key → dishes
	terms       map[string][]sense // lookup key → words that dishes are composed of
	categories  map[string]*term   // lookup key → category
	ingredients map[string]*term
	heads       map[string]*term // heads and methods by id
	families    map[string]*term // categories by id
	longest     int              // longest Japanese key, in runes
	dishes      int
	services    []string         // key parts that mark a line as no dish
	kanji       map[string]*term // how words are read that have no meaning here
}

// Version names the state of the data: it changes whenever any line changes.
func (k *Knowledge) Version() string { return k.version }

// Size returns how many dishes and ingredients the tables hold.
func (k *Knowledge) Size() (dishes, ingredients int) { return k.dishes, len(k.ingredients) }

func fileKind(name string) kind {
	switch {
	case strings.HasPrefix(name, "dishes_"):
		return kindDish
	case strings.HasPrefix(name, "ingredients"):
		return kindIngredient
	case strings.HasPrefix(name, "sauces"):
		return kindSauce
	case strings.HasPrefix(name, "methods"):
		return kindMethod
	case strings.HasPrefix(name, "heads"):
		return kindHead
	case strings.HasPrefix(name, "modifiers"):
		return kindModifier
	case strings.HasPrefix(name, "categories"):
		return kindCategory
	case strings.HasPrefix(name, "kanji"):
		return kindKanji
	default:
		return 0
	}
}

// loadFS builds the knowledge from a folder of data files and reports every
// mistake it finds, not only the first.
func loadFS(fsys fs.FS) (*Knowledge, error) {
	files, err := fs.Glob(fsys, "*.jsonl")
	if err != nil {
		return nil, fmt.Errorf("load cuisine data: %w", err)
	}
	slices.Sort(files)
	l, err := loadLaws(fsys)
	if err != nil {
		return nil, fmt.Errorf("load cuisine data: %w", err)
	}
	k := &Knowledge{
		laws: l, menu: make(map[string][]sense, 12288), terms: make(map[string][]sense, 12288), categories: map[string]*term{}, ingredients: map[string]*term{},
		heads: map[string]*term{}, families: map[string]*term{}, kanji: make(map[string]*term, 1024),
	}
	var all []*term
	sum := sha256.New()
	for _, f := range files {
		kd := fileKind(f)
		if kd == 0 {
			return nil, fmt.Errorf("load cuisine data: %s: no kind of record is kept in a file of this name", f)
		}
		if err := decode(fsys, f, kd, func(t *term) error { all = append(all, t); return k.register(t) }); err != nil {
			return nil, fmt.Errorf("load cuisine data: %w", err)
		}
		b, _ := fs.ReadFile(fsys, f)
		sum.Write(b)
	}
	k.version = l.source + "-" + hex.EncodeToString(sum.Sum(nil))[:8]
	var errs []error
	for _, t := range all {
		if err := k.link(t); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.ID, err))
		}
	}
	for _, t := range all {
		if err := k.index(t); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.ID, err))
		}
		errs = append(errs, k.check(t)...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("load cuisine data: %w", err)
	}
	return k, nil
}

// register files a term under its id, before any other term may refer to it.
func (k *Knowledge) register(t *term) error {
	table := map[string]*term(nil)
	switch t.kind {
	case kindIngredient, kindSauce:
		table = k.ingredients
	case kindMethod, kindHead:
		table = k.heads
	case kindCategory:
		table = k.families
	case kindDish:
		k.dishes++
		return nil
	case kindModifier:
		return nil
	case kindKanji:
		if t.ja == "" || t.kana == "" || k.kanji[t.ja] != nil {
			return fmt.Errorf("%q has no reading or stands here twice", t.Names)
		}
		k.kanji[t.ja] = t
		return nil
	}
	if t.ID == "" || table[t.ID] != nil {
		return fmt.Errorf("id %q is empty or used twice", t.ID)
	}
	table[t.ID] = t
	return nil
}

// link resolves the ids a record names.
func (k *Knowledge) link(t *term) (err error) {
	if t.leaves, err = parseLeaves(t.Leaves, k.laws); err != nil {
		return err
	}
	switch t.kind {
	case kindIngredient, kindSauce:
		t.parts = []use{{term: t, role: "main", cert: classical}}
		t.made, err = parseParts(t.Parts, k.ingredients)
	case kindDish, kindHead, kindMethod, kindCategory, kindModifier, kindKanji:
		t.parts, err = parseParts(t.Parts, k.ingredients)
	}
	return err
}

// index files a term under every spelling it has.
func (k *Knowledge) index(t *term) error {
	if t.kind == kindKanji {
		return nil
	}
	var errs []error
	for _, n := range t.names {
		if n.shown {
			continue
		}
		if err := k.file(n, "ja", t); err != nil {
			errs = append(errs, err)
		}
	}
	t.foreign(t.kind, func(lang, n string) {
		if err := k.file(spelling{text: n}, lang, t); err != nil {
			errs = append(errs, err)
		}
	})
	return errors.Join(errs...)
}

// file puts one spelling into the index. Japanese words must be unique in
// their context; a Latin word may mean several things and keeps the first.
func (k *Knowledge) file(n spelling, lang string, t *term) error {
	key := lookupKey(n.text)
	if key == "" {
		return fmt.Errorf("spelling %q has nothing to look up", n.text)
	}
	if t.kind == kindCategory {
		if old := k.categories[key]; old != nil && old != t {
			return fmt.Errorf("category spelling %q also belongs to %s", n.text, old.ID)
		}
		k.categories[key] = t
		return nil
	}
	if t.kind == kindModifier && t.Role == roleService {
		k.services = append(k.services, string(foldKana(simplify(clean(n.text)))))
		return nil
	}
	if lang != "ja" {
		key = lang + ":" + key
	}
	index := k.terms
	if t.kind == kindDish {
		index = k.menu
	}
	for _, old := range index[key] {
		if old.term == t {
			return nil // two spellings of one word fold together
		}
		if slices.Equal(old.in, t.in) {
			if lang != "ja" {
				return nil
			}
			return fmt.Errorf("duplicate spelling %q, also of %s", n.text, old.ID)
		}
	}
	read := n.kana
	if read == "" && lang == "ja" {
		read = t.kana
	}
	index[key] = append(index[key], sense{t, read, n.whole})
	if n := len([]rune(key)); lang == "ja" && n > k.longest {
		k.longest = n
	}
	return nil
}

// choose picks a meaning under the given categories: a meaning bound
// to one of them wins over the general one; one bound to others is no choice.
func choose(senses []sense, families []*term) (sense, bool) {
	var general sense
	for _, t := range senses {
		if len(t.in) == 0 {
			general = t
			continue
		}
		for _, f := range families {
			if slices.Contains(t.in, f.ID) {
				return t, true
			}
		}
	}
	return general, general.term != nil
}

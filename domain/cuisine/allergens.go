package cuisine

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Law names a list of allergens that some law or custom asks for.
type Law string

// The lists that [Knowledge.ByLaw] computes.
const (
	LawJapan       Law = "jp"        // 29 items: 9 mandatory, 20 recommended
	LawJapanLegacy Law = "jp_legacy" // the 28 items in force until the 2026 amendment
	LawEU          Law = "eu"        // 14 groups of Regulation 1169/2011, Annex II
	LawUS          Law = "us"        // 9 groups: FALCPA with the FASTER Act
)

// Leaf is the finest unit in which an allergen is known. Every law's items are
// unions of leaves, so a law's list is always computed and never stored.
type Leaf struct {
	Code   string `json:"code"`
	NameJa string `json:"name_ja"`
	NameEn string `json:"name_en"`
	Note   string `json:"note"` // traps such as "aji is not mackerel"; may be empty

	JP *string `json:"jp"` // mandatory, recommended, or nil: not a Japanese item
	EU *string `json:"eu"` // group code, or nil
	US *string `json:"us"` // group code, or nil
}

type laws struct {
	leaves []*Leaf
	byCode map[string]*Leaf
	order  map[string]int
	legacy map[string]bool
	source string
}

func loadLaws(fsys fs.FS) (*laws, error) {
	b, err := fs.ReadFile(fsys, "allergens.json")
	if err != nil {
		return nil, fmt.Errorf("read allergens: %w", err)
	}
	var doc struct {
		AsOf      string  `json:"as_of"`
		Canonical []*Leaf `json:"canonical"`
		Standards struct {
			JP struct {
				Legacy struct {
					Mandatory   []string `json:"mandatory"`
					Recommended []string `json:"recommended"`
				} `json:"legacy_28"`
			} `json:"jp"`
		} `json:"standards"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("parse allergens: %w", err)
	}
	l := &laws{leaves: doc.Canonical, byCode: map[string]*Leaf{}, order: map[string]int{}, legacy: map[string]bool{}, source: doc.AsOf}
	for i, leaf := range l.leaves {
		l.byCode[leaf.Code], l.order[leaf.Code] = leaf, i
	}
	for _, c := range slices.Concat(doc.Standards.JP.Legacy.Mandatory, doc.Standards.JP.Legacy.Recommended) {
		if l.byCode[c] == nil {
			return nil, fmt.Errorf("parse allergens: legacy list names unknown leaf %q", c)
		}
		l.legacy[c] = true
	}
	return l, nil
}

// Allergens returns all leaves in the order of the table.
func (k *Knowledge) Allergens() []Leaf {
	out := make([]Leaf, len(k.laws.leaves))
	for i, l := range k.laws.leaves {
		out[i] = *l
	}
	return out
}

// ByLaw maps leaf codes to the item codes of one law, without repeats and in
// the order given. Leaves that the law does not know, and codes that are no
// leaf, fall away; an unknown law yields an empty list.
func (k *Knowledge) ByLaw(law Law, codes []string) []string {
	out := []string{}
	for _, c := range codes {
		if item := k.laws.item(law, c); item != "" && !slices.Contains(out, item) {
			out = append(out, item)
		}
	}
	return out
}

func (l *laws) item(law Law, code string) string {
	leaf := l.byCode[code]
	if leaf == nil {
		return ""
	}
	deref := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	switch law {
	case LawJapan:
		if leaf.JP != nil {
			return leaf.Code
		}
		return ""
	case LawJapanLegacy:
		if l.legacy[code] {
			return leaf.Code
		}
		return ""
	case LawEU:
		return deref(leaf.EU)
	case LawUS:
		return deref(leaf.US)
	default:
		return ""
	}
}

// short is the leaf's name as said in a question: "shrimp", "魚類".
func (l *Leaf) short(lang string) string {
	name, cut := l.NameEn, " ("
	if lang == "ja" {
		name, cut = strings.TrimPrefix(l.NameJa, "その他の"), "("
	}
	name = strings.TrimPrefix(name, "other ")
	name, _, _ = strings.Cut(name, cut)
	name, _, _ = strings.Cut(name, " / ")
	return name
}

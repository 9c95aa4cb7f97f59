package cuisine_test

import (
	"strings"
	"testing"

	"kondate/domain/cuisine"
)

func TestWesternTraps(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, source  string
		contains, not []string
	}{
		{"Fillet of cod", "en", []string{"fish"}, []string{"beef"}},
		{"Filet de porc", "fr", []string{"pork"}, []string{"beef"}},
		{"Filetto al pepe verde", "it", []string{"beef"}, nil},
		{"Cottage pie", "en", []string{"beef", "milk"}, nil},
		{"Caponata", "it", []string{"celery"}, nil},
		{"Prawn cocktail", "en", []string{"shrimp", "egg"}, nil},
		{"Pizzoccheri", "it", []string{"buckwheat", "wheat", "milk"}, nil},
		{"Baba ganoush", "en", []string{"sesame"}, nil},
		{"Magret de canard, sauce béarnaise", "fr", []string{"egg", "milk"}, []string{"chicken"}},
		{"Quenelles de brochet sauce Nantua", "fr", []string{"shrimp", "fish", "egg"}, nil},
		{"Tagliatelle al ragù d'anatra", "it", []string{"wheat", "egg"}, []string{"!beef", "!pork"}},
		{"Spaghetti alla puttanesca", "it", []string{"fish", "wheat"}, nil},
		{"Lasagnes au chèvre et aux épinards", "fr", []string{"wheat", "milk"}, []string{"beef", "pork"}},
		{"Vegan burger with tomato", "en", []string{"wheat"}, []string{"!beef"}},
		{"Cheeseburger, vegan slaw", "en", []string{"wheat", "milk", "beef"}, nil},
		{"Cheeseburger (vegan option)", "en", []string{"milk", "beef"}, nil},
		{"Chicken liver parfait", "en", []string{"chicken", "milk"}, []string{"!egg"}},
		{"Curry de légumes au lait de coco", "fr", nil, []string{"!wheat"}},
		{"Filet mignon de porc au cidre et pommes caramélisées", "fr", []string{"pork", "apple"}, nil},
		{"Halloumi burger", "en", []string{"wheat", "milk"}, []string{"!beef"}},
		{"Poisson du jour", "fr", []string{"fish"}, nil},
		{"Sauce gribiche", "fr", []string{"egg"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, level := allergens(t, cuisine.Query{Name: tt.name, SourceLanguage: tt.source, TargetLanguage: "ja"})
			for _, c := range tt.contains {
				if level[c] != "contains" {
					t.Errorf("%s is %q, want contains (%v)", c, level[c], level)
				}
			}
			for _, c := range tt.not {
				if c, soft := strings.CutPrefix(c, "!"); level[c] == "contains" || (!soft && level[c] != "") {
					t.Errorf("%s is %q", c, level[c])
				}
			}
		})
	}
}

package image_test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/handlers/image"
)

// knowledge is loaded once: it is large.
var knowledge = sync.OnceValue(func() *cuisine.Knowledge {
	k, err := cuisine.Load()
	if err != nil {
		panic(err)
	}
	return k
})

// answers returns what the offline knowledge says of a printed line in each stage.
func answers(tb testing.TB, item menu.Item) []menu.StageCompleted {
	tb.Helper()
	r := knowledge().Read(cuisine.Query{Name: item.Name, Category: item.Category, Price: item.Price, SourceLanguage: "ja", TargetLanguage: "en"})
	var events []menu.StageCompleted
	for stage, a := range map[menu.Stage]cuisine.Answer{
		menu.Translation: r.Translation(), menu.Description: r.Description(), menu.Allergen: r.Allergens(), menu.Ingredient: r.Ingredients(),
		menu.SearchEngine: r.ImageSearch(), menu.Task6: r.Diet(), menu.Task7: r.Pronunciation(), menu.Task8: r.Taste(),
	} {
		data, err := json.Marshal(a.Data)
		if err != nil {
			tb.Fatal(err)
		}
		events = append(events, menu.StageCompleted{Stage: stage, Results: []menu.DishResult{{ID: item.ID, Attempt: 1, Result: menu.Result{
			Stage: stage, Status: menu.ResultStatus(a.Status), Provider: "local", Basis: menu.Basis(a.Basis), Confidence: a.Confidence, Data: data,
		}}}})
	}
	slices.SortFunc(events, func(a, b menu.StageCompleted) int { return int(a.Stage) - int(b.Stage) })
	return events
}

// cardOf returns the card of a dish for which the given events came after its submission.
func cardOf(tb testing.TB, name string, answers ...menu.StageCompleted) image.Card {
	tb.Helper()
	item := menu.Item{ID: "dish", Name: name, Price: "850円"}
	events := []menu.Event{menutest.Submitted([]menu.Item{item})}
	for _, a := range answers {
		events = append(events, a)
	}
	s := menu.Replay(menutest.Record(menutest.Key("dinner"), events...))
	return image.CardOf(s, s.Dishes["dish"], image.NamesOf(knowledge()))
}

func known(tb testing.TB, name string) image.Card {
	tb.Helper()
	return cardOf(tb, name, answers(tb, menu.Item{ID: "dish", Name: name, Price: "850円"})...)
}

func TestCardOfAKnownDish(t *testing.T) {
	t.Parallel()
	c := known(t, "親子丼")
	if c.Name != "親子丼" || c.Reading != "おやこどん" || c.Romaji == "" || !strings.Contains(strings.ToLower(c.Translation), "chicken") || c.Description == "" || c.Price != "850円" {
		t.Errorf("%+v", c)
	}
	egg := image.Allergen{Level: image.Contains, Names: image.Words{Ja: "卵", En: "egg"}}
	if !slices.Contains(c.Allergens, egg) {
		t.Errorf("no %v in %v", egg, c.Allergens)
	}
	for _, a := range c.Allergens {
		if strings.ContainsAny(a.Names.Ja+a.Names.En, "(/_") {
			t.Errorf("the name of %v is not short", a)
		}
	}
	if c := known(t, "麻婆豆腐"); c.Spiciness == 0 {
		t.Errorf("mapo tofu is not spicy: %+v", c)
	}
	if c := known(t, "刺身盛り合わせ"); !slices.ContainsFunc(c.Marks, func(w image.Words) bool { return strings.HasSuffix(w.En, "aw fish") }) {
		t.Errorf("sashimi has the marks %v", c.Marks)
	}
}

// What the stages do not know, have not answered or gave up is not on the card, and never means "not in it".
func TestCardOfWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]image.Card{
		"Unknown": known(t, "ぬるぽんがっ"),
		"Early":   cardOf(t, "親子丼"),
		"Odd": cardOf(t, "親子丼", menu.StageCompleted{Stage: menu.Allergen, Results: []menu.DishResult{{ID: "dish", Attempt: 1, Result: menu.Result{
			Stage: menu.Allergen, Status: menu.StatusOK, Provider: "x", Basis: menu.BasisModel, Data: json.RawMessage(`{"allergens":"none"}`),
		}}}}),
		// The slots of the operator may hold anything.
		"OtherTasks": cardOf(t, "親子丼", menutest.Completed(menu.Task6, "dish"), menutest.Completed(menu.Task7, "dish"), menutest.Completed(menu.Task8, "dish")),
	} {
		if len(c.Allergens) != 0 || len(c.Marks) != 0 || c.Spiciness != 0 {
			t.Errorf("%s: %+v", name, c)
		}
		if got := lines(t, c); !slices.Contains(got, "Allergens not known: ask the staff") {
			t.Errorf("%s: %q", name, got)
		}
	}
	strange := cardOf(t, "親子丼", menu.StageCompleted{Stage: menu.Allergen, Results: []menu.DishResult{{ID: "dish", Attempt: 1, Result: menu.Result{
		Stage: menu.Allergen, Status: menu.StatusOK, Provider: "x", Basis: menu.BasisModel, Data: json.RawMessage(`{"allergens":[{"code":"dragon_egg","level":"free"}]}`),
	}}}})
	if want := []image.Allergen{{Level: image.MayContain, Names: image.Words{Ja: "dragon egg", En: "dragon egg"}}}; !slices.Equal(strange.Allergens, want) {
		t.Errorf("an allergen and a level that nobody knows: %v, want %v", strange.Allergens, want)
	}
}

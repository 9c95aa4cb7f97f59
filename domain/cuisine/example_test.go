package cuisine_test

import (
	"fmt"

	"kondate/domain/cuisine"
)

func Example() {
	k, err := cuisine.Load()
	if err != nil {
		fmt.Println(err)
		return
	}
	r := k.Read(cuisine.Query{Name: "海老天ぷらうどん定食", Price: "千二百円", SourceLanguage: "ja", TargetLanguage: "en"})

	tr := r.Translation()
	fmt.Println(tr.Basis, tr.Data.(cuisine.TranslationData).Translation)
	fmt.Println(r.Pronunciation().Data.(cuisine.PronunciationData).Romaji)
	for _, a := range r.Allergens().Data.(cuisine.AllergenData).Allergens {
		if a.Level == "contains" {
			fmt.Println(a.Code, "from", a.SourceIngredient)
		}
	}
	// Output:
	// composed Shrimp tempura udon set meal
	// ebi tenpura udon teishoku
	// shrimp from shrimp
	// wheat from udon noodles
	// egg from tempura batter
	// fish from dashi stock
	// soybean from noodle broth (soy and dashi)
}

package openai

import (
	"cmp"
	"errors"
	"strings"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
)

// The model's words win where words are asked for: it writes in more languages and better lines. What the local answer
// knows besides stays.

func mergeTranslation(d *dish, e entry) (united, error) {
	local, model, err := both[cuisine.TranslationData](d, e)
	if err != nil {
		return united{}, err
	}
	model.SourceLanguage, model.TargetLanguage = local.SourceLanguage, local.TargetLanguage
	model.CategoryTranslation = either(model.CategoryTranslation, local.CategoryTranslation)
	if d.request.Item.Category == "" {
		model.CategoryTranslation = nil
	}
	model.KeepTerm, model.Literal = either(model.KeepTerm, local.KeepTerm), either(model.Literal, local.Literal)
	if model.Alternatives == nil {
		model.Alternatives = []string{}
	}
	return united{data: model, status: e.status}, nil
}

func mergeDescription(d *dish, e entry) (united, error) {
	local, model, err := both[cuisine.DescriptionData](d, e)
	if err != nil {
		return united{}, err
	}
	if local.Serving != unknown {
		model.Serving = local.Serving
	}
	if rawness(local.Raw) > rawness(model.Raw) {
		model.Raw = local.Raw
	}
	model.HowToEat, model.Region = either(model.HowToEat, local.HowToEat), either(model.Region, local.Region)
	return united{data: model, status: e.status}, nil
}

const unknown = "unknown"

// rawness orders how much of a dish is raw; whoever says more of it wins.
func rawness(raw string) int {
	switch raw {
	case "raw":
		return 3
	case "partly_raw":
		return 2
	case "cooked":
		return 1
	}
	return 0
}

// mergeSearch takes the model's query. Without pictures the answer is never more than partial.
func mergeSearch(d *dish, e entry) (united, error) {
	local, model, err := both[cuisine.SearchData](d, e)
	if err != nil {
		return united{}, err
	}
	local.Query, local.SearchLinks = model.Query, cuisine.SearchLinks(model.Query)
	return united{data: local, status: menu.StatusPartial}, nil
}

// mergePronunciation takes the model's reading; everything that follows from a reading is computed.
func mergePronunciation(d *dish, e entry) (united, error) {
	local, model, err := both[cuisine.PronunciationData](d, e)
	if err != nil {
		return united{}, err
	}
	spaced := strings.Join(strings.Fields(model.Kana), " ")
	ja := japanese(cmp.Or(d.request.SourceLanguage, "ja"))
	switch {
	case spaced == "" && (ja || model.SayIt == nil):
		return united{nothing: true}, nil
	case ja:
		romaji, macrons, say := cuisine.Spell(spaced)
		if romaji == "" {
			return united{}, errors.New("data.kana: no reading")
		}
		local.Kana, local.Romaji, local.RomajiMacron, local.SayIt = strings.ReplaceAll(spaced, " ", ""), romaji, macrons, &say
		local.ReadingSource = "analyser"
		if local.OrderPhrase.Romaji != "" && !strings.HasPrefix(local.OrderPhrase.Source, "これを") {
			local.OrderPhrase.Romaji = romaji + " o kudasai"
			if !japanese(d.request.TargetLanguage) {
				local.OrderPhrase.Translated = strings.ToUpper(romaji[:1]) + romaji[1:] + ", please."
			}
		}
	default:
		local.SayIt = either(model.SayIt, local.SayIt)
		if spaced != "" {
			local.Kana, local.ReadingSource = spaced, "analyser"
		}
	}
	return united{data: local, status: e.status}, nil
}

// mergeTaste never makes a dish milder than the knowledge base does. Price and nutrition are not the model's.
func mergeTaste(d *dish, e entry) (united, error) {
	local, model, err := both[cuisine.TasteData](d, e)
	if err != nil {
		return united{}, err
	}
	local.Spiciness = max(local.Spiciness, model.Spiciness)
	for _, list := range []struct {
		to   *[]string
		from []string
	}{{&local.Taste, model.Taste}, {&local.Texture, model.Texture}, {&local.Pairing, model.Pairing}} {
		if len(list.from) > 0 {
			*list.to = list.from
		}
	}
	return united{data: local, status: e.status}, nil
}

// either returns the first text, or the second where there is none.
func either(a, b *string) *string {
	if a != nil && *a != "" {
		return a
	}
	if b != nil && *b != "" {
		return b
	}
	return nil
}

// japanese says whether a language tag names Japanese.
func japanese(tag string) bool {
	base, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
	return base == "ja"
}

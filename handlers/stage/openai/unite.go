package openai

import (
	"encoding/json"
	"fmt"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/handlers/stage"
)

// maxConfidence caps what a model thinks of itself.
const maxConfidence = 0.9

// united is a model's answer brought together with the local one.
type united struct {
	data     any
	status   menu.ResultStatus
	warnings []string // of the local answer, as far as they still hold
	nothing  bool     // the model said nothing of use: the local answer stands
}

// unite returns the result for a dish. An error means that the model's answer does not count.
func (p *Provider) unite(d *dish, e entry) (menu.Result, error) {
	if e.status == menu.StatusUnknown {
		return p.result(d.local, []string{d.say("The model %s was asked and does not know this dish.", "モデル %s に尋ねましたが、この料理は分かりませんでした。", p.cfg.Model)})
	}
	u, err := p.merge(d, e)
	if err != nil {
		return menu.Result{}, err
	}
	if u.nothing {
		return p.result(d.local, []string{d.say("The model %s was asked and had nothing to add.", "モデル %s に尋ねましたが、追加の情報はありませんでした。", p.cfg.Model)})
	}
	a := d.local
	a.Status, a.Basis, a.Confidence = cuisine.Status(u.status), cuisine.Basis(menu.BasisModel), min(e.confidence, maxConfidence)
	a.Data, a.Warnings = u.data, u.warnings
	return p.result(a, []string{d.say("Answered with the help of the model %s, which can be wrong.", "モデル %s による回答を含みます。誤りの可能性があります。", p.cfg.Model)})
}

// result puts an answer into the envelope and holds it against the stage's schema, as any result from outside.
func (p *Provider) result(a cuisine.Answer, warnings []string) (menu.Result, error) {
	data, err := json.Marshal(a.Data)
	if err != nil {
		return menu.Result{}, invalid(fmt.Errorf("encode the %s: %w", p.stage, err))
	}
	raw, err := json.Marshal(menu.Result{
		Stage: p.stage, Status: menu.ResultStatus(a.Status), Provider: Name, ProviderVersion: p.version,
		Basis: menu.Basis(a.Basis), Confidence: a.Confidence, Data: data,
		Warnings: append(append(menu.Strings{}, a.Warnings...), warnings...), Attribution: a.Attribution,
	})
	if err != nil {
		return menu.Result{}, invalid(fmt.Errorf("encode the result of %s: %w", p.stage, err))
	}
	result, err := stage.ValidateResult(p.stage, raw)
	if err != nil {
		return menu.Result{}, invalid(err)
	}
	result.Data = data // with the keys in the order of the other providers
	return result, nil
}

// say picks a warning in the language of the local answer.
func (d *dish) say(en, ja, model string) string {
	if japanese(d.request.TargetLanguage) {
		return fmt.Sprintf(ja, model)
	}
	return fmt.Sprintf(en, model)
}

// known says that the knowledge base knows the dish, or the words that it is composed of.
func (d *dish) known() bool {
	return d.local.Basis == cuisine.BasisExact || d.local.Basis == cuisine.BasisComposed
}

// merge brings a model's part together with the local data, by the rules of the stage.
func (p *Provider) merge(d *dish, e entry) (united, error) {
	switch p.stage {
	case menu.Translation:
		return mergeTranslation(d, e)
	case menu.Description:
		return mergeDescription(d, e)
	case menu.Allergen:
		return p.mergeAllergens(d, e)
	case menu.Ingredient:
		return mergeIngredients(d, e)
	case menu.SearchEngine:
		return mergeSearch(d, e)
	case menu.Task6:
		return mergeDiet(d, e)
	case menu.Task7:
		return mergePronunciation(d, e)
	case menu.Task8:
		return mergeTaste(d, e)
	}
	return united{}, fmt.Errorf("there is no stage number %d", uint8(p.stage))
}

// both decodes a model's part and returns it beside the local data, which has the same type.
func both[T any](d *dish, e entry) (local, model T, err error) {
	local, is := d.local.Data.(T)
	if !is {
		return local, model, fmt.Errorf("the local answer is a %T", d.local.Data)
	}
	if err := json.Unmarshal(e.data, &model); err != nil {
		return local, model, fmt.Errorf("decode the model's data: %w", err)
	}
	return local, model, nil
}

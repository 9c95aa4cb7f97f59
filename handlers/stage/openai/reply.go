package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"kondate/domain/menu"
	"kondate/handlers/stage"
)

// entry is a model's answer for one dish that fits the schema and claims nothing that it must not.
type entry struct {
	status     menu.ResultStatus
	confidence float64 // 0 to 1, as the model sees it
	data       []byte  // the model's part; nil with status unknown
}

// reply is what a model answered for several dishes, by their id in the request.
type reply struct {
	entries map[string]entry
	faults  map[string][]string // of the answers that do not count
	strays  []string            // faults of entries that belong to no dish
}

// decode reads a model's answer. An error means that nothing in it can be read.
func (f format) decode(text string, asked []string) (reply, error) {
	doc, err := stage.DecodeStrict([]byte(text))
	if err != nil {
		return reply{}, err
	}
	whole, _ := doc.(map[string]any)
	list, is := whole["results"].([]any)
	if !is {
		return reply{}, errors.New(`no object with a list "results"`)
	}
	r := reply{entries: map[string]entry{}, faults: map[string][]string{}}
	for i, one := range list {
		fields, _ := one.(map[string]any)
		id, _ := fields["menu_id"].(string)
		if !slices.Contains(asked, id) {
			r.strays = append(r.strays, fmt.Sprintf("results[%d].menu_id: %.40q was not asked", i, id))
			continue
		}
		_, answered := r.entries[id]
		if answered || r.faults[id] != nil {
			delete(r.entries, id)
			r.faults[id] = []string{"menu_id: there are two entries for the dish"}
			continue
		}
		e, wrong := f.entry(fields)
		if len(wrong) > 0 {
			r.faults[id] = wrong
			continue
		}
		r.entries[id] = e
	}
	return r, nil
}

// entry checks one dish's answer. Who knows nothing need not say it in the schema.
func (f format) entry(fields map[string]any) (entry, []string) {
	if fields["status"] == string(menu.StatusUnknown) {
		return entry{status: menu.StatusUnknown}, nil
	}
	tidy(fields["data"])
	if err := f.item.Validate(fields); err != nil {
		return entry{}, faults(err)
	}
	if wrong := claims("data", fields["data"]); len(wrong) > 0 {
		return entry{}, wrong
	}
	raw, err := json.Marshal(fields["data"])
	if err != nil {
		return entry{}, []string{"data: " + err.Error()}
	}
	status, _ := fields["status"].(string)
	number, _ := fields["confidence"].(json.Number)
	confidence, err := number.Float64()
	if err != nil {
		return entry{}, []string{"confidence: no number"}
	}
	return entry{status: menu.ResultStatus(status), confidence: confidence, data: raw}, nil
}

package openai

import (
	"kondate/domain/menu"
	"kondate/handlers/stage"
)

// Claims returns what is found wrong with a text.
func Claims(text string) []string { return claims("data", text) }

// Take decodes a model's answer for one dish, "1", and returns the result if the answer counts.
func (p *Provider) Take(r stage.Request, said string) (result menu.Result, counts bool) {
	p.take(said, []*dish{p.newDish(r, "1")}, func(_ *dish, o outcome) { result, counts = o.result, true })
	return result, counts
}

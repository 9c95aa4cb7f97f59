package openai

import (
	"context"
	"fmt"
	"slices"
	"strings"

	sdk "github.com/openai/openai-go/v3"

	"kondate/domain/menu"
	"kondate/handlers/stage"
)

// outcome is what became of one dish of a request.
type outcome struct {
	result menu.Result
	err    error
	alone  bool // nothing yet: it is to be asked for alone
}

// maxRepeated bounds how much of an invalid answer goes back to the model, in bytes.
const maxRepeated = 32 << 10

// ask makes one request for dishes of one session and settles each of them once. Answers that do not count go back to the
// model one time, with their faults.
func (p *Provider) ask(ctx context.Context, asked []*dish, settle func(*dish, outcome)) {
	alone := len(asked) > 1 // there is something to gain from it
	text, err := p.write(asked)
	if err != nil {
		settleAll(asked, settle, outcome{err: invalid(err)})
		return
	}
	dialogue := []sdk.ChatCompletionMessageParamUnion{sdk.SystemMessage(p.prompt), sdk.UserMessage(text)}
	said, failed := p.chat.complete(ctx, dialogue)
	if failed != nil {
		settleAll(asked, settle, failed.outcome(alone))
		return
	}
	open, missing, wrong := p.take(said, asked, settle)
	if alone {
		settleAll(missing, settle, outcome{alone: true})
	} else {
		open = append(open, missing...)
	}
	if len(open) == 0 {
		return
	}
	dialogue = append(dialogue, sdk.AssistantMessage(cut(said, maxRepeated)), sdk.UserMessage(complain(open, wrong)))
	if said, failed = p.chat.complete(ctx, dialogue); failed != nil {
		settleAll(open, settle, failed.outcome(alone))
		return
	}
	open, missing, wrong = p.take(said, open, settle)
	if alone {
		settleAll(missing, settle, outcome{alone: true})
	} else {
		open = append(open, missing...)
	}
	if wrong[""] != nil && alone {
		settleAll(open, settle, outcome{alone: true})
		return
	}
	for _, d := range open {
		settle(d, outcome{err: invalid(fmt.Errorf("the model %s, asked twice: %s", p.cfg.Model, strings.Join(faultsOf(wrong, d.id), "; ")))})
	}
}

func settleAll(dishes []*dish, settle func(*dish, outcome), o outcome) {
	for _, d := range dishes {
		settle(d, o)
	}
}

// outcome is a failed request's for each of its dishes.
func (f *failure) outcome(alone bool) outcome {
	if f.content && alone {
		return outcome{alone: true}
	}
	return outcome{err: f.err}
}

// invalid is a temporary failure: the model may do better next time.
func invalid(err error) error { return &stage.Error{Reason: stage.ReasonInvalidResult, Err: err} }

// take settles the dishes that a model's answer is good for. It returns those that it answers wrongly, those that it does
// not answer, and the faults by dish; those of the answer as a whole stand under "".
func (p *Provider) take(said string, asked []*dish, settle func(*dish, outcome)) (open, missing []*dish, wrong map[string][]string) {
	ids := make([]string, len(asked))
	for i, d := range asked {
		ids[i] = d.id
	}
	r, err := p.format.decode(said, ids)
	if err != nil {
		return slices.Clone(asked), nil, map[string][]string{"": {err.Error()}}
	}
	wrong = r.faults
	for _, d := range asked {
		e, answered := r.entries[d.id]
		switch {
		case answered:
			result, err := p.unite(d, e)
			if err == nil {
				settle(d, outcome{result: result})
				continue
			}
			wrong[d.id] = []string{err.Error()}
			open = append(open, d)
		case wrong[d.id] != nil:
			open = append(open, d)
		default:
			wrong[d.id] = append([]string{"there is no entry for the dish"}, r.strays[:min(len(r.strays), maxFaults)]...)
			missing = append(missing, d)
		}
	}
	return open, missing, wrong
}

// faultsOf returns what is wrong with a dish's answer: its own faults, or those of the answer as a whole.
func faultsOf(wrong map[string][]string, id string) []string {
	if own := wrong[id]; own != nil {
		return own
	}
	return wrong[""]
}

// complain asks again for dishes, with what was wrong.
func complain(open []*dish, wrong map[string][]string) string {
	var b strings.Builder
	b.WriteString("Your answer cannot be used.\n")
	for _, text := range wrong[""] {
		b.WriteString("- " + text + "\n")
	}
	ids := make([]string, len(open))
	for i, d := range open {
		ids[i] = d.id
		for _, text := range wrong[d.id] {
			b.WriteString("- menu_id " + d.id + ": " + text + "\n")
		}
	}
	b.WriteString("Correct this and answer again, in the same schema, for these dishes only: menu_id " + strings.Join(ids, ", ") + ".")
	return b.String()
}

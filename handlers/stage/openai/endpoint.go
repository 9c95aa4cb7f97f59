package openai

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"

	"kondate/handlers/stage"
)

// maxReply bounds a server's answer to a question, in bytes.
const maxReply = 4 << 20

// endpoint is one model at one server.
type endpoint struct {
	base  string
	key   Secret
	model string
}

// options are those of every request. The SDK's own retries are off, for the engine retries; and nothing is read from
// OPENAI_* variables, as its NewClient would.
func (c Config) options(client *http.Client) []option.RequestOption {
	o := []option.RequestOption{option.WithBaseURL(c.BaseURL), option.WithHTTPClient(client), option.WithMaxRetries(0)}
	if c.APIKey != "" {
		o = append(o, option.WithAPIKey(string(c.APIKey)))
	}
	return o
}

// chat asks one model questions.
type chat struct {
	endpoint
	service sdk.ChatCompletionService
	format  sdk.ChatCompletionNewParamsResponseFormatUnion
}

func newChat(c Config, name string, f format) *chat {
	return &chat{
		endpoint: endpoint{c.BaseURL, c.APIKey, c.Model},
		service:  sdk.NewChatCompletionService(c.options(httpClient(c.Transport, maxReply))...),
		format: sdk.ChatCompletionNewParamsResponseFormatUnion{OfJSONSchema: &shared.ResponseFormatJSONSchemaParam{
			JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: name, Strict: sdk.Bool(true), Schema: f.sent},
		}},
	}
}

// complete returns what the model answers to a dialogue.
func (c *chat) complete(ctx context.Context, dialogue []sdk.ChatCompletionMessageParamUnion) (string, *failure) {
	var res *http.Response
	reply, err := c.service.New(ctx, sdk.ChatCompletionNewParams{
		Model: c.model, Messages: dialogue, ResponseFormat: c.format,
	}, option.WithResponseInto(&res))
	if err != nil || res == nil || res.StatusCode >= http.StatusMultipleChoices {
		if err == nil {
			err = errors.New("no answer")
		}
		return "", c.classify(ctx, res, err)
	}
	if reply == nil || len(reply.Choices) == 0 {
		return "", fail(&stage.Error{Reason: stage.ReasonInvalidResult, Err: fmt.Errorf("%s sent an answer without choices", c.base)})
	}
	choice := reply.Choices[0]
	switch {
	case choice.Message.Refusal != "":
		return "", spoilt(&stage.Error{Reason: ReasonRefused, Permanent: true, Err: fmt.Errorf("the model %s refuses: %s", c.model, c.redact(choice.Message.Refusal))})
	case choice.FinishReason == "content_filter":
		return "", spoilt(&stage.Error{Reason: ReasonRefused, Permanent: true, Err: fmt.Errorf("a content filter of %s stopped the model %s", c.base, c.model)})
	case choice.FinishReason == "length":
		return "", spoilt(&stage.Error{Reason: ReasonCut, Err: fmt.Errorf("the answer of %s reached a limit of length: raise the server's, or that of its context", c.model)})
	case choice.Message.Content == "":
		return "", spoilt(&stage.Error{Reason: stage.ReasonInvalidResult, Err: fmt.Errorf("the model %s answered with nothing", c.model)})
	case len(c.key) >= minEchoed && strings.Contains(choice.Message.Content, string(c.key)):
		return "", fail(&stage.Error{Reason: stage.ReasonInvalidResult, Err: fmt.Errorf("the answer of %s repeats the key: trust %s no longer", c.model, c.base)})
	}
	return choice.Message.Content, nil
}

// minEchoed is the length from which a key is no word that a model may say by chance: local servers are given any.
const minEchoed = 12

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/handlers/stage"
	"kondate/handlers/stage/commons"
	"kondate/handlers/stage/external"
	"kondate/handlers/stage/local"
	"kondate/handlers/stage/openai"
)

// LimitsConfig is the part that the groups of the providers share: how they are protected, and what is kept of theirs.
type LimitsConfig struct {
	MaxConcurrent     int           `default:"0" help:"Dishes that are asked for at once, per process; 0: as many as the stages have at work."`
	RequestsPerMinute int           `default:"0" help:"Dishes that are asked for per minute and process; 0: no limit."`
	Timeout           time.Duration `default:"0s" help:"Time for one dish, if it is less than processing.task_timeout; 0: that."`
	FailuresToOpen    int           `default:"10" help:"Failures in a row after which nothing is asked for a while; 0: it is always asked."`
	Cooldown          time.Duration `default:"30s" help:"How long that is; then one dish tries."`
	Cache             bool          `default:"false" help:"Keep the results and give them to later menus with the same words."`
}

// ExternalConfig is the group external: how other teams' workers are asked.
type ExternalConfig struct {
	Limits  LimitsConfig `embed:""`
	Version string       `default:"1" help:"Version of the workers' knowledge: results that were kept under another one are not used."`
}

// OpenAIConfig is the group openai: a server that speaks OpenAI's protocol.
type OpenAIConfig struct {
	Limits          LimitsConfig `embed:""`
	BaseURL         string       `name:"base-url" default:"https://api.openai.com/v1" help:"Address of the server, with its version: http://127.0.0.1:11434/v1 for a local Ollama."`
	APIKey          string       `name:"api-key" help:"Its key, if it wants one. Better set as KONDATE_OPENAI_API_KEY: other users of a machine see flags."`
	Model           string       `help:"Its model for the stages that it answers."`
	ImageModel      string       `help:"Its model for pictures; empty: a picture is a dish card."`
	TokensPerMinute int          `default:"0" help:"Tokens, as estimated, per minute and process; 0: no limit."`
	BatchSize       int          `default:"8" help:"Dishes of a menu in one request at most."`
}

// CommonsConfig is the group commons: image search at Wikimedia Commons and Openverse.
type CommonsConfig struct {
	Limits  LimitsConfig `embed:""`
	Contact string       `help:"Address or URL at which the two sites can reach you; they ask for it of everybody who sends requests."`
}

// limits returns what the engine works with.
func (c LimitsConfig) limits(tokensPerMinute int) stage.Limits {
	return stage.Limits{
		Concurrency: c.MaxConcurrent, RequestsPerMinute: c.RequestsPerMinute, TokensPerMinute: tokensPerMinute,
		Timeout: c.Timeout, FailuresToOpen: c.FailuresToOpen, Cooldown: c.Cooldown,
	}
}

func (c LimitsConfig) validate(group string) error {
	if min(c.MaxConcurrent, c.RequestsPerMinute, c.FailuresToOpen) < 0 || min(c.Timeout, c.Cooldown) < 0 {
		return fmt.Errorf("%s.max_concurrent, requests_per_minute, timeout, failures_to_open and cooldown may not be below 0", group)
	}
	if c.FailuresToOpen > 0 && c.Cooldown == 0 {
		return fmt.Errorf("%s.cooldown is 0, it must be above 0 where %s.failures_to_open is", group, group)
	}
	return nil
}

// providerLimits returns the limits of every provider that has some.
func (c Config) providerLimits() map[string]stage.Limits {
	return map[string]stage.Limits{
		external.Name: c.External.Limits.limits(0),
		openai.Name:   c.OpenAI.Limits.limits(c.OpenAI.TokensPerMinute),
		commons.Name:  c.Commons.Limits.limits(0),
	}
}

// cachedProviders names the providers whose results are kept.
func (c Config) cachedProviders() []string {
	var names []string
	for name, limits := range map[string]LimitsConfig{external.Name: c.External.Limits, openai.Name: c.OpenAI.Limits, commons.Name: c.Commons.Limits} {
		if limits.Cache {
			names = append(names, name)
		}
	}
	return names
}

// endpoint returns what the provider of texts and the painter of pictures work with.
func (c OpenAIConfig) endpoint() openai.Config {
	return openai.Config{BaseURL: c.BaseURL, APIKey: openai.Secret(c.APIKey), Model: c.Model, ImageModel: c.ImageModel, MaxBatch: c.BatchSize}
}

// validateProviders refuses a stage whose provider is none, cannot answer it, or lacks what it needs.
func (c Config) validateProviders() error {
	errs := []error{c.External.Limits.validate("external"), c.OpenAI.Limits.validate("openai"), c.Commons.Limits.validate("commons"), c.OpenAI.endpoint().Validate()}
	if c.OpenAI.TokensPerMinute < 0 || c.OpenAI.BatchSize <= 0 {
		errs = append(errs, errors.New("openai.tokens_per_minute may not be below 0, openai.batch_size must be above 0"))
	}
	for _, s := range menu.Stages() {
		switch p := c.Stages.Of(s).Provider; p {
		case local.Name:
		case external.Name:
			if c.NATS.URL == "" && c.NATS.Listen == "" {
				errs = append(errs, fmt.Errorf("stages.%s.provider is external and the embedded NATS takes no connections: set nats.listen (for instance 127.0.0.1:4222), or nats.url", s))
			}
		case openai.Name:
			if c.OpenAI.Model == "" {
				errs = append(errs, fmt.Errorf("stages.%s.provider is openai and openai.model is empty: set it to a model that %s has", s, c.OpenAI.BaseURL))
			}
		case commons.Name:
			if s != menu.SearchEngine {
				errs = append(errs, fmt.Errorf("stages.%s.provider is commons, which finds pictures only: it answers search_engine", s))
			} else if c.Commons.Contact == "" {
				errs = append(errs, errors.New("stages.search_engine.provider is commons and commons.contact is empty: the two sites ask for an address at which they can reach you"))
			}
		default:
			errs = append(errs, fmt.Errorf("stages.%s.provider %q is none: use local, openai, external, or commons (search_engine only)", s, p))
		}
	}
	return errors.Join(errs...)
}

// configuredProviders returns the provider of each stage as the settings name it. The stages of other teams' workers
// share a connection, apart from the log's: a flood of replies holds up no append.
func (a *app) configuredProviders() (map[menu.Stage]stage.Provider, error) {
	knowledge, err := cuisine.Load()
	if err != nil {
		return nil, fmt.Errorf("load the knowledge of dishes: %w", err)
	}
	providers := map[menu.Stage]stage.Provider{}
	var workers *nats.Conn
	for _, s := range menu.Stages() {
		switch a.cfg.Stages.Of(s).Provider {
		case external.Name:
			if workers == nil {
				js, err := a.connect("workers")
				if err != nil {
					return nil, err
				}
				workers = js.Conn()
			}
			providers[s] = external.New(workers, s, a.cfg.External.Version)
		case openai.Name:
			if providers[s], err = openai.New(a.cfg.OpenAI.endpoint(), knowledge, s); err != nil {
				return nil, fmt.Errorf("the provider of %s: %w", s, err)
			}
		case commons.Name:
			p, err := commons.New(commons.Config{Contact: a.cfg.Commons.Contact}, knowledge)
			if err != nil {
				return nil, fmt.Errorf("the provider of %s: %w", s, err)
			}
			a.onClose(func(context.Context) error { p.Close(); return nil })
			providers[s] = p
		default:
			providers[s] = local.New(knowledge, s)
		}
	}
	return providers, nil
}

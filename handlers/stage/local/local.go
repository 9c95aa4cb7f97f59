// Package local answers the eight stages from the embedded knowledge of domain/cuisine: offline, at no cost, and
// honest about what it does not know.
package local

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/handlers/stage"
)

// Name is the provider's name in results.
const Name = "local"

// Provider answers one stage from the knowledge base. It is safe for concurrent use.
type Provider struct {
	knowledge *cuisine.Knowledge
	stage     menu.Stage
}

// New returns the provider of one stage.
func New(k *cuisine.Knowledge, s menu.Stage) *Provider { return &Provider{knowledge: k, stage: s} }

// Name returns "local".
func (p *Provider) Name() string { return Name }

// Version returns the version of the knowledge base.
func (p *Provider) Version() string { return p.knowledge.Version() }

// Answer reads the printed line and returns what the stage says of it. It fails only if that cannot be encoded.
func (p *Provider) Answer(_ context.Context, r stage.Request) (menu.Result, error) {
	start := time.Now()
	a := p.answer(p.knowledge.Read(cuisine.Query{
		Name: r.Item.Name, Category: r.Item.Category, Price: r.Item.Price,
		SourceLanguage: r.SourceLanguage, TargetLanguage: r.TargetLanguage,
	}))
	data, err := json.Marshal(a.Data)
	if err != nil {
		return menu.Result{}, &stage.Error{Reason: stage.ReasonInvalidResult, Permanent: true, Err: fmt.Errorf("encode the %s of %q: %w", p.stage, r.Item.Name, err)}
	}
	return menu.Result{
		Stage: p.stage, Status: menu.ResultStatus(a.Status), Provider: Name, ProviderVersion: p.Version(),
		Basis: menu.Basis(a.Basis), Confidence: a.Confidence, Data: data,
		Warnings: a.Warnings, Attribution: a.Attribution, ElapsedMS: time.Since(start).Milliseconds(),
	}, nil
}

func (p *Provider) answer(r cuisine.Reading) cuisine.Answer {
	switch p.stage {
	case menu.Translation:
		return r.Translation()
	case menu.Description:
		return r.Description()
	case menu.Allergen:
		return r.Allergens()
	case menu.Ingredient:
		return r.Ingredients()
	case menu.SearchEngine:
		return r.ImageSearch()
	case menu.Task6:
		return r.Diet()
	case menu.Task7:
		return r.Pronunciation()
	case menu.Task8:
		return r.Taste()
	}
	return cuisine.Answer{}
}

var _ stage.Provider = (*Provider)(nil)

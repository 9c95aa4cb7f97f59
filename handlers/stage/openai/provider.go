package openai

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/handlers/stage"
)

// Name is the provider's name in results.
const Name = "openai"

// Provider answers one stage by asking a model. It is safe for concurrent use.
type Provider struct {
	cfg       Config
	stage     menu.Stage
	knowledge *cuisine.Knowledge
	prompt    string
	format    format
	chat      *chat
	version   string
	overhead  int // tokens that every request has besides its dishes
	open      openBatches
}

// New returns the provider of one stage. It asks nobody yet: whether the server is there shows with the first dish.
func New(cfg Config, knowledge *cuisine.Knowledge, s menu.Stage) (*Provider, error) {
	if err := errors.Join(cfg.Validate(), validModel("Model", cfg.Model)); err != nil {
		return nil, err
	}
	if knowledge == nil || s >= menu.StageCount {
		return nil, fmt.Errorf("openai.New: there is no stage number %d, or no knowledge base was given", uint8(s))
	}
	cfg = cfg.WithDefaults()
	prompt, err := readPrompt(s)
	if err != nil {
		return nil, err
	}
	f, err := newFormat(s, knowledge)
	if err != nil {
		return nil, err
	}
	p := &Provider{cfg: cfg, stage: s, knowledge: knowledge, prompt: prompt, format: f, chat: newChat(cfg, s.String(), f)}
	p.overhead = tokens(prompt) + tokens(string(f.sent))
	sum := sha256.New()
	for _, text := range []string{cfg.BaseURL, cfg.Model, prompt, string(f.sent)} {
		fmt.Fprintf(sum, "%d:%s", len(text), text) //nolint:errcheck // a hash takes everything
	}
	p.version = cut(cfg.Model, maxVersionModel) + "/" + hex.EncodeToString(sum.Sum(nil))[:12] + "/" + knowledge.Version()
	return p, nil
}

// maxVersionModel is how much of a model's name a version shows; the hash covers all of it.
const maxVersionModel = 60

// Name returns "openai".
func (p *Provider) Name() string { return Name }

// Version names the model, a hash of its address, of the prompt and of the schema, and the version of the knowledge base.
func (p *Provider) Version() string { return p.version }

// Tokens estimates what a dish costs, question and answer, as if requests were half full.
func (p *Provider) Tokens(r stage.Request) int {
	d := p.newDish(r, "1")
	if p.settled(d) {
		return 0
	}
	text, err := p.write([]*dish{d})
	if err != nil {
		text = r.Item.Name
	}
	share := max(1, p.cfg.MaxBatch/2)
	return (p.overhead+share-1)/share + tokens(text) + answerTokens(p.stage)
}

// Answer asks the model for a dish, in one request with others of its session that are asked for at about the same time,
// and returns its answer united with the knowledge base's.
func (p *Provider) Answer(ctx context.Context, r stage.Request) (menu.Result, error) {
	start := time.Now()
	d := p.newDish(r, "1")
	if p.settled(d) {
		result, err := p.result(d.local, nil)
		result.ElapsedMS = time.Since(start).Milliseconds()
		return result, err
	}
	o := outcome{alone: true}
	if p.cfg.MaxBatch > 1 {
		o = p.join(ctx, d)
	}
	if o.alone {
		alone := *d
		alone.id = "1"
		p.ask(ctx, []*dish{&alone}, func(_ *dish, answer outcome) { o = answer })
	}
	o.result.ElapsedMS = time.Since(start).Milliseconds()
	return o.result, o.err
}

func (p *Provider) newDish(r stage.Request, id string) *dish {
	d := &dish{id: id, request: r, reading: p.knowledge.Read(cuisine.Query{
		Name: r.Item.Name, Category: r.Item.Category, Price: r.Item.Price,
		SourceLanguage: r.SourceLanguage, TargetLanguage: r.TargetLanguage,
	})}
	switch p.stage {
	case menu.Translation:
		d.local = d.reading.Translation()
	case menu.Description:
		d.local = d.reading.Description()
	case menu.Allergen:
		d.local = d.reading.Allergens()
	case menu.Ingredient:
		d.local = d.reading.Ingredients()
	case menu.SearchEngine:
		d.local = d.reading.ImageSearch()
	case menu.Task6:
		d.local = d.reading.Diet()
	case menu.Task7:
		d.local = d.reading.Pronunciation()
	case menu.Task8:
		d.local = d.reading.Taste()
	}
	return d
}

// settled says that a model could add nothing to the local answer, and so is not asked.
func (p *Provider) settled(d *dish) bool {
	switch p.stage {
	case menu.Translation:
		return d.local.Confidence == 1 // the menu is in the target language
	case menu.SearchEngine:
		return d.local.Basis == cuisine.BasisExact
	case menu.Task7:
		data, is := d.local.Data.(cuisine.PronunciationData)
		return is && data.ReadingSource == "kb"
	case menu.Description, menu.Allergen, menu.Ingredient, menu.Task6, menu.Task8:
	}
	return false
}

var (
	_ stage.Provider     = (*Provider)(nil)
	_ stage.TokenCounter = (*Provider)(nil)
)

package commons

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/text/language"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/handlers/stage"
)

// Name is the provider's name in results.
const Name = "commons"

const (
	// version changes when the same answers of the hosts make other results.
	version = "1"
	// enough is the number of pictures with which no further search is made.
	enough = 3
	// maxImages bounds the pictures of a result; its schema allows no more.
	maxImages = 10
	// confidence of a picture: it shows the dish, not the one of this restaurant.
	confidence = 0.6
)

// The reasons that this provider gives for a failed attempt, besides those of the engine.
const (
	ReasonUnreachable = "unreachable"  // neither host answers
	ReasonRateLimited = "rate_limited" // both hosts ask for a pause
)

// Provider searches both hosts for pictures. Its rates hold for the provider: a process has one. It is safe for
// concurrent use.
type Provider struct {
	knowledge *cuisine.Knowledge
	commons   *host
	openverse *host
}

// New returns the provider. Nothing is sent before the first dish. The caller ends it with Close.
func New(cfg Config, knowledge *cuisine.Knowledge) (*Provider, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if knowledge == nil {
		return nil, errors.New("commons.New: the knowledge of dishes is missing")
	}
	p := &Provider{knowledge: knowledge}
	var errs [2]error
	p.commons, errs[0] = newHost(cfg, wikimedia, cfg.CommonsURL, wikimediaParams, decodeWikimedia)
	p.openverse, errs[1] = newHost(cfg, openverse, cfg.OpenverseURL, openverseParams, decodeOpenverse)
	return p, errors.Join(errs[:]...)
}

// Close closes the connections that wait for a further request.
func (p *Provider) Close() {
	p.commons.client.CloseIdleConnections()
	p.openverse.client.CloseIdleConnections()
}

// Name returns "commons".
func (p *Provider) Name() string { return Name }

// Version returns the provider's own version and that of the knowledge base, from which the words come.
func (p *Provider) Version() string { return version + "+" + p.knowledge.Version() }

// Answer searches for pictures of the dish. A dish that the knowledge base does not know gets its answer, and no request
// is made. If one host does not answer, the result is partial and says so; if neither does, the failure is a temporary
// one of the provider.
func (p *Provider) Answer(ctx context.Context, r stage.Request) (menu.Result, error) {
	start := time.Now()
	if r.Stage != menu.SearchEngine {
		return menu.Result{}, &stage.Error{Reason: stage.ReasonError, Permanent: true, Err: fmt.Errorf(
			"the provider %s answers %s, not %s: set stages.%s.provider to another one", Name, menu.SearchEngine, r.Stage, r.Stage)}
	}
	asked := cuisine.Query{
		Name: r.Item.Name, Category: r.Item.Category, Price: r.Item.Price,
		SourceLanguage: r.SourceLanguage, TargetLanguage: r.TargetLanguage,
	}
	answer := p.knowledge.Read(asked).ImageSearch()
	data, ok := answer.Data.(cuisine.SearchData)
	if !ok {
		return menu.Result{}, &stage.Error{Reason: stage.ReasonError, Permanent: true, Err: fmt.Errorf("the knowledge base answers with %T", answer.Data)}
	}
	if words := p.words(asked, data.Query); len(words) > 0 {
		found, err := p.search(ctx, words)
		if err != nil {
			return menu.Result{}, err
		}
		found.complete(&answer, &data, speech(r.TargetLanguage))
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return menu.Result{}, &stage.Error{Reason: stage.ReasonInvalidResult, Permanent: true, Err: fmt.Errorf("encode the pictures of %q: %w", r.Item.Name, err)}
	}
	return menu.Result{
		Stage: menu.SearchEngine, Status: menu.ResultStatus(answer.Status), Provider: Name, ProviderVersion: p.Version(),
		Basis: menu.Basis(answer.Basis), Confidence: answer.Confidence, Data: raw,
		Warnings: answer.Warnings, Attribution: answer.Attribution, ElapsedMS: time.Since(start).Milliseconds(),
	}, nil
}

// words are what to search for, the most exact first: the query of the knowledge base, and the name alone under which
// the dish is known in English. Both hosts want every word to be there, and few captions have both "karubonara" and
// "carbonara".
func (p *Provider) words(asked cuisine.Query, query string) []string {
	var list []string
	add := func(text string) {
		w := searchWords(text)
		if w != "" && (len(list) == 0 || list[0] != w) {
			list = append(list, w)
		}
	}
	if add(query); len(list) == 0 {
		return nil
	}
	asked.TargetLanguage = "en"
	if t, ok := p.knowledge.Read(asked).Translation().Data.(cuisine.TranslationData); ok {
		name := t.Translation
		if t.KeepTerm != nil {
			name = *t.KeepTerm
		}
		name, _, _ = strings.Cut(name, "(")
		add(name)
	}
	return list
}

// search asks Wikimedia Commons, and Openverse too if there is not enough. A host that fails is not asked again.
func (p *Provider) search(ctx context.Context, words []string) (findings, error) {
	var found findings
	ask := func(h *host, query string) error {
		images, err := h.find(ctx, query)
		if err == nil {
			found.add(h.name, images)
			return nil
		}
		away, ok := errors.AsType[*awayError](err)
		if !ok {
			return err
		}
		found.away = append(found.away, away)
		return nil
	}
	for _, query := range words {
		if err := ask(p.commons, query); err != nil {
			return found, err
		}
		if len(found.images) >= enough {
			return found, nil
		}
		if len(found.away) > 0 {
			break
		}
	}
	// All that has the words of an exacter search has those of the last one: Openverse grants strangers few requests a day.
	if err := ask(p.openverse, words[len(words)-1]); err != nil {
		return found, err
	}
	if len(found.images) == 0 && len(found.away) == 2 {
		return found, nobody(found.away)
	}
	return found, nil
}

// nobody is the failure of an attempt for which neither host was there. It has a time for the next one only if both have
// said when: either may be enough.
func nobody(away []*awayError) *stage.Error {
	e := &stage.Error{Reason: ReasonUnreachable, Away: true, Err: errors.Join(away[0], away[1])}
	if wait := min(away[0].retryAfter, away[1].retryAfter); wait > 0 {
		e.Reason, e.RetryAfter = ReasonRateLimited, wait
	}
	return e
}

// findings are the pictures of both hosts, and who did not answer.
type findings struct {
	images  []cuisine.Image
	sources []string // hosts that have a picture among them
	away    []*awayError
}

// add takes in pictures that are not there yet.
func (f *findings) add(source string, images []cuisine.Image) {
	for _, image := range images {
		if len(f.images) == maxImages {
			return
		}
		if f.has(image.URL) {
			continue
		}
		f.images = append(f.images, image)
		if n := len(f.sources); n == 0 || f.sources[n-1] != source {
			f.sources = append(f.sources, source)
		}
	}
}

func (f *findings) has(url string) bool {
	for _, image := range f.images {
		if image.URL == url {
			return true
		}
	}
	return false
}

// complete puts the pictures into the local answer.
func (f *findings) complete(a *cuisine.Answer, data *cuisine.SearchData, say func(en, ja string) string) {
	a.Basis, a.Confidence, a.Status = cuisine.Basis(menu.BasisSearch), min(a.Confidence, confidence), cuisine.StatusPartial
	for _, away := range f.away {
		a.Warnings = append(a.Warnings, say(away.host+" did not answer; there may be more pictures.", away.host+"が応答しませんでした。ほかにも写真があるかもしれません。"))
	}
	if len(f.images) == 0 {
		a.Warnings = append(a.Warnings, say("No picture with a free licence was found.", "自由に使える写真は見つかりませんでした。"))
		return
	}
	if data.Images = f.images; len(f.away) == 0 {
		a.Status = cuisine.StatusOK
	}
	a.Warnings = append(a.Warnings, say("Example photos: not this restaurant's dish.", "写真は一例です。この店の料理ではありません。"))
	for _, source := range f.sources {
		a.Attribution = append(a.Attribution, say("Pictures: "+source+"; creator and licence stand with each.", "写真: "+source+"(作者とライセンスは各写真に記載)"))
	}
}

// speech picks the text in the language of the answers: Japanese for Japanese readers, English for all others.
func speech(target string) func(en, ja string) string {
	tag, err := language.Parse(target)
	base, _ := tag.Base()
	japanese := err == nil && base.String() == "ja"
	return func(en, ja string) string {
		if japanese {
			return ja
		}
		return en
	}
}

var _ stage.Provider = (*Provider)(nil)

package image

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/streams"
)

const (
	// maxTries is how often a picture is tried before its request fails. A crash uses one up: nobody else could end a picture
	// that takes its process down.
	maxTries = 8
	// paintTries is how often a painter is asked for one picture before the card has to do without.
	paintTries = 3
	// appendPause is the longest wait before an append that failed is tried again.
	appendPause = 5 * time.Second
	// maxText bounds the attribution and the reason in an event, in characters.
	maxText = 500
	// maxID bounds the ids that a trigger passes on to our events: with longer ones their headers might not fit the broker.
	maxID = 255

	// GeneratedAttribution is what an event says of a picture that was painted.
	GeneratedAttribution = "Generated picture, not the dish itself"
)

// ErrRefused is matched by the error of a [Painter] that will not paint this picture, however often it is asked.
var ErrRefused = errors.New("the painter refuses")

// Painter paints a picture from words. It may be slow; it returns when ctx ends.
type Painter interface {
	// Paint returns the picture, PNG, JPEG, GIF or WebP, and its media type.
	Paint(ctx context.Context, prompt string) (image []byte, mediaType string, err error)
}

// Log is what a maker needs of the event store.
type Log interface {
	// Append records events of the lane image.
	Append(ctx context.Context, key menu.Key, events ...eventstore.Proposed) (eventstore.Receipt, error)
	// Load returns a session's history.
	Load(ctx context.Context, key menu.Key) ([]eventstore.Entry, error)
}

// Store is where pictures are kept; see [streams.Images].
type Store interface {
	Put(ctx context.Context, image streams.Image, body []byte) error
	Get(ctx context.Context, image streams.Image) ([]byte, error)
	Delete(ctx context.Context, image streams.Image) error
}

// Config holds the settings of a [Maker]. Every field is required but Painter and Tracer.
type Config struct {
	Knowledge    func() (*cuisine.Knowledge, error) // of allergens' names; asked when the first card is drawn
	Painter      Painter                            // nil: cards have no painted pictures
	PaintTimeout time.Duration                      // of one attempt to paint; needed with a Painter
	AckWait      time.Duration                      // of the consumer
	Clock        func() time.Time
	Logger       *slog.Logger
	Tracer       trace.Tracer // of pictures; nil: none
}

// Validate names every field that cannot be worked with.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New("image.Config."+what))
		}
	}
	check(c.Knowledge != nil, "Knowledge is missing")
	check(c.Painter == nil || c.PaintTimeout > 0, "PaintTimeout must be positive with a Painter")
	check(c.AckWait > 0, "AckWait must be positive")
	check(c.Clock != nil, "Clock is missing")
	check(c.Logger != nil, "Logger is missing")
	return errors.Join(errs...)
}

// Maker makes the pictures that are asked for.
type Maker struct {
	log      Log
	store    Store
	consumer func(ctx context.Context, name string) (jetstream.Consumer, error)
	cfg      Config
}

// New returns a maker that works on the deliveries of the consumer [streams.ImageConsumer], which consumer finds. It fails if the
// configuration is not valid.
func New(log Log, store Store, consumer func(ctx context.Context, name string) (jetstream.Consumer, error), cfg Config) (*Maker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Maker{log: log, store: store, consumer: consumer, cfg: cfg}, nil
}

// errSetAside is matched by the error of a message that no attempt will ever make sense of.
var errSetAside = errors.New("the message is set aside")

// errStopped ends the work that a stop interrupts.
var errStopped = errors.New("the maker of pictures stops")

// job is one request for a picture and what the log says of its dish.
type job struct {
	trigger eventstore.Entry
	request menu.ImageRequested
	session menu.Session
	dish    menu.Dish
	credits []string // of the texts that the card shows
	earlier []int    // epochs of pictures that this one replaces
}

// handle makes the picture that a trigger asks for, unless that was done. tries counts this attempt. An error means that the
// picture can be tried again.
func (m *Maker) handle(ctx context.Context, trigger eventstore.Entry, tries int) error {
	j, open, err := m.plan(ctx, trigger)
	if errors.Is(err, errSetAside) {
		m.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "message set aside", slog.Any("error", err))
		return nil
	}
	if err != nil || !open {
		return err
	}
	generated, err := m.make(ctx, j)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return err
	case tries < maxTries && !errors.Is(err, streams.ErrImagesFull):
		return err
	default:
		m.cfg.Logger.LogAttrs(ctx, slog.LevelError, "a picture cannot be made", slog.Any("error", err))
		return m.append(ctx, j, menu.ImageFailed{ID: j.request.ID, Epoch: j.request.Epoch, Reason: reasonOf(err)})
	}
	attribution := attributionOf(j)
	if generated {
		attribution = GeneratedAttribution
	}
	if err := m.append(ctx, j, menu.ImageCompleted{
		ID: j.request.ID, Epoch: j.request.Epoch, URL: "/v1/menus/" + string(j.request.ID) + "/image.png", MediaType: streams.MediaPNG,
		Generated: generated, Attribution: attribution,
	}); err != nil {
		return err
	}
	m.replace(ctx, j)
	return nil
}

// plan reads what the log says of a request; open is false if nothing is left to do.
func (m *Maker) plan(ctx context.Context, trigger eventstore.Entry) (j job, open bool, err error) {
	if trigger.Err != nil {
		return j, false, fmt.Errorf("%w: %w", errSetAside, trigger.Err)
	}
	if len(trigger.ID) > maxID || len(trigger.Correlation) > maxID {
		return j, false, fmt.Errorf("%w: event %d has an id of more than %d bytes", errSetAside, trigger.Seq, maxID)
	}
	request, is := trigger.Event.(menu.ImageRequested)
	if !is {
		return j, false, fmt.Errorf("%w: event %d, a %s, asks for no picture", errSetAside, trigger.Seq, trigger.Type)
	}
	entries, err := m.log.Load(ctx, trigger.Key)
	if err != nil {
		return j, false, fmt.Errorf("read session %s: %w", trigger.Key, err)
	}
	j = job{trigger: trigger, request: request}
	for _, e := range entries {
		if e.Event == nil {
			continue // set aside by whoever it was meant for
		}
		j.session = menu.Evolve(j.session, e.Recorded)
		j.note(e.Event)
	}
	if j.session.Status == menu.SessionErased {
		return j, false, nil
	}
	if j.session.LastSeq < trigger.Seq && j.session.Exists() { // a copy that is read may lag behind
		j.session = menu.Evolve(j.session, trigger.Recorded)
	}
	dish, known := j.session.Dishes[request.ID]
	if !known {
		return j, false, fmt.Errorf("%w: event %d asks for a picture of dish %s, which session %s does not have", errSetAside, trigger.Seq, request.ID, trigger.Key)
	}
	j.dish = dish
	return j, dish.Image.Open && dish.Image.Epoch == request.Epoch, nil
}

// note takes from an event what the fold does not keep.
func (j *job) note(event menu.Event) {
	if done, is := event.(menu.ImageCompleted); is && done.ID == j.request.ID && done.Epoch < j.request.Epoch {
		j.earlier = append(j.earlier, done.Epoch)
	}
	answer, is := event.(menu.StageCompleted)
	if !is || answer.Stage == menu.SearchEngine { // its pictures are not on the card
		return
	}
	for _, r := range answer.Results {
		if r.ID != j.request.ID {
			continue
		}
		for _, credit := range r.Result.Attribution {
			if !slices.Contains(j.credits, credit) {
				j.credits = append(j.credits, credit)
			}
		}
	}
}

func (j job) image(mediaType string) streams.Image {
	return streams.Image{Key: j.trigger.Key, Dish: j.request.ID, Epoch: j.request.Epoch, MediaType: mediaType}
}

// make keeps the picture in both forms and says whether it was painted. What an attempt before this one has kept is used: it may
// have been paid for.
func (m *Maker) make(ctx context.Context, j job) (generated bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			m.cfg.Logger.LogAttrs(ctx, slog.LevelError, "drawing a card panicked",
				slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("drawing the card panicked: %v", v)
		}
	}()
	svg, err := m.held(ctx, j)
	if err != nil || svg != nil {
		return bytes.Contains(svg, []byte("<image ")), err
	}
	knowledge, err := m.cfg.Knowledge()
	if err != nil {
		return false, fmt.Errorf("name the allergens: %w", err)
	}
	card := CardOf(j.session, j.dish, NamesOf(knowledge))
	if m.cfg.Painter != nil {
		if err := m.illustrate(ctx, &card); err != nil {
			if ctx.Err() != nil {
				return false, context.Cause(ctx)
			}
			m.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "no picture was painted, the card goes without", slog.Any("error", err))
		}
	}
	png, err := card.PNG()
	if err != nil {
		return false, err
	}
	if svg, err = card.SVG(); err != nil {
		return false, err
	}
	for _, form := range []struct {
		mediaType string
		body      []byte
	}{{streams.MediaPNG, png}, {streams.MediaSVG, svg}} { // SVG last: held looks for it
		image := j.image(form.mediaType)
		if err := m.store.Delete(ctx, image); err != nil { // half of an attempt before this one
			return false, err
		}
		if err := m.store.Put(ctx, image, form.body); err != nil {
			return false, err
		}
	}
	return card.picture != nil, nil
}

// held returns the SVG of a picture that is kept in both forms, nil if it is not.
func (m *Maker) held(ctx context.Context, j job) ([]byte, error) {
	svg, err := m.store.Get(ctx, j.image(streams.MediaSVG))
	if err == nil {
		_, err = m.store.Get(ctx, j.image(streams.MediaPNG))
	}
	if errors.Is(err, streams.ErrNoImage) {
		return nil, nil
	}
	return svg, err
}

// illustrate asks the painter and puts its picture on the card.
func (m *Maker) illustrate(ctx context.Context, card *Card) error {
	prompt := card.prompt()
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		painting, cancel := context.WithTimeout(ctx, m.cfg.PaintTimeout)
		defer cancel()
		picture, err := m.paint(painting, prompt)
		if err == nil {
			err = card.Illustrate(picture)
		}
		if errors.Is(err, ErrRefused) || errors.Is(err, errPicture) { // another one would cost as much
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(backoff.NewExponentialBackOff()), backoff.WithMaxTries(paintTries), backoff.WithMaxElapsedTime(0))
	return err
}

// errPanic is matched by the error of a painter that panicked.
var errPanic = errors.New("the painter panicked")

func (m *Maker) paint(ctx context.Context, prompt string) (picture []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			m.cfg.Logger.LogAttrs(ctx, slog.LevelError, "painter panicked", slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("%w: %v", errPanic, v)
		}
	}()
	picture, _, err = m.cfg.Painter.Paint(ctx, prompt)
	return picture, err
}

// replace removes the pictures that this one takes the place of. What is left of them is found by the next request.
func (m *Maker) replace(ctx context.Context, j job) {
	for _, epoch := range j.earlier {
		for _, mediaType := range []string{streams.MediaPNG, streams.MediaSVG} {
			old := j.image(mediaType)
			old.Epoch = epoch
			if err := m.store.Delete(ctx, old); err != nil {
				m.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "a picture that was replaced is not removed yet", slog.Any("error", err))
				return
			}
		}
	}
}

// append records how a request ended. It repeats while the broker takes nothing, until ctx ends.
func (m *Maker) append(ctx context.Context, j job, event menu.Event) error {
	t := j.trigger
	proposed := eventstore.Proposed{Event: event, Time: m.cfg.Clock(), Causation: t.ID, Correlation: cmp.Or(t.Correlation, t.ID)}
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = appendPause
	_, err := backoff.Retry(ctx, func() (eventstore.Receipt, error) {
		receipt, err := m.log.Append(ctx, t.Key, proposed)
		if errors.Is(err, eventstore.ErrTooLarge) {
			err = backoff.Permanent(err)
		}
		return receipt, err
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0))
	if err != nil {
		return fmt.Errorf("record %s of session %s: %w", event.Type(), t.Key, err)
	}
	return nil
}

// attributionOf says who the card's texts are from.
func attributionOf(j job) string {
	var providers []string
	for _, s := range j.dish.Stages {
		if s.Answered() && !s.Parked() && !slices.Contains(providers, s.Provider) {
			providers = append(providers, s.Provider)
		}
	}
	text := "Dish card"
	if len(providers) > 0 {
		text += " from the answers of " + strings.Join(providers, ", ")
	}
	return bounded(strings.Join(append([]string{text}, j.credits...), "; "))
}

// reasonOf is a failure in words for people.
func reasonOf(err error) string {
	if errors.Is(err, streams.ErrImagesFull) {
		return "the store of pictures is full: the operator has to make room"
	}
	return bounded(err.Error())
}

func bounded(text string) string {
	runes := []rune(clean(text))
	return string(runes[:min(len(runes), maxText)])
}

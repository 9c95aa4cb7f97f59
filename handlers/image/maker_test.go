package image_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/handlers/image"
	"kondate/streams"
	"kondate/streams/natstest"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a broker with the log and the store of pictures.
type site struct {
	t      *testing.T
	js     jetstream.JetStream
	log    *eventstore.JetStream
	images *streams.Images
}

func newSite(t *testing.T) *site {
	t.Helper()
	js := natstest.New(t).JetStream()
	return &site{t: t, js: js, log: eventstore.NewJetStream(js, eventstore.Config{Logger: slog.New(slog.DiscardHandler)}), images: streams.NewImages(js)}
}

// start runs a maker until the test ends or stop is called.
func (s *site) start(store image.Store, painter image.Painter) (stop func()) {
	s.t.Helper()
	m, err := image.New(s.log, store, func(ctx context.Context, name string) (jetstream.Consumer, error) {
		return streams.OpenConsumer(ctx, s.js, name)
	}, image.Config{
		Knowledge: cuisine.Load, Painter: painter, PaintTimeout: patience, AckWait: natstest.AckWait, Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				s.t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			s.t.Error("the maker does not stop")
		}
	})
	s.t.Cleanup(stop)
	return stop
}

// submit records a menu of one answered dish.
func (s *site) submit(key menu.Key) {
	s.t.Helper()
	item := menu.Item{ID: "dish", Name: "親子丼", Price: "850円"}
	if _, err := s.log.AppendMenu(s.t.Context(), key, 0, eventstore.Proposed{Event: menutest.Submitted([]menu.Item{item}), Time: time.Now()}); err != nil {
		s.t.Fatal(err)
	}
	for _, e := range answers(s.t, item) {
		s.append(key, e)
	}
}

func (s *site) append(key menu.Key, e menu.Event) {
	s.t.Helper()
	if _, err := s.log.Append(s.t.Context(), key, eventstore.Proposed{Event: e, Time: time.Now(), Causation: fmt.Sprint(time.Now().UnixNano()), Correlation: "c"}); err != nil {
		s.t.Fatal(err)
	}
}

// request asks for a picture and waits for how that ends.
func (s *site) request(key menu.Key, epoch int) menu.Event {
	s.t.Helper()
	s.append(key, menu.ImageRequested{ID: "dish", Epoch: epoch})
	return s.ended(key, epoch)
}

// ended waits for the end of a request.
func (s *site) ended(key menu.Key, epoch int) menu.Event {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	var end menu.Event
	err := s.log.Follow(ctx, 0, func(_ context.Context, page []eventstore.Entry) error {
		for _, e := range page {
			switch ev := e.Event.(type) {
			case menu.ImageCompleted:
				if e.Key == key && ev.Epoch == epoch {
					end = ev
				}
			case menu.ImageFailed:
				if e.Key == key && ev.Epoch == epoch {
					end = ev
				}
			}
		}
		if end != nil {
			cancel()
		}
		return nil
	})
	if end == nil {
		s.t.Fatalf("request %d of %s does not end: %v", epoch, key, err)
	}
	return end
}

// idle waits until the consumer has nothing left to hand out and nothing unanswered.
func (s *site) idle() {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		consumer, err := streams.OpenConsumer(s.t.Context(), s.js, streams.ImageConsumer)
		if err != nil {
			s.t.Fatal(err)
		}
		if info := consumer.CachedInfo(); info.NumPending == 0 && info.NumAckPending == 0 {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			s.t.Fatal("the consumer does not come to rest")
		}
	}
}

func (s *site) picture(key menu.Key, epoch int, mediaType string) []byte {
	s.t.Helper()
	body, err := s.images.Get(s.t.Context(), streams.Image{Key: key, Dish: "dish", Epoch: epoch, MediaType: mediaType})
	if err != nil && !errors.Is(err, streams.ErrNoImage) {
		s.t.Fatal(err)
	}
	return body
}

func completed(t *testing.T, e menu.Event, epoch int, generated bool) menu.ImageCompleted {
	t.Helper()
	done, is := e.(menu.ImageCompleted)
	if !is || done.Epoch != epoch || done.Generated != generated || done.URL != "/v1/menus/dish/image.png" || done.MediaType != "image/png" || done.Attribution == "" {
		t.Fatalf("%T %+v", e, e)
	}
	return done
}

var dinner = menutest.Key("dinner")

func TestMakerMakesACard(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.start(s.images, nil)
	s.submit(dinner)
	done := completed(t, s.request(dinner, 1), 1, false)
	if done.Attribution != "Dish card from the answers of local" {
		t.Errorf("attribution %q", done.Attribution)
	}
	if png := s.picture(dinner, 1, streams.MediaPNG); !bytes.HasPrefix(png, []byte("\x89PNG")) {
		t.Errorf("a PNG of %d bytes", len(png))
	}
	if svg := s.picture(dinner, 1, streams.MediaSVG); !bytes.Contains(svg, []byte("親子丼 / ")) || !bytes.Contains(svg, []byte("卵 egg")) {
		t.Errorf("an SVG of %d bytes", len(svg))
	}

	// Another one takes the place of the first.
	completed(t, s.request(dinner, 2), 2, false)
	s.idle()
	if s.picture(dinner, 2, streams.MediaPNG) == nil || s.picture(dinner, 1, streams.MediaPNG) != nil || s.picture(dinner, 1, streams.MediaSVG) != nil {
		t.Error("the first picture is still there, or the second is not")
	}
	// The same request once more, under another id, is no news.
	s.append(dinner, menu.ImageRequested{ID: "dish", Epoch: 2})
	s.idle()
	if entries, err := s.log.LoadLane(t.Context(), dinner, menu.LaneImage, 0); err != nil || len(entries) != 5 {
		t.Errorf("%d events of the lane, %v; want 5", len(entries), err)
	}
}

// painter is a painter whose answers a test decides.
type painter struct {
	calls atomic.Int32
	paint func(ctx context.Context, prompt string) ([]byte, error)
}

func (p *painter) Paint(ctx context.Context, prompt string) ([]byte, string, error) {
	p.calls.Add(1)
	body, err := p.paint(ctx, prompt)
	return body, "image/jpeg", err
}

func TestMakerPaints(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	picture := painted(t, 64, 48)
	var prompt atomic.Value
	s.start(s.images, &painter{paint: func(_ context.Context, words string) ([]byte, error) {
		prompt.Store(words)
		return picture, nil
	}})
	s.submit(dinner)
	done := completed(t, s.request(dinner, 1), 1, true)
	if done.Attribution != image.GeneratedAttribution {
		t.Errorf("attribution %q", done.Attribution)
	}
	svg := s.picture(dinner, 1, streams.MediaSVG)
	if !bytes.Contains(svg, []byte("<image ")) || !bytes.Contains(svg, []byte("Generated picture, not the dish itself")) {
		t.Error("the card has no picture, or no label")
	}
	if words := prompt.Load().(string); !strings.Contains(words, "親子丼") || !strings.Contains(words, "hicken") {
		t.Errorf("the painter was told %q", words)
	}
}

func TestMakerDoesWithoutAPainter(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		paint func(ctx context.Context, prompt string) ([]byte, error)
		calls int32
	}{
		"Refuses": {func(context.Context, string) ([]byte, error) {
			return nil, fmt.Errorf("not this: %w", image.ErrRefused)
		}, 1},
		"Away":     {func(context.Context, string) ([]byte, error) { return nil, errors.New("away") }, 3},
		"NoImage":  {func(context.Context, string) ([]byte, error) { return []byte("<svg onload=alert(1)>"), nil }, 1},
		"Panicked": {func(context.Context, string) ([]byte, error) { panic("painter") }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := &painter{paint: test.paint}
			s.start(s.images, p)
			s.submit(dinner)
			completed(t, s.request(dinner, 1), 1, false)
			if svg := s.picture(dinner, 1, streams.MediaSVG); svg == nil || bytes.Contains(svg, []byte("<image ")) || bytes.Contains(svg, []byte("Generated")) {
				t.Error("no card, or one with a picture")
			}
			if got := p.calls.Load(); got != test.calls {
				t.Errorf("the painter was asked %d times, want %d", got, test.calls)
			}
		})
	}
}

// A picture that was kept and whose event was not recorded any more is not painted, and paid for, again.
func TestMakerUsesWhatACrashLeft(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.submit(dinner)
	for _, form := range []struct{ mediaType, body string }{{streams.MediaPNG, "png"}, {streams.MediaSVG, "<svg><image /></svg>"}} {
		if err := s.images.Put(t.Context(), streams.Image{Key: dinner, Dish: "dish", Epoch: 1, MediaType: form.mediaType}, []byte(form.body)); err != nil {
			t.Fatal(err)
		}
	}
	// Of the second only half is there.
	if err := s.images.Put(t.Context(), streams.Image{Key: dinner, Dish: "dish", Epoch: 2, MediaType: streams.MediaPNG}, []byte("half")); err != nil {
		t.Fatal(err)
	}
	p := &painter{paint: func(context.Context, string) ([]byte, error) { return nil, image.ErrRefused }}
	s.start(s.images, p)
	completed(t, s.request(dinner, 1), 1, true)
	if p.calls.Load() != 0 || string(s.picture(dinner, 1, streams.MediaPNG)) != "png" {
		t.Errorf("the painter was asked %d times", p.calls.Load())
	}
	completed(t, s.request(dinner, 2), 2, false)
	if png := s.picture(dinner, 2, streams.MediaPNG); !bytes.HasPrefix(png, []byte("\x89PNG")) {
		t.Errorf("half a picture was taken for a whole one: %q", png)
	}
}

func TestMakerSetsAside(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.start(s.images, nil)
	s.submit(dinner)
	subject := streams.EventSubject(dinner, menu.ImageRequested{}.Type())
	for _, msg := range []*nats.Msg{
		{Subject: subject, Data: []byte("no JSON")},
		{Subject: subject},
		{Subject: subject, Header: nats.Header{"Kondate-Schema": {"1", "99"}, "Ce-Id": {"a", "b"}}, Data: []byte(`{"menu_id":"dish","epoch":1}`)},
		{Subject: streams.EventSubject(menutest.Key("nobody"), menu.ImageRequested{}.Type()), Data: []byte(`{"menu_id":"dish","epoch":1}`)},
	} {
		if _, err := s.js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	s.append(dinner, menu.ImageRequested{ID: "other", Epoch: 1})
	s.append(menutest.Key("unknown"), menu.ImageRequested{ID: "dish", Epoch: 1})
	completed(t, s.request(dinner, 1), 1, false)
	s.idle()
	if keys, err := s.images.Sessions(t.Context()); err != nil || len(keys) != 1 {
		t.Errorf("pictures of %v, %v", keys, err)
	}
}

func TestMakerLeavesErasedSessionsAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.submit(dinner)
	s.append(dinner, menu.ImageRequested{ID: "dish", Epoch: 1})
	entries, err := s.log.LoadLane(t.Context(), dinner, menu.LaneMenu, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.log.AppendMenu(t.Context(), dinner, entries[0].Seq, eventstore.Proposed{Event: menu.Erased{By: "test"}, Time: time.Now(), Causation: "c", Correlation: "c"}); err != nil {
		t.Fatal(err)
	}
	s.start(s.images, nil)
	s.idle()
	if keys, err := s.images.Sessions(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("pictures of %v, %v", keys, err)
	}
}

// failing is a store that fails as often as a test wants it to.
type failing struct {
	image.Store

	err   error
	times atomic.Int32
}

func (f *failing) Put(ctx context.Context, image streams.Image, body []byte) error {
	if f.times.Add(-1) >= 0 {
		return f.err
	}
	return f.Store.Put(ctx, image, body)
}

func TestMakerTriesAgainAndGivesUp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	store := &failing{Store: s.images, err: errors.New("no disk")}
	store.times.Store(1)
	s.start(store, nil)
	s.submit(dinner)
	completed(t, s.request(dinner, 1), 1, false)

	store.err = fmt.Errorf("keep: %w", streams.ErrImagesFull)
	store.times.Store(1)
	failed, is := s.request(dinner, 2).(menu.ImageFailed)
	if !is || !strings.Contains(failed.Reason, "full") || failed.ID != "dish" {
		t.Errorf("%+v", failed)
	}
	completed(t, s.request(dinner, 3), 3, false)
}

// A stop hands the picture at work back, and another process makes it.
func TestMakerStopsInTheMiddle(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	began := make(chan struct{}, 1)
	stop := s.start(s.images, &painter{paint: func(ctx context.Context, _ string) ([]byte, error) {
		began <- struct{}{}
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}})
	s.submit(dinner)
	s.append(dinner, menu.ImageRequested{ID: "dish", Epoch: 1})
	select {
	case <-began:
	case <-time.After(patience):
		t.Fatal("the painter is not asked")
	}
	stop()
	s.start(s.images, nil)
	completed(t, s.ended(dinner, 1), 1, false)
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := image.New(nil, nil, nil, image.Config{Painter: &painter{}})
	for _, field := range []string{"Knowledge", "PaintTimeout", "AckWait", "Clock", "Logger"} {
		if err == nil || !strings.Contains(err.Error(), "image.Config."+field) {
			t.Errorf("the error does not name %s: %v", field, err)
		}
	}
}

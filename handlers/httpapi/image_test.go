package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/httpapi"
	"kondate/projections"
	"kondate/streams"
)

// pictures is a store of pictures in memory.
type pictures struct {
	mu   sync.Mutex // guards the fields below
	held map[streams.Image]string
	err  error
}

func (p *pictures) put(image streams.Image, body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = map[streams.Image]string{}
	}
	p.held[image] = body
}

func (p *pictures) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *pictures) Get(_ context.Context, image streams.Image) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if body, there := p.held[image]; there || p.err != nil {
		return []byte(body), p.err
	}
	return nil, fmt.Errorf("look for it: %w", streams.ErrNoImage)
}

// soba submits a menu of one dish with the id "soba".
func soba(t *testing.T, h *harness) menu.Key {
	t.Helper()
	posted := h.post(t, `{"items":[{"id":"soba","name":"かけそば"}]}`).accepted(t)
	return menu.Key{Tenant: menu.DefaultTenant, Session: posted.SessionID}
}

func (h *harness) ask(t *testing.T, id string) answer {
	t.Helper()
	return h.do(t, newRequest(http.MethodPost, "/v1/menus/"+id+"/image", nil))
}

// made records that a picture was made, and keeps it.
func (h *harness) made(t *testing.T, key menu.Key, epoch int, generated bool) {
	t.Helper()
	for mediaType, body := range map[string]string{streams.MediaSVG: "<svg/>", streams.MediaPNG: "PNG"} {
		h.images.put(streams.Image{Key: key, Dish: "soba", Epoch: epoch, MediaType: mediaType}, fmt.Sprint(body, epoch))
	}
	h.record(t, key, menu.ImageCompleted{ID: "soba", Epoch: epoch, URL: "/v1/menus/soba/image.png", MediaType: streams.MediaPNG, Generated: generated})
}

func (h *harness) record(t *testing.T, key menu.Key, e menu.Event) {
	t.Helper()
	if _, err := h.log.Append(t.Context(), key, eventstore.Proposed{Event: e, Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
}

func TestRequestImage(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.ask(t, "soba").problem(t, http.StatusNotFound)
	h.ask(t, "so.ba").problem(t, http.StatusBadRequest)
	key := soba(t, h)

	for epoch := 1; epoch <= 2; epoch++ {
		got := h.ask(t, "soba")
		if want := fmt.Sprintf(`{"menu_id":"soba","epoch":%d}`, epoch); got.status != http.StatusAccepted || string(got.body) != want {
			t.Fatalf("status %d: %s, want %s", got.status, got.body, want)
		}
		if p := h.ask(t, "soba").problem(t, http.StatusConflict); !strings.Contains(p.Detail, "being made") {
			t.Errorf("a second request at once: %+v", p)
		}
		h.record(t, key, menu.ImageFailed{ID: "soba", Epoch: epoch, Reason: "no"})
	}
	entries, err := h.log.LoadLane(t.Context(), key, menu.LaneImage, 0)
	if err != nil || len(entries) != 4 || entries[0].Event != (menu.ImageRequested{ID: "soba", Epoch: 1}) || entries[0].Correlation == "" {
		t.Errorf("%d events, %v: %+v", len(entries), err, entries)
	}

	h.do(t, newRequest(http.MethodDelete, "/v1/sessions/"+string(key.Session), nil))
	h.ask(t, "soba").problem(t, http.StatusGone)
}

func TestGetImage(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const svg, png = "/v1/menus/soba/image.svg", "/v1/menus/soba/image.png"
	h.get(t, png).problem(t, http.StatusNotFound)
	key := soba(t, h)
	if p := h.get(t, png).problem(t, http.StatusNotFound); !strings.Contains(p.Detail, "POST /v1/menus/soba/image") {
		t.Errorf("before a request: %+v", p)
	}
	h.ask(t, "soba")
	if p := h.get(t, svg).problem(t, http.StatusNotFound); !strings.Contains(p.Detail, "being made") {
		t.Errorf("during a request: %+v", p)
	}
	h.made(t, key, 1, false)

	tags := map[string]bool{}
	for path, want := range map[string]struct{ body, media, file string }{
		svg: {"<svg/>1", "image/svg+xml", "dish-soba.svg"}, png: {"PNG1", "image/png", "dish-soba.png"},
	} {
		got := h.get(t, path)
		if got.status != http.StatusOK || string(got.body) != want.body {
			t.Fatalf("%s: status %d: %s", path, got.status, got.body)
		}
		for name, value := range map[string]string{
			"Content-Type": want.media, "Content-Disposition": `inline; filename="` + want.file + `"`, "X-Content-Type-Options": "nosniff",
			"Content-Security-Policy": "default-src 'none'; img-src data:; sandbox", "Cache-Control": "no-cache, private", "Kondate-Generated": "false",
		} {
			if held := got.header.Get(name); held != value {
				t.Errorf("%s: %s is %q, want %q", path, name, held, value)
			}
		}
		tag := got.header.Get("ETag")
		tags[tag] = true
		for _, sent := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
			if again := h.get(t, path, "If-None-Match: "+sent); again.status != http.StatusNotModified || len(again.body) > 0 || again.header.Get("ETag") != tag {
				t.Errorf("%s with If-None-Match %s: status %d, %q", path, sent, again.status, again.body)
			}
		}
		if again := h.get(t, path, `If-None-Match: "x"`); again.status != http.StatusOK {
			t.Errorf("%s with another tag: status %d", path, again.status)
		}
	}

	// The next one replaces it; until it is there the old one is served.
	h.ask(t, "soba")
	if got := h.get(t, png); string(got.body) != "PNG1" {
		t.Errorf("during the next request: status %d: %s", got.status, got.body)
	}
	h.made(t, key, 2, true)
	got := h.get(t, png)
	if string(got.body) != "PNG2" || got.header.Get("Kondate-Generated") != "true" || tags[got.header.Get("ETag")] {
		t.Errorf("after the next request: %q, generated %s, tag %s", got.body, got.header.Get("Kondate-Generated"), got.header.Get("ETag"))
	}

	h.images.fail(errors.New("away"))
	h.get(t, png).problem(t, http.StatusServiceUnavailable)
	h.images.fail(nil)
	h.ask(t, "soba")
	h.record(t, key, menu.ImageCompleted{ID: "soba", Epoch: 3})
	if p := h.get(t, png).problem(t, http.StatusNotFound); !strings.Contains(p.Detail, "not kept any more") {
		t.Errorf("a store that was lost: %+v", p)
	}
}

// A picture is its tenant's alone, also for somebody who knows the id.
func TestGetImageOfAnotherTenant(t *testing.T) {
	t.Parallel()
	var asking sync.Map
	asking.Store("tenant", menu.DefaultTenant)
	h := newHarness(t, func(c *httpapi.Config) {
		c.Tenant = func(*fiber.Ctx) menu.Tenant { tenant, _ := asking.Load("tenant"); return tenant.(menu.Tenant) }
	})
	key := soba(t, h)
	h.ask(t, "soba")
	h.made(t, key, 1, false)
	if got := h.get(t, "/v1/menus/soba/image.png"); got.status != http.StatusOK {
		t.Fatalf("the owner gets status %d", got.status)
	}
	asking.Store("tenant", menu.Tenant("other"))
	h.get(t, "/v1/menus/soba/image.png").problem(t, http.StatusNotFound)
	h.ask(t, "soba").problem(t, http.StatusNotFound)
}

// archive holds the image events of a session that is not in the log any more.
type archive struct {
	httpapi.History

	events []menu.ImageCompleted
}

func (a archive) Events(_ context.Context, f projections.EventFilter) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		for i, e := range a.events {
			data, err := json.Marshal(e)
			if f.Type != "image.completed" || f.Session == "" || f.Tenant == "" || !yield(eventstore.Envelope{ID: fmt.Sprint("event-", i), Data: data}, err) {
				return
			}
		}
	}
}

func TestGetImageOfAnArchivedSession(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(c *httpapi.Config) {
		c.History = archive{events: []menu.ImageCompleted{{ID: "soba", Epoch: 1}, {ID: "soba", Epoch: 2}, {ID: "udon", Epoch: 3}}}
	})
	key := soba(t, h)
	h.images.put(streams.Image{Key: key, Dish: "soba", Epoch: 2, MediaType: streams.MediaPNG}, "PNG2")
	if got := h.get(t, "/v1/menus/soba/image.png"); string(got.body) != "PNG2" || got.header.Get("ETag") != `"event-1.png"` {
		t.Errorf("status %d: %s", got.status, got.body)
	}
}

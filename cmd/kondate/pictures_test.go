package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/streams"
)

// fetch gets a path.
func (s *system) fetch(t *testing.T, path string) (status int, mediaType string, body []byte) {
	t.Helper()
	got := s.ask(t, path, s.running.Key)
	return got.status, got.media, []byte(got.body)
}

// awaitOnStream follows a session until an event of a type comes.
func awaitOnStream(t *testing.T, cl *client, url string, typ menu.Type) storedEvent {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	errFound := errors.New("found")
	var found storedEvent
	f := &follower{client: cl, url: url, pause: 50 * time.Millisecond, attempts: 100, out: func(string, ...any) {}}
	err := f.run(ctx, func(fr frame) error {
		e, ok, err := fr.stored()
		if ok && e.Type == typ {
			found, err = e, errFound
		}
		return err
	})
	if !errors.Is(err, errFound) {
		t.Fatalf("%s does not come on the stream: %v", typ, err)
	}
	return found
}

// A picture of a dish: asked for, announced on the stream of a session that had ended, in the row, served in both forms, and gone
// with the session.
func TestPictureFromRequestToErasure(t *testing.T) {
	t.Parallel()
	s := startSystem(t, nil)
	cl := s.client()
	sub, err := cl.submit(t.Context(), []byte(`{"items":[{"name":"親子丼","price":"850円"},{"name":"かけそば"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	awaitOnStream(t, cl, sub.StreamURL, menu.Completed{}.Type())
	id := sub.Items[0].MenuID
	path := "/v1/menus/" + string(id)
	waitFor(t, func() bool {
		status, _, _ := s.fetch(t, path)
		return status == http.StatusOK
	})
	if status, _, body := s.fetch(t, path+"/image.png"); status != http.StatusNotFound {
		t.Errorf("before the request: status %d: %.200s", status, body)
	}
	var asked struct {
		ID    menu.DishID `json:"menu_id"`
		Epoch int         `json:"epoch"`
	}
	if err := cl.call(t.Context(), http.MethodPost, path+"/image", nil, &asked); err != nil || asked.ID != id || asked.Epoch != 1 {
		t.Fatalf("%+v, %v", asked, err)
	}
	event := awaitOnStream(t, cl, sub.StreamURL, menu.ImageCompleted{}.Type())
	var done menu.ImageCompleted
	if err := json.Unmarshal(event.Data, &done); err != nil || done.ID != id || done.Epoch != 1 || done.Generated || done.URL != path+"/image.png" {
		t.Errorf("%s, %v", event.Data, err)
	}
	_, mediaType, drawn := s.fetch(t, done.URL)
	if picture, err := png.Decode(bytes.NewReader(drawn)); err != nil || picture.Bounds().Dx() != 1480 || mediaType != done.MediaType {
		t.Errorf("the PNG of type %s: %v", mediaType, err)
	}
	if _, _, svg := s.fetch(t, path+"/image.svg"); !bytes.Contains(svg, []byte("親子丼 / Chicken")) || !bytes.Contains(svg, []byte("卵 egg")) {
		t.Errorf("the SVG: %.300s", svg)
	}
	var row struct {
		GenImage string `json:"gen_image"`
	}
	_, _, body := s.fetch(t, fmt.Sprintf("%s?min_seq=%d", path, event.Seq))
	if err := json.Unmarshal(body, &row); err != nil || row.GenImage != done.URL {
		t.Errorf("the row: %s, %v", body, err)
	}

	mark := drawn[len(drawn)/2:][:64]
	if !onDisk(t, s.dir("nats/jetstream"), mark) {
		t.Fatal("the picture is not on the disk before the erasure: this test finds nothing")
	}
	if err := cl.call(t.Context(), http.MethodDelete, "/v1/sessions/"+sub.SessionID, nil, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		status, _, _ := s.fetch(t, path+"/image.png")
		return status == http.StatusNotFound
	})
	waitFor(t, func() bool {
		keys, err := streams.NewImages(s.js).Sessions(t.Context())
		return err == nil && len(keys) == 0 && !onDisk(t, s.dir("nats/jetstream"), mark)
	})
}

// A picture is painted where a model for pictures is set: the event, the answer and the card say that it is generated.
func TestPaintedPicture(t *testing.T) {
	t.Parallel()
	var picture bytes.Buffer
	painted := image.NewRGBA(image.Rect(0, 0, 64, 64))
	draw.Draw(painted, painted.Bounds(), image.NewUniform(color.RGBA{200, 80, 20, 255}), image.Point{}, draw.Src)
	if err := png.Encode(&picture, painted); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ Model, Prompt string }
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || r.URL.Path != "/v1/images/generations" || asked.Model != "painter" || asked.Prompt == "" {
			t.Errorf("%s %+v: %v", r.URL, asked, err)
		}
		w.Header().Set("Content-Type", "application/json")
		if _, err := fmt.Fprintf(w, `{"created":1,"data":[{"b64_json":%q}]}`, base64.StdEncoding.EncodeToString(picture.Bytes())); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	s := startSystem(t, nil, "--openai-base-url", server.URL+"/v1", "--openai-image-model", "painter")
	cl := s.client()
	sub, err := cl.submit(t.Context(), []byte(`{"items":[{"name":"親子丼"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	awaitOnStream(t, cl, sub.StreamURL, menu.Completed{}.Type())
	path := "/v1/menus/" + string(sub.Items[0].MenuID)
	waitFor(t, func() bool {
		status, _, _ := s.fetch(t, path)
		return status == http.StatusOK
	})
	if err := cl.call(t.Context(), http.MethodPost, path+"/image", nil, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	event := awaitOnStream(t, cl, sub.StreamURL, menu.ImageCompleted{}.Type())
	var done menu.ImageCompleted
	if err := json.Unmarshal(event.Data, &done); err != nil || !done.Generated {
		t.Errorf("%s, %v", event.Data, err)
	}
	if _, _, svg := s.fetch(t, path+"/image.svg"); !bytes.Contains(svg, []byte("Generated picture, not the dish itself")) {
		t.Errorf("the card does not say that its picture is generated: %.300s", svg)
	}
}

// onDisk says whether a file below a folder holds the bytes.
func onDisk(t *testing.T, dir string, wanted []byte) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return ignoreGone(err)
		}
		held, err := os.ReadFile(path)
		found = found || bytes.Contains(held, wanted)
		return ignoreGone(err)
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// ignoreGone passes over files that the broker replaces meanwhile.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

package openai_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"kondate/handlers/stage"
	"kondate/handlers/stage/openai"
)

func picture(tb testing.TB, kind string) []byte {
	tb.Helper()
	var b bytes.Buffer
	var err error
	if kind == "image/jpeg" {
		err = jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 4, 4)), nil)
	} else {
		err = png.Encode(&b, image.NewGray(image.Rect(0, 0, 4, 4)))
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// painted is a reply of the images endpoint.
func painted(w http.ResponseWriter, field, value string) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"created": 1790000000, "data": []any{map[string]any{field: value}}})
}

func encoded(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }

// painter asks a server that answers like this; at is the server's address.
func painter(tb testing.TB, answer func(w http.ResponseWriter, r *http.Request, format, at string)) *openai.Painter {
	tb.Helper()
	var at string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Model, Prompt string
			Format        string `json:"response_format"`
		}
		if r.Method == http.MethodPost {
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/v1/images/generations" || body.Model != "test-image" || body.Prompt != "a bowl" {
				tb.Errorf("%s %s: %+v, %v", r.Method, r.URL, body, err)
			}
		}
		if r.Header.Get("Authorization") != "Bearer "+key {
			tb.Errorf("%s without the key", r.URL)
		}
		answer(w, r, body.Format, at)
	}))
	tb.Cleanup(s.Close)
	at = s.URL
	p, err := openai.NewPainter(openai.Config{BaseURL: s.URL + "/v1", APIKey: key, ImageModel: "test-image", Transport: s.Client().Transport})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestPaint(t *testing.T) {
	t.Parallel()
	img, jpg := picture(t, "image/png"), picture(t, "image/jpeg")
	webp := []byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00")
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request, format, at string)
		want   []byte
		kind   string
	}{
		"PNG":  {func(w http.ResponseWriter, _ *http.Request, _, _ string) { painted(w, "b64_json", encoded(img)) }, img, "image/png"},
		"JPEG": {func(w http.ResponseWriter, _ *http.Request, _, _ string) { painted(w, "b64_json", encoded(jpg)) }, jpg, "image/jpeg"},
		"WebP": {func(w http.ResponseWriter, _ *http.Request, _, _ string) { painted(w, "b64_json", encoded(webp)) }, webp, "image/webp"},
		"DataURL": {func(w http.ResponseWriter, _ *http.Request, _, _ string) {
			painted(w, "url", "data:image/gif;base64,"+encoded(img))
		}, img, "image/png"},
		"SameOrigin": {func(w http.ResponseWriter, r *http.Request, _, at string) {
			if r.Method == http.MethodGet && r.URL.Path == "/generated/1.png" {
				_, _ = w.Write(img)
				return
			}
			painted(w, "url", at+"/generated/1.png")
		}, img, "image/png"},
		"NoResponseFormat": {func(w http.ResponseWriter, _ *http.Request, format, _ string) {
			if format != "" {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"error":{"message":"Unknown parameter","type":"invalid_request_error","param":"response_format","code":"unknown_parameter"}}`))
				return
			}
			painted(w, "b64_json", encoded(img))
		}, img, "image/png"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, kind, err := painter(t, test.answer).Paint(t.Context(), "a bowl")
			if err != nil || kind != test.kind || !bytes.Equal(got, test.want) {
				t.Errorf("%d bytes of %q, %v", len(got), kind, err)
			}
		})
	}
}

func TestPaintFails(t *testing.T) {
	t.Parallel()
	img := picture(t, "image/png")
	var reached atomic.Bool
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Store(true)
		_, _ = w.Write(img)
	}))
	t.Cleanup(func() {
		inside.Close()
		if reached.Load() {
			t.Error("another server was asked")
		}
	})
	for name, test := range map[string]struct {
		answer    func(w http.ResponseWriter, r *http.Request, format, at string)
		reason    string
		permanent bool
	}{
		"OtherOrigin": {func(w http.ResponseWriter, _ *http.Request, _, _ string) { painted(w, "url", inside.URL+"/x.png") }, stage.ReasonInvalidResult, false},
		"OtherScheme": {func(w http.ResponseWriter, _ *http.Request, _, _ string) { painted(w, "url", "file:///etc/passwd") }, stage.ReasonInvalidResult, false},
		"UserInURL": {func(w http.ResponseWriter, _ *http.Request, _, at string) {
			painted(w, "url", strings.Replace(at, "http://", "http://u@", 1)+"/x")
		}, stage.ReasonInvalidResult, false},
		"Redirect": {func(w http.ResponseWriter, r *http.Request, _, at string) {
			if r.Method == http.MethodGet {
				http.Redirect(w, r, inside.URL+"/x.png", http.StatusFound)
				return
			}
			painted(w, "url", at+"/x.png")
		}, openai.ReasonMisconfigured, false},
		"SVG": {func(w http.ResponseWriter, _ *http.Request, _, _ string) {
			painted(w, "b64_json", encoded([]byte("<svg xmlns='http://www.w3.org/2000/svg'/>")))
		}, stage.ReasonInvalidResult, false},
		"GIF": {func(w http.ResponseWriter, _ *http.Request, _, _ string) {
			painted(w, "b64_json", encoded([]byte("GIF89a.....")))
		}, stage.ReasonInvalidResult, false},
		"NoBase64":  {func(w http.ResponseWriter, _ *http.Request, _, _ string) { painted(w, "b64_json", "***") }, stage.ReasonInvalidResult, false},
		"PlainData": {func(w http.ResponseWriter, _ *http.Request, _, _ string) { painted(w, "url", "data:image/png,x") }, stage.ReasonInvalidResult, false},
		"Nothing":   {func(w http.ResponseWriter, _ *http.Request, _, _ string) { painted(w, "other", "x") }, stage.ReasonInvalidResult, false},
		"TooLarge": {func(w http.ResponseWriter, _ *http.Request, _, _ string) {
			painted(w, "b64_json", encoded(append(bytes.Clone(img), make([]byte, openai.MaxImage)...)))
		}, stage.ReasonInvalidResult, false},
		"Endless": {func(w http.ResponseWriter, r *http.Request, _, _ string) {
			w.Header().Set("Content-Type", "application/json")
			for chunk := bytes.Repeat([]byte(" "), 1<<20); r.Context().Err() == nil; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, stage.ReasonInvalidResult, false},
		"Refused": {func(w http.ResponseWriter, _ *http.Request, _, _ string) { refuse(w, 400, "moderation_blocked", key) }, openai.ReasonRefused, true},
		"Key":     {func(w http.ResponseWriter, _ *http.Request, _, _ string) { refuse(w, 401, "invalid_api_key", key) }, openai.ReasonUnauthorized, false},
		"Limited": {func(w http.ResponseWriter, _ *http.Request, _, _ string) { refuse(w, 429, "", "") }, openai.ReasonRateLimited, false},
		"Missing": {func(w http.ResponseWriter, r *http.Request, _, at string) {
			if r.Method == http.MethodGet {
				http.NotFound(w, r)
				return
			}
			painted(w, "url", at+"/gone.png")
		}, openai.ReasonMisconfigured, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _, err := painter(t, test.answer).Paint(t.Context(), "a bowl")
			if e := failed(t, err); got != nil || e.Reason != test.reason || e.Permanent != test.permanent || strings.Contains(fmt.Sprint(err), key) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

func TestPaintEndsWithItsContext(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	p := painter(t, func(_ http.ResponseWriter, r *http.Request, _, _ string) {
		close(began)
		<-r.Context().Done()
	})
	ended := errors.New("time is up")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-began; cancel(ended) }()
	if _, _, err := p.Paint(ctx, "a bowl"); !errors.Is(err, ended) {
		t.Errorf("%v", err)
	}
}

func TestNewPainter(t *testing.T) {
	t.Parallel()
	for _, cfg := range []openai.Config{{}, {ImageModel: "x", BaseURL: "no"}, {ImageModel: "x\n"}} {
		if _, err := openai.NewPainter(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

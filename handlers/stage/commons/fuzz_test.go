package commons_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/handlers/stage/commons"
)

func FuzzWikimedia(f *testing.F) {
	for _, file := range []string{"wikimedia", "wikimedia_none", "wikimedia_unfree", "wikimedia_addresses", "wikimedia_maxlag", "wikimedia_error"} {
		f.Add(compact(f, file))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		images, err := commons.DecodeWikimedia(body)
		harmless(t, images, err)
	})
}

func FuzzOpenverse(f *testing.F) {
	for _, file := range []string{"openverse", "openverse_none"} {
		f.Add(compact(f, file))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		images, err := commons.DecodeOpenverse(body)
		harmless(t, images, err)
	})
}

// compact is a recorded answer as the hosts send it, without white space.
func compact(f *testing.F, file string) []byte {
	f.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(recorded(f, file))); err != nil {
		f.Fatal(err)
	}
	return b.Bytes()
}

// The words of a picture come from anybody; so does its address.
func FuzzPicture(f *testing.F) {
	f.Add("https://upload.wikimedia.org/a.jpg", "File:A.jpg", "<b>Mina</b>", "CC BY 4.0")
	f.Add("https://127.1/a.jpg", "\xff\u202e", "<script>", "CC0")
	f.Fuzz(func(t *testing.T, address, title, artist, licence string) {
		meta := map[string]any{"Artist": map[string]any{"value": artist}, "LicenseShortName": map[string]any{"value": licence}, "ImageDescription": map[string]any{"value": title}}
		info := map[string]any{"url": address, "thumburl": address, "descriptionurl": address, "mime": "image/jpeg", "extmetadata": meta}
		body, err := json.Marshal(map[string]any{"query": map[string]any{"pages": []any{map[string]any{"title": title, "imageinfo": []any{info}}}}})
		if err != nil {
			t.Fatal(err)
		}
		images, err := commons.DecodeWikimedia(body)
		if err != nil {
			t.Error(err)
		}
		harmless(t, images, err)
	})
}

// harmless holds pictures against what readers are promised.
func harmless(t *testing.T, images []cuisine.Image, err error) {
	t.Helper()
	if err != nil && images != nil || len(images) > 10 {
		t.Fatalf("%d images, err = %v", len(images), err)
	}
	if images == nil {
		return
	}
	raw, err := json.Marshal(cuisine.SearchData{Images: images, SearchLinks: []cuisine.SearchLink{}, Placeholder: cuisine.Placeholder{Kind: "emoji"}})
	if err != nil {
		t.Fatal(err)
	}
	check(t, menu.Result{Stage: menu.SearchEngine, Status: menu.StatusOK, Provider: commons.Name, Basis: menu.BasisSearch, Data: raw})
	for _, image := range images {
		openable(t, image.URL)
		openable(t, image.PageURL)
		for _, address := range []*string{image.ThumbnailURL, image.LicenseURL} {
			if address != nil {
				openable(t, *address)
			}
		}
		if image.License == nil || image.Attribution == nil || image.Title == "" {
			t.Errorf("no licence, credit or title: %+v", image)
			continue
		}
		for _, text := range []*string{&image.Title, image.Creator, image.License, image.Attribution, &image.Source} {
			if text == nil {
				continue
			}
			if !utf8.ValidString(*text) || utf8.RuneCountInString(*text) > 800 || strings.ContainsFunc(*text, func(r rune) bool { return unicode.IsControl(r) || r == '\u202e' }) {
				t.Errorf("text %q", *text)
			}
		}
	}
}

// openable holds an address against the rules in words of its own.
func openable(t *testing.T, address string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatalf("%q: %v", address, err)
	}
	_, noIP := netip.ParseAddr(u.Hostname())
	if u.Scheme != "https" || u.User != nil || u.Port() != "" || noIP == nil || !strings.Contains(u.Hostname(), ".") || len(address) > 2048 || strings.ContainsAny(address, "\"<> \\") {
		t.Errorf("address %q", address)
	}
}

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// webAnswer is an answer of a server.
type webAnswer struct {
	status int
	media  string
	body   string
}

// ask gets a path with a key, or without one.
func (s *system) ask(t *testing.T, path, key string) webAnswer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.running.HTTPURL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return webAnswer{res.StatusCode, res.Header.Get("Content-Type"), string(raw)}
}

// readyAnswer is what /readyz says.
type readyAnswer struct {
	Roles      []string `json:"roles"`
	Durability string   `json:"durability"`
	Parts      []struct {
		Name    string             `json:"name"`
		State   string             `json:"state"`
		Notes   []string           `json:"notes"`
		Figures map[string]float64 `json:"figures"`
	} `json:"parts"`
	Errors []struct {
		Field   string `json:"field"`
		Problem string `json:"problem"`
	} `json:"errors"`
}

func (s *system) readyz(t *testing.T) (answer readyAnswer, status int) {
	t.Helper()
	got := s.ask(t, "/readyz", "")
	if err := json.Unmarshal([]byte(got.body), &answer); err != nil {
		t.Fatalf("%s: %v", got.body, err)
	}
	if want := map[int]string{http.StatusOK: "application/json", http.StatusServiceUnavailable: "application/problem+json"}[got.status]; got.media != want {
		t.Errorf("status %d as %s", got.status, got.media)
	}
	return answer, got.status
}

// isReady is for awaitReady.
func isReady(_ readyAnswer, status int) bool { return status == http.StatusOK }

// awaitReady asks until the answer is the one that is waited for.
func (s *system) awaitReady(t *testing.T, wanted func(answer readyAnswer, status int) bool) readyAnswer {
	t.Helper()
	late := time.After(patience)
	for {
		answer, status := s.readyz(t)
		if wanted(answer, status) {
			return answer
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-late:
			t.Fatalf("readyz says %d %+v", status, answer)
		}
	}
}

// Every process answers probes and serves metrics, whatever its roles are; only the role api serves more. The rules of
// auth are the same.
func TestEveryRoleIsObservable(t *testing.T) {
	t.Parallel()
	for _, role := range []string{roleStages, roleProjector} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			s := startSystemWith(t, []string{role}, nil, "--auth-mode", "keys")
			if got := s.ask(t, "/healthz", ""); got.status != http.StatusOK || got.body != `{"status":"ok"}` {
				t.Errorf("healthz: %+v", got)
			}
			ready := s.awaitReady(t, isReady)
			if !slices.Equal(ready.Roles, []string{role}) || !strings.Contains(ready.Durability, "survives a power cut") {
				t.Errorf("readyz: %+v", ready)
			}
			if got := s.ask(t, "/metrics", ""); got.status != http.StatusUnauthorized {
				t.Errorf("metrics without a key: %+v", got)
			}
			if got := s.ask(t, "/metrics", s.running.Key); got.status != http.StatusOK || !strings.Contains(got.body, "\ngo_goroutines ") {
				t.Errorf("metrics: %+v", got)
			}
			for _, path := range []string{"/", "/v1/sessions/s1", "/v1/failures", "/openapi.json", "/client.js"} {
				got := s.ask(t, path, s.running.Key)
				if got.status != http.StatusNotFound || got.media != "application/problem+json" || !strings.Contains(got.body, "not the role api") {
					t.Errorf("%s: %+v", path, got)
				}
			}
		})
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"kondate/domain/menu"
)

// startModel serves a model that knows one thing: every dish may hold peanuts. Its second request is answered with a
// failure of the server, the third with the demand to wait a second.
func startModel(t *testing.T) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch requests.Add(1) {
		case 2:
			http.Error(w, `{"error":{"message":"the server had an error"}}`, http.StatusInternalServerError)
			return
		case 3:
			w.Header().Set("Retry-After", "1")
			http.Error(w, `{"error":{"message":"slow down"}}`, http.StatusTooManyRequests)
			return
		}
		if r.Header.Get("Authorization") != "Bearer sk-secret" {
			t.Errorf("the request has the authorization %q", r.Header.Get("Authorization"))
		}
		var request struct {
			Messages []struct{ Content string } `json:"messages"`
		}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil || len(request.Messages) < 2 {
			t.Errorf("%d messages: %v", len(request.Messages), err)
			return
		}
		var question struct {
			Dishes []struct {
				ID string `json:"menu_id"`
			} `json:"dishes"`
		}
		_, document, _ := strings.Cut(request.Messages[1].Content, "\n")
		if err := json.Unmarshal([]byte(document), &question); err != nil {
			t.Error(err)
		}
		var results []string
		for _, d := range question.Dishes {
			results = append(results, fmt.Sprintf(`{"menu_id":%q,"status":"ok","confidence":0.7,"data":{"allergens":[{"code":"peanut","level":"may_contain","source_ingredient":"sauce","confidence":0.4}]}}`, d.ID))
		}
		content, err := json.Marshal(`{"results":[` + strings.Join(results, ",") + `]}`)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		if _, err := fmt.Fprintf(w, `{"id":"1","object":"chat.completion","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":%s}}]}`, content); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL + "/v1", requests
}

// A model answers one stage: several dishes go into a request, what it says joins what the knowledge base says, and a
// server that fails or asks for patience costs nobody a dish.
func TestModelAnswersAStage(t *testing.T) {
	t.Parallel()
	url, requests := startModel(t)
	s := startSystem(t, nil, "--stages-allergen-provider", "openai", "--openai-base-url", url, "--openai-model", "m", "--openai-api-key", "sk-secret",
		"--openai-cooldown", "500ms", "--processing-retry-delay", "200ms", "--processing-retry-attempts", "20")
	const dishes = 40
	answer, err := s.client().submit(t.Context(), body(t, dishes))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := follow(ctx, s.client(), "/v1/sessions/"+answer.SessionID+"/events"); err != nil {
		t.Fatal(err)
	}
	rows, err := s.client().rows(t.Context(), answer.SessionID, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		var data struct {
			Allergens []struct{ Code string } `json:"allergens"`
		}
		column := r.Columns[menu.Allergen]
		if column == nil {
			t.Fatalf("%s has no allergens", r.Name)
		}
		if err := json.Unmarshal(*column, &data); err != nil {
			t.Fatalf("%s: %v", r.Name, err)
		}
		codes := fmt.Sprint(data.Allergens)
		if !strings.Contains(codes, "peanut") || strings.Contains(string(*column), "sk-secret") {
			t.Errorf("%s has the allergens %s", r.Name, codes)
		}
		if state := r.Stages[menu.Allergen]; state.Provider != "openai" {
			t.Errorf("%s was answered by %q", r.Name, state.Provider)
		}
	}
	if len(rows) != dishes || requests.Load() > dishes {
		t.Errorf("%d rows of %d dishes after %d requests", len(rows), dishes, requests.Load())
	}
}

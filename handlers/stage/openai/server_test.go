package openai_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/handlers/stage"
	"kondate/handlers/stage/openai"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key   = "sk-test-0123456789"
	model = "test-model"
	never = time.Hour // a linger that only a full batch ends
)

// call is one request as a server of the protocol reads it.
type call struct {
	n        int // 1 for the first one
	auth     string
	raw      string
	Model    string `json:"model"`
	Messages []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	} `json:"messages"`
	ResponseFormat struct {
		Type       string `json:"type"`
		JSONSchema struct {
			Name   string          `json:"name"`
			Strict bool            `json:"strict"`
			Schema json.RawMessage `json:"schema"`
		} `json:"json_schema"`
	} `json:"response_format"`

	source, target string
	dishes         []asked
}

// asked is a dish of the user message.
type asked struct {
	ID       string         `json:"menu_id"`
	Name     string         `json:"name"`
	Category string         `json:"category"`
	Known    map[string]any `json:"known"`
}

// server speaks the protocol of chat completions; answer says what the model does.
type server struct {
	*httptest.Server
	answer func(w http.ResponseWriter, r *http.Request, c call)

	mu    sync.Mutex // guards calls
	calls []call
}

func newServer(tb testing.TB, answer func(w http.ResponseWriter, r *http.Request, c call)) *server {
	tb.Helper()
	s := &server{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := s.read(r)
		if err != nil {
			tb.Errorf("%s %s: %v", r.Method, r.URL, err)
			refuse(w, http.StatusBadRequest, "invalid_request_error", err.Error())
			return
		}
		s.answer(w, r, c)
	}))
	tb.Cleanup(s.Close)
	return s
}

// read refuses what the protocol does not allow.
func (s *server) read(r *http.Request) (call, error) {
	var c call
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return c, err
	}
	if r.Method != http.MethodPost || r.URL.Path != "/v1/chat/completions" || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return c, errors.New("not a request for a completion")
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return c, err
	}
	if c.Model != model || len(c.Messages) < 2 || c.Messages[0].Role != "system" || c.Messages[1].Role != "user" {
		return c, fmt.Errorf("model or messages: %s", body)
	}
	if f := c.ResponseFormat; f.Type != "json_schema" || !f.JSONSchema.Strict || f.JSONSchema.Name == "" || !json.Valid(f.JSONSchema.Schema) {
		return c, fmt.Errorf("response_format: %s", body)
	}
	_, document, _ := strings.Cut(c.Messages[1].Content, "\n")
	var q struct {
		Source string  `json:"source_language"`
		Target string  `json:"target_language"`
		Dishes []asked `json:"dishes"`
	}
	if err := json.Unmarshal([]byte(document), &q); err != nil {
		return c, fmt.Errorf("user message: %w", err)
	}
	c.auth, c.raw, c.source, c.target, c.dishes = r.Header.Get("Authorization"), string(body), q.Source, q.Target, q.Dishes
	s.mu.Lock()
	defer s.mu.Unlock()
	c.n = len(s.calls) + 1
	s.calls = append(s.calls, c)
	return c, nil
}

func (s *server) seen() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]call{}, s.calls...)
}

// say answers with a completion.
func say(w http.ResponseWriter, content string) { choose(w, "stop", content, "") }

func choose(w http.ResponseWriter, finish, content, refusal string) {
	message := map[string]any{"role": "assistant", "content": content, "refusal": nil}
	if refusal != "" {
		message["content"], message["refusal"] = nil, refusal
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"id": "chatcmpl-1", "object": "chat.completion", "created": 1790000000, "model": model,
		"choices": []any{map[string]any{"index": 0, "message": message, "logprobs": nil, "finish_reason": finish}},
		"usage":   map[string]any{"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
	})
}

// refuse answers with an error as OpenAI sends it.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": message, "type": "x", "param": nil, "code": code}})
}

// entry is a dish's entry in a reply.
func entry(id, status, data string) string {
	return fmt.Sprintf(`{"menu_id":%q,"status":%q,"confidence":0.97,"data":%s}`, id, status, data)
}

func results(list ...string) string { return `{"results":[` + strings.Join(list, ",") + `]}` }

// each answers every dish of a call with the same data.
func each(c call, data string) string {
	var list []string
	for _, d := range c.dishes {
		list = append(list, entry(d.ID, "ok", data))
	}
	return results(list...)
}

const described = `{"description":"Simmered squid with taro.","serving":"hot","raw":"cooked","how_to_eat":null,"region":null}`

func knowledge(tb testing.TB) *cuisine.Knowledge {
	tb.Helper()
	k, err := cuisine.Load()
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// provider asks a server, alone for each dish unless the settings say otherwise.
func provider(tb testing.TB, s *server, of menu.Stage, settings ...func(*openai.Config)) *openai.Provider {
	tb.Helper()
	cfg := openai.Config{BaseURL: s.URL + "/v1", APIKey: key, Model: model, MaxBatch: 1, Linger: never, Transport: s.Client().Transport}
	for _, set := range settings {
		set(&cfg)
	}
	p, err := openai.New(cfg, knowledge(tb), of)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func batches(n int) func(*openai.Config) {
	return func(c *openai.Config) { c.MaxBatch = n }
}

func request(of menu.Stage, name, category string) stage.Request {
	return stage.Request{
		Key: menu.Key{Tenant: "acme", Session: "s1"}, Stage: of, SourceLanguage: "ja", TargetLanguage: "en",
		Item: menu.Item{ID: menu.DishID("dish-" + name), Name: name, Category: category, Price: "850円"}, Attempt: 1,
	}
}

// together asks for dishes at once and returns what came of each.
func together(tb testing.TB, p *openai.Provider, requests ...stage.Request) ([]menu.Result, []error) {
	tb.Helper()
	out, errs := make([]menu.Result, len(requests)), make([]error, len(requests))
	var all sync.WaitGroup
	for i, r := range requests {
		all.Go(func() { out[i], errs[i] = p.Answer(tb.Context(), r) })
	}
	all.Wait()
	return out, errs
}

// failed is the failure in an error.
func failed(tb testing.TB, err error) *stage.Error {
	tb.Helper()
	e, is := errors.AsType[*stage.Error](err)
	if !is {
		tb.Fatalf("error %v, want a *stage.Error", err)
	}
	return e
}

func data[T any](tb testing.TB, r menu.Result) T {
	tb.Helper()
	var v T
	if err := json.Unmarshal(r.Data, &v); err != nil {
		tb.Fatalf("data %s: %v", r.Data, err)
	}
	return v
}

package commons_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/handlers/stage"
	"kondate/handlers/stage/commons"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const contact = "menus@example.org"

// karaage is a dish that the knowledge base has, under a name that is used in English too.
const karaage = "鶏の唐揚げ"

// server is one of the two hosts, on this machine.
type server struct {
	*httptest.Server

	mu       sync.Mutex // guards requests
	requests []*http.Request
}

func serve(t *testing.T, h http.Handler) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.mu.Unlock()
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// asked returns what was searched for, the parameter of that name of every request.
func (s *server) asked(parameter string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, r := range s.requests {
		list = append(list, r.URL.Query().Get(parameter))
	}
	return list
}

// answers sends a recorded answer with status 200.
func answers(t *testing.T, file string) http.HandlerFunc {
	t.Helper()
	return status(http.StatusOK, recorded(t, file), "")
}

func recorded(tb testing.TB, file string) string {
	tb.Helper()
	raw, err := os.ReadFile("testdata/" + file + ".json")
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}

// status sends a status, a body and, if it is not empty, the header Retry-After.
func status(code int, body, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body)) // the client may be gone
	}
}

// stall sends a byte now and then and never ends by itself.
func stall(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := w.Write([]byte(" "))
		if flusher, ok := w.(http.Flusher); ok && err == nil {
			flusher.Flush()
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

func knowledge(tb testing.TB) *cuisine.Knowledge {
	tb.Helper()
	k, err := cuisine.Load()
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func provider(t *testing.T, cfg commons.Config) *commons.Provider {
	t.Helper()
	if cfg.Contact == "" {
		cfg.Contact = contact
	}
	if cfg.Interval == 0 {
		cfg.Interval = time.Nanosecond
	}
	p, err := commons.New(cfg, knowledge(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// between makes the provider of two hosts that answer in a given way.
func between(t *testing.T, wiki, open http.Handler) (p *commons.Provider, w, o *server) {
	t.Helper()
	w, o = serve(t, wiki), serve(t, open)
	return provider(t, commons.Config{CommonsURL: w.URL + "/w/api.php", OpenverseURL: o.URL + "/v1/images/"}), w, o
}

func request(name string) stage.Request {
	return stage.Request{
		Key: menu.Key{Tenant: menu.DefaultTenant, Session: "s1"}, Stage: menu.SearchEngine, SourceLanguage: "ja", TargetLanguage: "en",
		Item: menu.Item{ID: "d1", Name: name}, Attempt: 1,
	}
}

// ask returns a result that fits its schema, and its data.
func ask(ctx context.Context, t *testing.T, p *commons.Provider, r stage.Request) (menu.Result, cuisine.SearchData) {
	t.Helper()
	result, err := p.Answer(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	return result, check(t, result)
}

func check(tb testing.TB, result menu.Result) cuisine.SearchData {
	tb.Helper()
	encoded, err := json.Marshal(result)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := stage.ValidateResult(menu.SearchEngine, encoded); err != nil {
		tb.Errorf("%v\n%s", err, encoded)
	}
	var data cuisine.SearchData
	if err := json.Unmarshal(result.Data, &data); err != nil {
		tb.Fatal(err)
	}
	return data
}

func addresses(d cuisine.SearchData) []string {
	var list []string
	for _, image := range d.Images {
		list = append(list, image.URL)
	}
	return list
}

func has(list []string, text string) bool { return slices.Contains(list, text) }

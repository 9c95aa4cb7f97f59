package asyncapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/asyncapi"
	"kondate/handlers/asyncapi/asyncapitest"
	"kondate/streams"
)

func config() asyncapi.Config {
	said := asyncapi.Message{Name: "said", Summary: "Something.", Schema: &jsonschema.Schema{Type: "object", Required: []string{"x"}}}
	marked := said
	marked.Headers = []eventstore.Header{{Name: "Mark", Pattern: "^1$"}}
	return asyncapi.Config{
		ChannelPrefix: "of.others", Live: []asyncapi.Message{said},
		Stream:  asyncapi.Stream{Path: "/sessions/{id}", Messages: []asyncapi.Message{{Name: "end", Schema: said.Schema}}},
		Work:    asyncapi.Work{Request: said, Reply: marked},
		Results: map[menu.Stage][]byte{menu.Allergen: []byte(`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object"}`)},
	}
}

func document(t *testing.T, cfg asyncapi.Config) []byte {
	t.Helper()
	raw, err := asyncapi.Document(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Every released version of every event is told by its golden file, and told from every other one.
func TestDocumentKnowsTheRegistry(t *testing.T) {
	t.Parallel()
	raw := document(t, config())
	if again := document(t, config()); !bytes.Equal(raw, again) {
		t.Error("the same configuration gives another document")
	}
	c := asyncapitest.New(t, raw)
	for _, def := range eventstore.Registry() {
		for version := 1; version <= def.Version; version++ {
			e, err := eventstore.ExampleOf(def.Type, version)
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("%s.v%d", def.Type, version)
			if got, err := c.Message(e.Subject, e.Header, e.Data); err != nil || got != want {
				t.Errorf("%s is taken for %q: %v", want, got, err)
			}
			for name, broken := range map[string]func(){
				"another version":  func() { e.Header[eventstore.HeaderSchema] = []string{"99"} },
				"without its id":   func() { delete(e.Header, eventstore.HeaderID) },
				"a body of others": func() { e.Data = json.RawMessage(`{"nothing":1}`) },
				"another subject":  func() { e.Subject = strings.Replace(e.Subject, ".s1.", ".s1.x.", 1) },
			} {
				e, err = eventstore.ExampleOf(def.Type, version)
				if err != nil {
					t.Fatal(err)
				}
				broken()
				if got, err := c.Message(e.Subject, e.Header, e.Data); err == nil {
					t.Errorf("%s, %s, is taken for %s", want, name, got)
				}
			}
		}
	}
}

func TestDocumentOfOtherMessages(t *testing.T) {
	t.Parallel()
	c := asyncapitest.New(t, document(t, config()))
	key := menu.Key{Tenant: "acme", Session: "s1"}
	live, err := streams.ChannelSubject("of.others", key, "said")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ subject, body, want string }{
		{live, `{"y":1}`, "live.message"},
		{streams.WorkSubject("acme", menu.Task6), `{"x":1}`, "work.request"},
		{streams.WorkSubject("acme", menu.Task6), `{}`, ""},
		{"menu.work.acme.soup", `{"x":1}`, ""},
	} {
		if got, err := c.Message(test.subject, nil, []byte(test.body)); got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s %s is taken for %q: %v", test.subject, test.body, got, err)
		}
	}
	if c.Schema("live.said", []byte(`{"x":1}`)) != nil || c.Schema("live.said", []byte(`{"y":1}`)) == nil {
		t.Error("what is said live is not told apart")
	}
	if c.Schema("stream.end", []byte(`{"x":1}`)) != nil || c.Schema("stream.end", []byte(`{}`)) == nil || c.Schema("stream.soup", []byte(`{}`)) == nil {
		t.Error("the frames of a stream are not told apart")
	}
}

func TestDocumentNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for says, change := range map[string]func(*asyncapi.Config){
		"allergen.data": func(c *asyncapi.Config) { c.Results[menu.Allergen] = []byte("{") },
		"live.*":        func(c *asyncapi.Config) { c.ChannelPrefix = "live.*" },
		"of chan int":   func(c *asyncapi.Config) { c.Live = []asyncapi.Message{asyncapi.MessageOf[chan int]("x", "")} },
	} {
		cfg := config()
		change(&cfg)
		if _, err := asyncapi.Document(cfg); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want an error with %q: %v", says, err)
		}
	}
}

package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"kondate/eventstore"
	"kondate/handlers/httpapi"
	"kondate/handlers/openapi"
	"kondate/handlers/openapi/openapitest"
)

// The document is valid, has every route of the API and none besides, and stays the same while the program does.
func TestDescription(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	got := h.get(t, "/openapi.json")
	if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v", got.status, got.header)
	}
	openapitest.New(t, got.body).Routes(t, h.app)
	again := newHarness(t).get(t, "/openapi.json", "If-None-Match: "+got.header.Get("ETag"))
	if again.status != http.StatusNotModified || len(again.body) > 0 {
		t.Errorf("another instance: %d, %d bytes", again.status, len(again.body))
	}
}

// Routes of other packages stand in the document too; one that is described wrongly is noticed at the start.
func TestDescriptionOfOtherRoutes(t *testing.T) {
	t.Parallel()
	with := func(operations ...openapi.Operation) (httpapi.Config, error) {
		var cfg httpapi.Config
		newHarness(t, func(c *httpapi.Config) { cfg = *c })
		cfg.Elsewhere = operations
		_, err := httpapi.New(cfg)
		return cfg, err
	}
	clock := openapi.Operation{Method: http.MethodGet, Path: "/clock/{zone}", ID: "clock", Parameters: []openapi.Parameter{openapi.Path[string]("zone", "Where.")}}
	cfg, err := with(clock)
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, func(c *httpapi.Config) { c.Elsewhere = cfg.Elsewhere })
	if body := string(h.get(t, "/openapi.json").body); !strings.Contains(body, `"/clock/{zone}"`) {
		t.Errorf("the route is missing: %.300s", body)
	}
	unnamed, twice, unsaid, invented := clock, clock, clock, clock
	unnamed.ID, unsaid.Parameters = "", nil
	twice.Path, invented.Path = "/healthz", "/clock"
	twice.ID, twice.Parameters = "twice", nil
	for says, operation := range map[string]openapi.Operation{"no id": unnamed, "described twice": twice, "does not describe {zone}": unsaid, "has no {zone}": invented} {
		if _, err := with(operation); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", operation, err, says)
		}
	}
}

// schema is as much of a JSON Schema as the test below looks at.
type schema struct {
	Type       any               `json:"type"`
	Enum       []string          `json:"enum"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	Required   []string          `json:"required"`
}

// The bodies are decoded by hand: what the description says of them has to be what the decoders know.
func TestDescriptionOfBodies(t *testing.T) {
	t.Parallel()
	h := newProjected(t)
	var document struct {
		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct {
					Schema schema `json:"schema"`
				} `json:"content"`
			} `json:"requestBody"`
		} `json:"paths"`
	}
	h.get(t, "/openapi.json").into(t, &document)
	body := func(path string) schema {
		return document.Paths[path]["post"].RequestBody.Content["application/json"].Schema
	}
	refused := func(t *testing.T, path, text string) string {
		t.Helper()
		res := h.do(t, newRequest(http.MethodPost, path, []byte(text)))
		if res.status == http.StatusAccepted {
			return ""
		}
		return fmt.Sprint(res.problem(t, http.StatusBadRequest).Errors)
	}

	menu := body("/v1/sessions")
	if fmt.Sprint(menu.Required) != "[items]" || fmt.Sprint(menu.Items) != "<nil>" || len(menu.Properties) != 4 {
		t.Errorf("the body of a submission: %+v", menu)
	}
	texts := map[string]string{"items": `[{"name":"冷奴"}]`, "source_language": `"ja"`, "target_language": `"en"`}
	for name := range menu.Properties {
		value := texts[name]
		if value == "" {
			value = `"x"`
		}
		text := fmt.Sprintf(`{%q:%s,"items":[{"name":"冷奴"}]}`, name, value)
		if name == "items" {
			text = `{"items":` + value + `}`
		}
		if why := refused(t, "/v1/sessions", text); why != "" {
			t.Errorf("%s: %s", text, why)
		}
	}
	item := menu.Properties["items"].Items
	if item == nil || fmt.Sprint(item.Required) != "[name]" || len(item.Properties) != 4 {
		t.Fatalf("an item of a submission: %+v", item)
	}
	for name, property := range item.Properties {
		for _, kind := range kinds(property.Type) {
			value := map[string]string{"string": `"x"`, "number": "850", "null": "null"}[kind]
			text := fmt.Sprintf(`{"items":[{"name":"冷奴",%q:%s}]}`, name, value)
			if why := refused(t, "/v1/sessions", text); why != "" {
				t.Errorf("%s: %s", text, why)
			}
		}
	}

	query := body("/v1/failures/retry")
	if len(query.Properties) != 6 || query.Required != nil {
		t.Errorf("the body of a retry: %+v", query)
	}
	for name, property := range query.Properties {
		value := `"x"`
		switch {
		case property.Type == "boolean":
			value = "true"
		case name == "stage":
			value = `"allergen"`
		case name == "after":
			value = `""`
		}
		if why := refused(t, "/v1/failures/retry", fmt.Sprintf(`{%q:%s,"reason":"none"}`, name, value)); why != "" {
			t.Errorf("%s: %s", name, why)
		}
	}
}

func kinds(raw any) (kinds []string) {
	switch raw := raw.(type) {
	case string:
		return []string{raw}
	case []any:
		for _, kind := range raw {
			kinds = append(kinds, kind.(string))
		}
	}
	return slices.Sorted(slices.Values(kinds))
}

// What is a set in the domain is a set in the document.
func TestDescriptionOfStages(t *testing.T) {
	t.Parallel()
	var document struct {
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	newHarness(t).get(t, "/openapi.json").into(t, &document)
	var failure schema
	if err := json.Unmarshal(document.Components.Schemas["Failure"], &failure); err != nil {
		t.Fatal(err)
	}
	if got := failure.Properties["stage"].Enum; len(got) != 8 || !slices.Contains(got, "search_engine") {
		t.Errorf("stages are %v", got)
	}
}

// The description of the messages is what the server was given; the schemas to which events refer are paths of the API.
func TestDescriptionOfMessages(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	got := h.get(t, "/asyncapi.json")
	if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/json" || string(got.body) != `{"asyncapi":"3.0.0"}` {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	if again := h.get(t, "/asyncapi.json", "If-None-Match: "+got.header.Get("ETag")); again.status != http.StatusNotModified {
		t.Errorf("again: %d", again.status)
	}
	for _, def := range eventstore.Registry() {
		for version := 1; version <= def.Version; version++ {
			want, err := eventstore.Schema(def.Type, version)
			if err != nil {
				t.Fatal(err)
			}
			path := eventstore.DataSchema(def.Type, version)
			if got := h.get(t, path); got.status != http.StatusOK || string(got.body) != string(want) || got.header.Get("ETag") == "" {
				t.Errorf("%s: %d %.100s", path, got.status, got.body)
			}
		}
	}
	for path, want := range map[string]int{
		"/schemas/allergen.completed/v99.json": http.StatusNotFound, "/schemas/allergen.completed/v0.json": http.StatusNotFound,
		"/schemas/stage.completed/v1.json": http.StatusNotFound, "/schemas/soup/v1.json": http.StatusNotFound, "/schemas/..%2fx/v1.json": http.StatusNotFound,
		"/schemas/allergen.completed/v02.json": http.StatusBadRequest, "/schemas/allergen.completed/v2": http.StatusBadRequest,
		"/schemas/allergen.completed/2.json": http.StatusBadRequest, "/schemas/allergen.completed/..%2fx": http.StatusBadRequest,
	} {
		if got := h.get(t, path); got.status != want {
			t.Errorf("%s: %d instead of %d: %s", path, got.status, want, got.body)
		}
	}
}

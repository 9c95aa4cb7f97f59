package openapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// Config is what a document says besides its operations.
type Config struct {
	Title       string
	Version     string // of the API
	Description string // Markdown
	Tags        []Tag  // in the order of the document

	Problem    reflect.Type // of every problem document; has to be one of Components
	Components []Component  // Go types that have a name in the document
	// Schemas are those of Go types whose JSON the types do not tell: texts with a pattern, sets of values.
	Schemas map[reflect.Type]*jsonschema.Schema
}

// Tag is a group of operations.
type Tag struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// Component is a Go type with a name in the document. Refine adds to its schema what the type does not tell.
type Component struct {
	Name        string
	Type        reflect.Type
	Description string
	Refine      func(properties map[string]*jsonschema.Schema)
}

// Ref refers to a component by name.
func Ref(name string) *jsonschema.Schema {
	return &jsonschema.Schema{Ref: "#/components/schemas/" + name}
}

type object = map[string]any

const mediaProblem = "application/problem+json"

// Document returns the OpenAPI document of the operations, as JSON. The same operations give the same bytes.
func Document(cfg Config, operations []Operation) ([]byte, error) {
	w := &writer{cfg: cfg, types: maps.Clone(cfg.Schemas), ids: map[string]bool{}}
	if w.types == nil {
		w.types = map[reflect.Type]*jsonschema.Schema{}
	}
	for _, c := range cfg.Components {
		w.types[c.Type] = Ref(c.Name)
	}
	schemas := object{}
	for _, c := range cfg.Components {
		schemas[c.Name] = w.component(c)
	}
	paths := map[string]object{}
	for _, o := range operations {
		item := paths[o.Path]
		if item == nil {
			item = object{}
			paths[o.Path] = item
		}
		method := strings.ToLower(o.Method)
		if item[method] != nil {
			w.fail(fmt.Errorf("%s %s is described twice", o.Method, o.Path))
		}
		item[method] = w.operation(o)
	}
	if len(w.errs) > 0 {
		return nil, fmt.Errorf("describe the API: %w", errors.Join(w.errs...))
	}
	document, err := json.Marshal(object{
		"openapi": "3.1.0",
		"info":    object{"title": cfg.Title, "version": cfg.Version, "description": cfg.Description},
		"tags":    cfg.Tags,
		"paths":   paths,
		"components": object{
			"schemas": schemas,
			"securitySchemes": object{
				"key":   object{"type": "http", "scheme": "bearer", "description": "An API key. Where the server asks for no credential (auth.mode none), it is left out."},
				"token": object{"type": "apiKey", "in": "query", "name": "token", "description": "The short-lived token of one session's stream; it stands in stream_url already."},
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	return document, nil
}

type writer struct {
	cfg   Config
	types map[reflect.Type]*jsonschema.Schema
	ids   map[string]bool
	errs  []error
}

func (w *writer) fail(err error) { w.errs = append(w.errs, err) }

func (w *writer) component(c Component) *jsonschema.Schema {
	ref := w.types[c.Type]
	delete(w.types, c.Type)
	s := w.schema(c.Type)
	w.types[c.Type] = ref
	s.Description = c.Description
	if c.Refine != nil {
		c.Refine(s.Properties)
	}
	return s
}

func (w *writer) schema(t reflect.Type) *jsonschema.Schema {
	s, err := Schema(t, w.types)
	if err != nil {
		w.fail(err)
		return &jsonschema.Schema{}
	}
	return s
}

// Schema returns the JSON Schema of what is sent of a Go type; types are those whose JSON the Go types do not tell.
func Schema(t reflect.Type, types map[reflect.Type]*jsonschema.Schema) (*jsonschema.Schema, error) {
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: types})
	if err != nil {
		return nil, fmt.Errorf("the JSON Schema of %s: %w", t, err)
	}
	return settled(s), nil
}

// settled takes out what a Go type allows and an API never sends: null for a list. Objects may get more properties one
// day; a body of a request, which may not have any that is unknown, is closed again by [writer.body].
func settled(s *jsonschema.Schema) *jsonschema.Schema {
	if slices.Equal(s.Types, []string{"null", "array"}) {
		s.Types, s.Type = nil, "array"
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Not != nil {
		s.AdditionalProperties = nil
	}
	for child := range children(s) {
		settled(child)
	}
	return s
}

// closed refuses properties that are unknown, as the decoders of requests do.
func closed(s *jsonschema.Schema) *jsonschema.Schema {
	if s.Properties != nil {
		s.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
	}
	for child := range children(s) {
		closed(child)
	}
	return s
}

func children(s *jsonschema.Schema) func(yield func(*jsonschema.Schema) bool) {
	return func(yield func(*jsonschema.Schema) bool) {
		for _, property := range s.Properties {
			if !yield(property) {
				return
			}
		}
		for _, one := range []*jsonschema.Schema{s.Items, s.AdditionalProperties} {
			if one != nil && !yield(one) {
				return
			}
		}
	}
}

func (w *writer) operation(o Operation) object {
	if o.ID == "" || w.ids[o.ID] {
		w.fail(fmt.Errorf("%s %s has no id of its own: %q", o.Method, o.Path, o.ID))
	}
	w.ids[o.ID] = true
	described := object{"operationId": o.ID, "tags": []string{o.Tag}, "summary": o.Summary, "responses": w.responses(o)}
	if o.Description != "" {
		described["description"] = o.Description
	}
	switch o.Access {
	case ByAnybody:
		described["security"] = []object{}
	case ByKey:
		described["security"] = []object{{"key": []string{}}}
	case ByKeyOrToken:
		described["security"] = []object{{"key": []string{}}, {"token": []string{}}}
	}
	variable := map[string]bool{}
	for _, match := range variables.FindAllStringSubmatch(o.Path, -1) {
		variable[match[1]] = true
	}
	var parameters []object
	for _, p := range o.Parameters {
		if p.In == "path" && !variable[p.Name] {
			w.fail(fmt.Errorf("%s %s has no {%s}", o.Method, o.Path, p.Name))
		}
		if p.In == "path" {
			delete(variable, p.Name)
		}
		parameters = append(parameters, object{"name": p.Name, "in": p.In, "required": p.In == "path", "description": p.Description, "schema": w.schema(p.Type)})
	}
	for name := range variable {
		w.fail(fmt.Errorf("%s %s does not describe {%s}", o.Method, o.Path, name))
	}
	if parameters != nil {
		described["parameters"] = parameters
	}
	if o.Body != nil {
		described["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": closed(w.schema(o.Body))}}}
	}
	return described
}

func (w *writer) responses(o Operation) object {
	responses := object{}
	for _, a := range o.Answers {
		response := object{"description": a.Description, "headers": w.headers(a.Headers)}
		if a.Media != "" {
			schema := &jsonschema.Schema{Type: "string"}
			if a.Type != nil {
				schema = w.schema(a.Type)
			}
			response["content"] = object{a.Media: object{"schema": schema}}
		}
		responses[strconv.Itoa(a.Status)] = response
	}
	problems := maps.Clone(o.Problems)
	if problems == nil {
		problems = Problems{}
	}
	for _, status := range o.always() {
		if _, said := problems[status]; !said {
			problems[status] = ""
		}
	}
	for status, when := range problems {
		if when == "" {
			when = meaning(status)
		}
		var headers []Parameter
		if passing(status) {
			headers = append(headers, Header[int](http.CanonicalHeaderKey("Retry-After"), "Seconds to wait before the next attempt."))
		}
		responses[strconv.Itoa(status)] = object{
			"description": when, "headers": w.headers(headers),
			"content": object{mediaProblem: object{"schema": w.schema(w.cfg.Problem)}},
		}
	}
	return responses
}

// headers describes the headers of an answer; every answer has its request's id.
func (w *writer) headers(of []Parameter) object {
	headers := object{"X-Request-Id": object{"required": true, "description": "The request's id: as sent, or made.", "schema": &jsonschema.Schema{Type: "string"}}}
	for _, h := range of {
		headers[h.Name] = object{"required": true, "description": h.Description, "schema": w.schema(h.Type)}
	}
	return headers
}

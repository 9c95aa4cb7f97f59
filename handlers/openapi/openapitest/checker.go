// Package openapitest holds an API against its own description: the document itself, the routes of the app, and the
// answers that really come.
package openapitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/content"
)

// Checker knows one document. It is safe for concurrent use.
type Checker struct {
	operations []string // "GET /v1/sessions/:id", as the router has them

	mu        sync.Mutex // guards validator
	validator validator.Validator
}

// New reads a document and fails the test if it is no valid OpenAPI. Objects that the document leaves open are closed:
// a property that is sent and not described is a defect here.
func New(tb testing.TB, document []byte) *Checker {
	tb.Helper()
	c, err := newChecker(document)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func newChecker(document []byte) (*Checker, error) {
	var tree map[string]any
	if err := json.Unmarshal(document, &tree); err != nil {
		return nil, fmt.Errorf("the document is no JSON: %w", err)
	}
	c := &Checker{}
	paths, _ := tree["paths"].(map[string]any)
	for path, item := range paths {
		methods, _ := item.(map[string]any)
		for method := range methods {
			c.operations = append(c.operations, strings.ToUpper(method)+" "+strings.NewReplacer("{", ":", "}", "").Replace(path))
		}
	}
	closeObjects(tree)
	closed, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("write the document: %w", err)
	}
	parsed, err := libopenapi.NewDocument(closed)
	if err != nil {
		return nil, fmt.Errorf("the document is no OpenAPI: %w", err)
	}
	made, errs := validator.NewValidator(parsed, config.WithFormatAssertions(), config.WithBodyDecoder(mediaLines, content.DecoderFunc(lines)))
	if len(errs) > 0 {
		return nil, fmt.Errorf("the document cannot be read: %w", errors.Join(errs...))
	}
	if valid, problems := made.ValidateDocument(); !valid {
		var all strings.Builder
		for _, p := range problems {
			fmt.Fprintf(&all, "\n%s: %s %v", p.Message, p.Reason, p.SchemaValidationErrors)
		}
		return nil, fmt.Errorf("the document is no valid OpenAPI:%s", all.String())
	}
	c.validator = made
	return c, nil
}

const mediaLines = "application/x-ndjson"

// lines decodes a body with a JSON object on each line, as a list.
func lines(in *content.DecodeInput) (any, error) {
	list := []any{}
	decoder := json.NewDecoder(in.Body)
	decoder.UseNumber()
	for {
		var one any
		switch err := decoder.Decode(&one); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, err
		}
		list = append(list, one)
	}
}

// closeObjects forbids properties that are not described, and takes lines for a list: no schema says "each line".
func closeObjects(node any) {
	switch node := node.(type) {
	case map[string]any:
		if _, described := node["properties"].(map[string]any); described && node["additionalProperties"] == nil {
			node["additionalProperties"] = false
		}
		if media, is := node[mediaLines].(map[string]any); is {
			media["schema"] = map[string]any{"type": "array", "items": media["schema"]}
		}
		for _, child := range node {
			closeObjects(child)
		}
	case []any:
		for _, child := range node {
			closeObjects(child)
		}
	}
}

// Routes checks that the app has the routes of the document and no others. What begins with one of the prefixes is left
// out of it.
func (c *Checker) Routes(tb testing.TB, app *fiber.App, except ...string) {
	tb.Helper()
	registered := map[string]bool{}
	for _, route := range app.GetRoutes(true) { // without the steps before the routes
		if route.Method == http.MethodHead || slices.ContainsFunc(except, func(prefix string) bool { return strings.HasPrefix(route.Path, prefix) }) {
			continue
		}
		name := route.Method + " " + route.Path
		registered[name] = true
		if !slices.Contains(c.operations, name) {
			tb.Errorf("the route %s is not described", name)
		}
	}
	for _, name := range c.operations {
		if !registered[name] {
			tb.Errorf("%s is described, and no route", name)
		}
	}
}

// Answer checks that an answer is one that the document promises.
func (c *Checker) Answer(tb testing.TB, req *http.Request, status int, header http.Header, body []byte) {
	tb.Helper()
	asked := req.Clone(req.Context())
	if asked.Method == http.MethodHead {
		asked.Method, body = http.MethodGet, nil
	}
	response := &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body))}
	c.mu.Lock()
	defer c.mu.Unlock()
	if valid, problems := c.validator.ValidateHttpResponse(asked, response); !valid {
		for _, p := range problems {
			tb.Errorf("the answer %d to %s %s is not what the description says: %s %s %v\n%.500s", status, req.Method, req.URL, p.Message, p.Reason, p.SchemaValidationErrors, body)
		}
	}
}

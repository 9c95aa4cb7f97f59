// Package asyncapitest holds a system against its AsyncAPI document: the document itself, and the messages that really come.
//
// asyncapi-3.0.0 is the schema of AsyncAPI 3.0.0 as its makers publish it (schemas/3.0.0-without-$id.json of the npm
// package @asyncapi/specs 6.11.1), with their licence and notice.
package asyncapitest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed asyncapi-3.0.0/schema.json
var official []byte

const file = "asyncapi.json"

// Checker knows one document. It is safe for concurrent use.
type Checker struct {
	channels map[string]channel
	headers  map[string]*jsonschema.Schema // by message
	payloads map[string]*jsonschema.Schema
	schemas  map[string]*jsonschema.Schema // of the components
}

type channel struct {
	address  []string // tokens
	messages []string // names of components
}

type document struct {
	Channels map[string]struct {
		Address    string               `json:"address"`
		Messages   map[string]reference `json:"messages"`
		Parameters map[string]reference `json:"parameters"`
	} `json:"channels"`
	Operations map[string]struct {
		Channel  reference   `json:"channel"`
		Messages []reference `json:"messages"`
	} `json:"operations"`
	Components struct {
		Messages map[string]struct {
			Headers  json.RawMessage `json:"headers"`
			Examples []struct {
				Headers map[string]any `json:"headers"`
				Payload any            `json:"payload"`
			} `json:"examples"`
		} `json:"messages"`
		Schemas map[string]json.RawMessage `json:"schemas"`
	} `json:"components"`
}

type reference struct {
	Ref string `json:"$ref"`
}

// New reads a document and fails the test if it is no valid AsyncAPI 3.0.0: by the official schema, and in what that
// cannot say (references, parameters of addresses, messages of operations, examples).
func New(tb testing.TB, raw []byte) *Checker {
	tb.Helper()
	c, err := newChecker(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func newChecker(raw []byte) (*Checker, error) {
	tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("the document is no JSON: %w", err)
	}
	spec, err := compiler("spec.json", official)
	if err != nil {
		return nil, err
	}
	whole, err := spec.Compile("spec.json")
	if err != nil {
		return nil, fmt.Errorf("compile the schema of AsyncAPI: %w", err)
	}
	if err := whole.Validate(tree); err != nil {
		return nil, fmt.Errorf("the document is no valid AsyncAPI: %w", err)
	}
	if err := errors.Join(dangling(tree, tree, "#")...); err != nil {
		return nil, err
	}
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	c := &Checker{
		channels: map[string]channel{}, headers: map[string]*jsonschema.Schema{}, payloads: map[string]*jsonschema.Schema{},
		schemas: map[string]*jsonschema.Schema{},
	}
	schemas, err := compiler(file, raw)
	if err != nil {
		return nil, err
	}
	for name := range d.Components.Schemas {
		if c.schemas[name], err = schemas.Compile(file + "#/components/schemas/" + name); err != nil {
			return nil, fmt.Errorf("the schema %s: %w", name, err)
		}
	}
	for name, m := range d.Components.Messages {
		at := file + "#/components/messages/" + name
		if c.payloads[name], err = schemas.Compile(at + "/payload"); err != nil {
			return nil, fmt.Errorf("the payload of %s: %w", name, err)
		}
		if m.Headers != nil {
			if c.headers[name], err = schemas.Compile(at + "/headers"); err != nil {
				return nil, fmt.Errorf("the headers of %s: %w", name, err)
			}
		}
		for _, e := range m.Examples {
			err := c.payloads[name].Validate(e.Payload)
			switch headers := c.headers[name]; {
			case headers != nil:
				err = errors.Join(headers.Validate(e.Headers), err)
			case len(e.Headers) > 0:
				err = errors.Join(errors.New("it has headers, and the message none"), err)
			}
			if err != nil {
				return nil, fmt.Errorf("the example of %s: %w", name, err)
			}
		}
	}
	return c, c.connect(d)
}

func compiler(name string, raw []byte) (*jsonschema.Compiler, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7) // of which AsyncAPI's schemas are
	c.AssertFormat()
	if err := c.AddResource(name, doc); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return c, nil
}

// dangling returns the references of a document that lead nowhere in it.
func dangling(tree, node any, at string) (errs []error) {
	switch node := node.(type) {
	case map[string]any:
		if target, ok := node["$ref"].(string); ok && resolve(tree, target) == nil {
			errs = append(errs, fmt.Errorf("%s refers to %s, which is not there", at, target))
		}
		for name, child := range node {
			errs = append(errs, dangling(tree, child, at+"/"+name)...)
		}
	case []any:
		for i, child := range node {
			errs = append(errs, dangling(tree, child, fmt.Sprintf("%s/%d", at, i))...)
		}
	}
	return errs
}

func resolve(tree any, target string) any {
	path, ok := strings.CutPrefix(target, "#/")
	if !ok {
		return nil // of another document: this one has to say all
	}
	for token := range strings.SplitSeq(path, "/") {
		object, _ := tree.(map[string]any)
		tree = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(token)]
	}
	return tree
}

// connect holds channels, parameters and operations against each other.
func (c *Checker) connect(d document) error {
	var errs []error
	for name, ch := range d.Channels {
		known := channel{address: strings.FieldsFunc(ch.Address, func(r rune) bool { return r == '.' || r == '/' })}
		variables := 0
		for _, token := range known.address {
			if strings.HasPrefix(token, "{") {
				variables++
				if _, said := ch.Parameters[strings.Trim(token, "{}")]; !said {
					errs = append(errs, fmt.Errorf("the channel %s does not describe %s", name, token))
				}
			}
		}
		if variables != len(ch.Parameters) {
			errs = append(errs, fmt.Errorf("the channel %s has %d parameters, its address %d", name, len(ch.Parameters), variables))
		}
		for _, m := range ch.Messages {
			known.messages = append(known.messages, strings.TrimPrefix(m.Ref, "#/components/messages/"))
		}
		c.channels[name] = known
	}
	for name, o := range d.Operations {
		for _, m := range o.Messages {
			if !strings.HasPrefix(m.Ref, o.Channel.Ref+"/messages/") {
				errs = append(errs, fmt.Errorf("the operation %s has the message %s, which is none of its channel", name, m.Ref))
			}
		}
	}
	return errors.Join(errs...)
}

// Message returns what is wrong with a message that came on a subject: no channel has that, none of the channel's
// messages has such headers, or the body is not what its message promises. It says which message it took it for.
func (c *Checker) Message(subject string, header map[string][]string, body []byte) (name string, err error) {
	var candidates []string
	for _, ch := range c.channels {
		if ch.matches(strings.Split(subject, ".")) {
			candidates = append(candidates, ch.messages...)
		}
	}
	slices.Sort(candidates)
	if len(candidates) == 0 {
		return "", fmt.Errorf("no channel has the subject %s", subject)
	}
	headers := map[string]any{}
	for name, values := range header {
		if len(values) != 1 {
			return "", fmt.Errorf("the header %s of %s has the values %q", name, subject, values)
		}
		headers[name] = values[0]
	}
	payload, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("the body of %s is no JSON: %w", subject, err)
	}
	var errs []error
	for _, name := range candidates {
		if schema := c.headers[name]; schema != nil {
			if err := schema.Validate(headers); err != nil {
				errs = append(errs, fmt.Errorf("headers of %s: %w", name, err))
				continue
			}
		}
		if err := c.payloads[name].Validate(payload); err != nil {
			errs = append(errs, fmt.Errorf("payload of %s: %w", name, err))
			continue
		}
		return name, nil
	}
	return "", fmt.Errorf("the message on %s fits none of %v: %w\n%s", subject, candidates, errors.Join(errs...), body)
}

// Schema returns what is wrong with a body, held against one of the document's schemas.
func (c *Checker) Schema(name string, body []byte) error {
	schema := c.schemas[name]
	if schema == nil {
		return fmt.Errorf("there is no schema %s", name)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("the body of %s is no JSON: %w", name, err)
	}
	return schema.Validate(doc)
}

func (ch channel) matches(subject []string) bool {
	if len(ch.address) != len(subject) {
		return false
	}
	for i, token := range ch.address {
		if !strings.HasPrefix(token, "{") && token != subject[i] {
			return false
		}
	}
	return true
}

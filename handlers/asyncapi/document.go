package asyncapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/openapi"
)

// Config is what a document says besides the events of the registry.
type Config struct {
	ChannelPrefix string    // of the subjects of live messages
	Live          []Message // that we ourselves send there
	Stream        Stream
	Work          Work
	// Results are the JSON Schemas of what the stages find: the member data of each result of <stage>.completed.
	Results map[menu.Stage][]byte
	// Schemas are those of Go types whose JSON the types do not tell.
	Schemas map[reflect.Type]*jsonschema.Schema
}

type object = map[string]any

// Names of servers and of components that several parts refer to.
const (
	serverNATS = "nats"
	serverHTTP = "http"

	schemaHeaders = "headers"
	mediaJSON     = "application/json"
)

const description = `Kondate takes a restaurant's menu through eight stages. Everything that happens to it is an event of the JetStream stream, and
other programs read these events where they are: docs/subscribe.md shows how, with programs in four languages.

The operations are Kondate's own: it sends what a subscriber receives. A message keeps the version that it was recorded with,
so every released version is here. Pass over a type or version that is not: a newer program wrote it. An id (ce-id) may come
twice. Unknown is never "safe": no result says that a dish is free of an allergen.`

// Document returns the AsyncAPI document, as JSON. The same configuration gives the same bytes.
func Document(cfg Config) ([]byte, error) {
	w := &writer{
		cfg: cfg, channels: object{}, operations: object{}, messages: object{}, schemas: object{},
		parameters: object{},
	}
	w.log()
	w.live()
	w.work()
	w.stream()
	if len(w.errs) > 0 {
		return nil, fmt.Errorf("describe the messages: %w", errors.Join(w.errs...))
	}
	document, err := json.Marshal(object{
		"asyncapi":           "3.0.0",
		"info":               object{"title": "Kondate", "version": "1", "description": description},
		"defaultContentType": mediaJSON,
		"servers": object{
			serverNATS: server(serverNATS, "127.0.0.1:4222", "The broker of nats.url, or what nats.listen opens of the one inside the program.", "password"),
			serverHTTP: server(serverHTTP, "127.0.0.1:8080", "Where http.addr listens.", "key"),
		},
		"channels":   w.channels,
		"operations": w.operations,
		"components": object{
			"messages": w.messages, "schemas": w.schemas, "parameters": w.parameters,
			"securitySchemes": object{
				"password": object{"type": "userPassword", "description": "A user of the broker, or its credentials file. Where the broker asks for none, it is left out."},
				"key":      object{"type": "http", "scheme": "bearer", "description": "An API key. Where the server asks for no credential (auth.mode none), it is left out."},
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("describe the messages: %w", err)
	}
	return document, nil
}

func server(protocol, host, where, security string) object {
	return object{
		"host": "{host}", "protocol": protocol, "security": []object{ref("components/securitySchemes", security)},
		"variables": object{"host": object{"default": host, "description": where}},
	}
}

// ref refers to something in the document.
func ref(where, name string) object {
	return object{"$ref": "#/" + where + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)}
}

type writer struct {
	cfg                                                 Config
	channels, operations, messages, schemas, parameters object
	errs                                                []error
}

func (w *writer) fail(err error) { w.errs = append(w.errs, err) }

// channel adds a channel. Its address is a filter whose wildcards are the parameters, in their order; an address without
// them, or none, is taken as it is.
func (w *writer) channel(name string, address any, server, summary string, messages []string, parameters ...string) object {
	if filter, ok := address.(string); ok && server == serverNATS {
		if strings.Count(filter, "*") != len(parameters) {
			w.fail(fmt.Errorf("the channel %s has the address %s for the parameters %v", name, filter, parameters))
		}
		for _, p := range parameters {
			filter = strings.Replace(filter, "*", "{"+p+"}", 1)
		}
		address = filter
	}
	of, said := object{}, object{}
	for _, m := range messages {
		of[m] = ref("components/messages", m)
	}
	for _, p := range parameters {
		said[p] = ref("components/parameters", p)
	}
	c := object{"address": address, "title": name, "summary": summary, "servers": []object{ref("servers", server)}, "messages": of}
	if len(said) > 0 {
		c["parameters"] = said
	}
	w.channels[name] = c
	return c
}

// operation adds an operation of some of a channel's messages.
func (w *writer) operation(name, action, channel, summary string, messages []string) object {
	var of []object
	for _, m := range messages {
		of = append(of, ref("channels/"+channel+"/messages", m))
	}
	o := object{"action": action, "channel": ref("channels", channel), "summary": summary, "messages": of}
	w.operations[name] = o
	return o
}

// message adds a message that is no event of the log, under a name that is its own in the document.
func (w *writer) message(name string, m Message) {
	schema := m.Schema
	if m.Type != nil {
		var err error
		if schema, err = openapi.Schema(m.Type, w.cfg.Schemas); err != nil {
			w.fail(fmt.Errorf("the message %s: %w", m.Name, err))
		}
	}
	w.schemas[name] = schema
	described := object{"name": m.Name, "title": m.Name, "summary": m.Summary, "contentType": mediaJSON, "payload": ref("components/schemas", name)}
	if len(m.Headers) > 0 {
		described["headers"] = headers(m.Headers)
	}
	w.messages[name] = described
}

// headers is the schema of a message's headers.
func headers(of []eventstore.Header) object {
	properties, required := object{}, []string{}
	for _, h := range of {
		property := object{"type": "string", "description": h.Meaning}
		if h.Pattern != "" {
			property["pattern"] = h.Pattern
		}
		properties[h.Name] = property
		if !h.Optional {
			required = append(required, h.Name)
		}
	}
	return object{"type": "object", "properties": properties, "required": required}
}

// embed adds a JSON Schema from a file. The document's schemas are of draft 7 and so may not say that they are of
// another; what ours use means the same in both.
func (w *writer) embed(name string, raw []byte) {
	var schema object
	if err := json.Unmarshal(raw, &schema); err != nil {
		w.fail(fmt.Errorf("read the schema %s: %w", name, err))
		return
	}
	delete(schema, "$schema")
	w.schemas[name] = schema
}

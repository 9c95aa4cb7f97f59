package asyncapi

import (
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"

	"kondate/eventstore"
)

// Message describes a message that is no event of the log.
type Message struct {
	Name    string // "progress"
	Summary string
	Type    reflect.Type       // of its JSON body
	Schema  *jsonschema.Schema // of its body, where no Go type tells it
	Headers []eventstore.Header
}

// Stream describes a session's stream (SSE).
type Stream struct {
	Path     string    // "/v1/sessions/{id}/events"
	Messages []Message // besides the stored events; a message's name is that of its event
}

// Work describes how workers of other teams are asked.
type Work struct {
	Request, Reply Message
}

// MessageOf describes a message with a JSON body of a Go type.
func MessageOf[T any](name, summary string) Message {
	return Message{Name: name, Summary: summary, Type: reflect.TypeFor[T]()}
}

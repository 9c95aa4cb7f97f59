package openapi

import (
	"net/http"
	"reflect"
	"regexp"
)

// Operation describes one method of one path.
type Operation struct {
	Method      string // "GET"
	Path        string // "/v1/sessions/{id}"
	ID          string // unique, for generated clients: "getSession"
	Tag         string // the group it is listed under
	Summary     string // one line
	Description string // more, in Markdown; may be empty
	Access      Access

	Parameters []Parameter
	Body       reflect.Type // of the JSON body of a request; nil: it has none
	Answers    []Answer     // that are no problems
	Problems   Problems     // besides those that every route can have
}

// Access says with which credential an operation is used, where the server asks for one.
type Access int

// The ways in.
const (
	ByKey        Access = iota // an API key
	ByKeyOrToken               // an API key, or the token of one stream
	ByAnybody                  // no credential
)

// Problems are the problem documents of an operation by status; the text says when they come. An empty text stands for
// what the status always means.
type Problems map[int]string

// Parameter is a value in the path, the query or the header of a request, or in the header of an answer.
type Parameter struct {
	Name        string
	In          string // "path", "query" or "header"; empty in an answer
	Description string
	Type        reflect.Type
}

// TypeOf names a Go type to an operation or a component.
func TypeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// Path describes a variable part of the path.
func Path[T any](name, description string) Parameter {
	return Parameter{Name: name, In: "path", Description: description, Type: reflect.TypeFor[T]()}
}

// Query describes a parameter of the query.
func Query[T any](name, description string) Parameter {
	return Parameter{Name: name, In: "query", Description: description, Type: reflect.TypeFor[T]()}
}

// Header describes a header of a request or an answer.
func Header[T any](name, description string) Parameter {
	return Parameter{Name: name, In: "header", Description: description, Type: reflect.TypeFor[T]()}
}

// Answer is one answer that is no problem.
type Answer struct {
	Status      int
	Description string
	Media       string       // media type of the body; empty: there is none
	Type        reflect.Type // of a JSON body; nil: text, or bytes
	Headers     []Parameter
}

// JSON describes an answer whose body is a Go value.
func JSON[T any](status int, description string, headers ...Parameter) Answer {
	return Answer{Status: status, Description: description, Media: "application/json", Type: reflect.TypeFor[T](), Headers: headers}
}

// Lines describes an answer with a JSON object of one type on each line.
func Lines[T any](status int, description string, headers ...Parameter) Answer {
	return Answer{Status: status, Description: description, Media: "application/x-ndjson", Type: reflect.TypeFor[T](), Headers: headers}
}

// Media describes an answer whose body is no JSON.
func Media(status int, media, description string, headers ...Parameter) Answer {
	return Answer{Status: status, Description: description, Media: media, Headers: headers}
}

// Empty describes an answer without a body.
func Empty(status int, description string, headers ...Parameter) Answer {
	return Answer{Status: status, Description: description, Headers: headers}
}

// variables are the variable parts of a path.
var variables = regexp.MustCompile(`\{(\w+)\}`)

// Route returns the path in the form of the router: "/v1/sessions/:id".
func (o Operation) Route() string { return variables.ReplaceAllString(o.Path, ":$1") }

// always are the problems that every operation can have, besides those of its credential.
func (o Operation) always() []int {
	statuses := []int{http.StatusBadRequest, http.StatusRequestHeaderFieldsTooLarge, http.StatusInternalServerError}
	if o.Access != ByAnybody {
		statuses = append(statuses, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests)
	}
	if o.Method == http.MethodPost {
		statuses = append(statuses, http.StatusRequestEntityTooLarge)
	}
	if o.Body != nil {
		statuses = append(statuses, http.StatusUnsupportedMediaType)
	}
	return statuses
}

// meaning says what a status of a problem document always means.
func meaning(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "The request is not valid; `errors` names the fields."
	case http.StatusUnauthorized:
		return "There is no credential, or it is not known."
	case http.StatusForbidden:
		return "The credential does not allow this."
	case http.StatusNotFound:
		return "There is no such thing."
	case http.StatusConflict:
		return "The state does not allow it."
	case http.StatusGone:
		return "The session was erased."
	case http.StatusRequestEntityTooLarge:
		return "The body is too large."
	case http.StatusUnsupportedMediaType:
		return "The body is no JSON in UTF-8, or has a Content-Encoding."
	case http.StatusTooManyRequests:
		return "The client asks too often."
	case http.StatusRequestHeaderFieldsTooLarge:
		return "The header is too large."
	case http.StatusInternalServerError:
		return "A defect of the server."
	case http.StatusServiceUnavailable:
		return "A part of the service is away."
	case http.StatusGatewayTimeout:
		return "The rows have not reached the sequence in time."
	case http.StatusInsufficientStorage:
		return "The log is full."
	}
	return http.StatusText(status)
}

// passing says whether a problem passes by itself, and has Retry-After.
func passing(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

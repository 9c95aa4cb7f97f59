package sse

import (
	"net/http"

	"kondate/domain/menu"
	"kondate/handlers/asyncapi"
	"kondate/handlers/openapi"
)

// pathStream is the path of a session's stream.
const pathStream = "/v1/sessions/{id}/events"

// Stream describes what a session's stream sends besides the events of the log and live messages.
func Stream() asyncapi.Stream {
	return asyncapi.Stream{Path: pathStream, Messages: []asyncapi.Message{
		asyncapi.MessageOf[resetData](eventReset, "The cursor could not be honoured; the stream goes on from the oldest event that is held."),
		asyncapi.MessageOf[struct{}](eventCaughtUp, "What follows happens now."),
		asyncapi.MessageOf[closingData](eventClosing, "The server ends the stream: come back."),
		asyncapi.MessageOf[endData](eventEnd, "The session is closed, and everything was said."),
	}}
}

// Operations describes the routes that [Handler.Register] adds.
func Operations() []openapi.Operation {
	return []openapi.Operation{
		{
			Method: http.MethodGet, Path: pathStream, ID: "followSession", Tag: "sessions", Summary: "A session's events, live (SSE)",
			Description: "The whole session from its first event, then what happens. `event` is the type of a stored event, whose `data` is an object of the schema Event, " +
				"and whose `id` is a cursor: a client that comes back with it misses nothing and gets nothing twice. Besides: `caught-up`, `progress`, `reset` " +
				"(the cursor could not be honoured), `closing` (come back), `end` (everything was said). Messages that others publish for the session come without an id.",
			Access: openapi.ByKeyOrToken,
			Parameters: []openapi.Parameter{
				openapi.Path[menu.SessionID]("id", "The session."),
				openapi.Header[string](headerLastEventID, "The cursor of the last event that the client has seen. It wins over last_event_id."),
				openapi.Query[string](queryLastEventID, "The same, for clients that can send no header."),
				openapi.Query[string](queryFrom, "`start` (as without it), or `live`: only what happens from now on."),
				openapi.Query[string](querySince, "Events from this time on (RFC 3339); not together with from."),
			},
			Answers: []openapi.Answer{
				openapi.Media(http.StatusOK, "text/event-stream", "The stream."),
				openapi.Empty(http.StatusNoContent, "The session is closed and the client has seen its last event: do not come back."),
			},
			Problems: openapi.Problems{
				404: "", 410: "The session ended too long ago for its stream; `rows_url` says where its results stand.",
				429: "The client asks too often, or its session or address has too many streams.", 503: "A part of the service is away, or there is no place for another stream.",
			},
		},
		{
			Method: http.MethodGet, Path: "/client.js", ID: "streamClient", Tag: "sessions", Summary: "A JavaScript client of the streams", Access: openapi.ByAnybody,
			Answers:  []openapi.Answer{openapi.Media(http.StatusOK, "text/javascript", "A module that exports follow(url, options).")},
			Problems: openapi.Problems{http.StatusTooManyRequests: ""},
		},
	}
}

package httpapi

import (
	"net/http"

	"github.com/gofiber/fiber/v2"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/openapi"
	"kondate/projections"
	"kondate/streams"
)

// Paths that the rate limit does not count.
const (
	pathHealth = "/healthz"
	pathReady  = "/readyz"
)

const pathOpenAPI = "/openapi.json"

// route is one method of one path: what it is, and who answers it.
type route struct {
	openapi.Operation

	answer fiber.Handler
	strict bool // refuses parameters of the query that the operation does not have
}

// Groups of operations.
const (
	tagSessions = "sessions"
	tagDishes   = "dishes"
	tagHistory  = "history"
	tagFailures = "failures"
	tagService  = "service"
)

// routes are all routes of the API, each beside its description. [API.Routes] registers them, /openapi.json tells them.
func (a *API) routes() []route {
	sessionID := openapi.Path[menu.SessionID]("id", "The session.")
	dish := openapi.Path[menu.DishID]("id", "The dish.")
	minSeq := openapi.Query[uint64]("min_seq", "Answer when the rows have reached this event, or 504. A `seq` that an answer or an event brought reads one's own write.")
	asOf := openapi.Query[uint64]("as_of_seq", "Answer as the log was at this event.")
	have := openapi.Header[string](fiber.HeaderIfNoneMatch, "The ETag of what the client has; 304 if that is still right.")
	tag := openapi.Header[string](fiber.HeaderETag, "For If-None-Match.")
	unchanged := openapi.Empty(http.StatusNotModified, "The client has it already.", tag)
	away, behind := openapi.Problems{404: "", 503: ""}, openapi.Problems{404: "", 503: "", 504: ""}

	return []route{
		{openapi.Operation{
			Method: http.MethodPost, Path: "/v1/sessions", ID: "submitMenu", Tag: tagSessions, Summary: "Submit a menu",
			Description: "The answer comes when the menu is in the log; the results come over `stream_url`. A menu is taken whole or not at all.",
			Parameters: []openapi.Parameter{
				openapi.Header[string](headerIdempotencyKey, "1 to 255 printable ASCII characters. The same key with the same menu gives the same session; with another menu, 422."),
				openapi.Header[string]("traceparent", "W3C Trace Context; it is recorded with every event that follows."),
			},
			Body:    openapi.TypeOf[submissionBody](),
			Answers: []openapi.Answer{openapi.JSON[accepted](http.StatusAccepted, "The menu is recorded.", openapi.Header[string](fiber.HeaderLocation, "The session."))},
			Problems: openapi.Problems{
				409: "A menu id belongs to another session.", 410: "The session of this Idempotency-Key was erased.",
				413: "The body, or one event of the menu, is too large.", 422: "The Idempotency-Key was used for another menu.", 503: "", 507: "",
			},
		}, a.submit, false},
		{openapi.Operation{
			Method: http.MethodGet, Path: "/v1/sessions/{id}", ID: "getSession", Access: openapi.ByKeyOrToken, Tag: tagSessions, Summary: "A session's progress",
			Parameters: []openapi.Parameter{sessionID, minSeq, asOf, have},
			Answers:    []openapi.Answer{openapi.JSON[projections.SessionRow](http.StatusOK, "The session.", tag), unchanged},
			Problems:   behind,
		}, a.session, true},
		{openapi.Operation{
			Method: http.MethodDelete, Path: "/v1/sessions/{id}", ID: "eraseSession", Tag: tagSessions, Summary: "Erase a session everywhere",
			Description: "Rows, history, pictures and the log lose it; a tombstone stays. Erasing again gives the same answer.",
			Parameters:  []openapi.Parameter{sessionID, openapi.Query[string]("reason", "For the tombstone: at most 256 characters.")},
			Answers:     []openapi.Answer{openapi.JSON[erasure](http.StatusAccepted, "The tombstone is recorded.")},
			Problems:    openapi.Problems{404: "", 503: "", 507: ""},
		}, a.erase, true},
		{openapi.Operation{
			Method: http.MethodGet, Path: "/v1/sessions/{id}/menus", ID: "listDishes", Access: openapi.ByKeyOrToken, Tag: tagDishes, Summary: "A session's dishes",
			Parameters: []openapi.Parameter{sessionID, minSeq, asOf, have},
			Answers:    []openapi.Answer{openapi.JSON[rows](http.StatusOK, "The dishes by position.", tag), unchanged},
			Problems:   behind,
		}, a.menus, true},
		{openapi.Operation{
			Method: http.MethodGet, Path: "/v1/menus/{id}", ID: "getDish", Access: openapi.ByKeyOrToken, Tag: tagDishes, Summary: "A dish with its results",
			Parameters: []openapi.Parameter{dish, minSeq, asOf, have},
			Answers:    []openapi.Answer{openapi.JSON[projections.MenuRow](http.StatusOK, "The dish.", tag), unchanged},
			Problems:   behind,
		}, a.menu, true},
		{openapi.Operation{
			Method: http.MethodPost, Path: "/v1/menus/{id}/stages/{stage}/retry", ID: "retryStage", Tag: tagFailures, Summary: "Take one parked stage of one dish back to work",
			Parameters: []openapi.Parameter{dish, openapi.Path[menu.Stage]("stage", "The stage.")},
			Answers:    []openapi.Answer{openapi.JSON[retried](http.StatusAccepted, "It is at work again.")},
			Problems:   openapi.Problems{404: "", 409: "The stage is not parked, or the session was archived.", 410: "", 503: "", 507: ""},
		}, a.retry, false},
		{openapi.Operation{
			Method: http.MethodPost, Path: "/v1/menus/{id}/image", ID: "requestPicture", Tag: tagDishes, Summary: "Ask for a picture of a dish",
			Description: "The result arrives on the session's stream, as `image.completed` or `image.failed`.",
			Parameters:  []openapi.Parameter{dish},
			Answers:     []openapi.Answer{openapi.JSON[requested](http.StatusAccepted, "The picture will be made.")},
			Problems:    openapi.Problems{404: "", 409: "A picture is being made, or the session was archived.", 410: "", 503: "", 507: ""},
		}, a.requestImage, false},
		{a.picture("svg", streams.MediaSVG, dish, have, away), a.imageSVG, false},
		{a.picture("png", streams.MediaPNG, dish, have, away), a.imagePNG, false},
		{openapi.Operation{
			Method: http.MethodGet, Path: "/v1/events", ID: "exportEvents", Tag: tagHistory, Summary: "The event history, streamed",
			Description: "In the order of the log. An export that cannot go on is cut: its last chunk is missing.",
			Parameters: []openapi.Parameter{
				openapi.Query[menu.Tenant]("tenant", "Only the caller's own; it may be left out."),
				openapi.Query[menu.SessionID]("session", "Events of one session."),
				openapi.Query[string]("type", "A type such as `allergen.completed`; one of its parts may be `*`."),
				openapi.Query[moment]("since", "Events from this time on."), openapi.Query[moment]("until", "Events before this time."),
				openapi.Query[uint64]("from_seq", "Events from this sequence on."), openapi.Query[positive]("limit", "At most so many; without it, all."),
			},
			Answers:  []openapi.Answer{openapi.Lines[eventstore.Object](http.StatusOK, "Each line is an Event.")},
			Problems: openapi.Problems{503: ""},
		}, a.events, true},
		{openapi.Operation{
			Method: http.MethodGet, Path: "/v1/failures", ID: "listFailures", Tag: tagFailures, Summary: "Parked stages, the oldest first",
			Parameters: []openapi.Parameter{
				openapi.Query[menu.DishID]("menu_id", "Of one dish."), openapi.Query[menu.SessionID]("session", "Of one session."),
				openapi.Query[menu.Stage]("stage", "Of one stage."), openapi.Query[string]("reason", "With this reason, such as `timeout`."),
				openapi.Query[page]("limit", "At most so many; 100 without it."), openapi.Query[string]("after", "The `next` of the page before."),
			},
			Answers:  []openapi.Answer{openapi.JSON[failureList](http.StatusOK, "A page of parked stages.")},
			Problems: openapi.Problems{503: ""},
		}, a.failures, true},
		{openapi.Operation{
			Method: http.MethodPost, Path: "/v1/failures/retry", ID: "retryFailures", Tag: tagFailures, Summary: "Take parked stages back to work: one, some, all",
			Body:     openapi.TypeOf[failureQuery](),
			Answers:  []openapi.Answer{openapi.JSON[retried](http.StatusAccepted, "They are at work again. With `next`, time was up: ask again with `after`.")},
			Problems: openapi.Problems{503: "", 507: ""},
		}, a.retryFailures, false},
		{openapi.Operation{
			Method: http.MethodGet, Path: pathHealth, ID: "health", Tag: tagService, Summary: "The process answers", Access: openapi.ByAnybody,
			Answers: []openapi.Answer{openapi.JSON[health](http.StatusOK, "It does.")},
		}, a.probes.healthz, false},
		{openapi.Operation{
			Method: http.MethodGet, Path: pathReady, ID: "ready", Tag: tagService, Summary: "Every part works", Access: openapi.ByAnybody,
			Answers:  []openapi.Answer{openapi.JSON[readiness](http.StatusOK, "They do; how each of them is.")},
			Problems: openapi.Problems{503: "`errors` names the parts that do not work, and why."},
		}, a.probes.readyz, false},
		{openapi.Operation{
			Method: http.MethodGet, Path: pathOpenAPI, ID: "describeAPI", Tag: tagService, Summary: "This description", Access: openapi.ByAnybody,
			Parameters: []openapi.Parameter{have},
			Answers:    []openapi.Answer{openapi.JSON[map[string]any](http.StatusOK, "OpenAPI 3.1.", tag), unchanged},
			Problems:   openapi.Problems{429: ""},
		}, a.describe, false},
		{openapi.Operation{
			Method: http.MethodGet, Path: "/asyncapi.json", ID: "describeEvents", Tag: tagService, Summary: "The description of the messages", Access: openapi.ByAnybody,
			Description: "What other programs find on NATS: every event of the log, live messages, requests to workers.",
			Parameters:  []openapi.Parameter{have},
			Answers:     []openapi.Answer{openapi.JSON[map[string]any](http.StatusOK, "AsyncAPI 3.0.", tag), unchanged},
			Problems:    openapi.Problems{429: ""},
		}, a.describeEvents, false},
		{openapi.Operation{
			Method: http.MethodGet, Path: "/schemas/{type}/{version}", ID: "getSchema", Tag: tagService, Summary: "The JSON Schema of an event's body", Access: openapi.ByAnybody,
			Description: "The header `ce-dataschema` of a message of the log is this path.",
			Parameters: []openapi.Parameter{
				openapi.Path[menu.Type]("type", "Such as `allergen.completed`."), openapi.Path[string]("version", "`v1.json`, `v2.json` and so on."), have,
			},
			Answers:  []openapi.Answer{openapi.JSON[map[string]any](http.StatusOK, "JSON Schema 2020-12.", tag), unchanged},
			Problems: openapi.Problems{404: "", 429: ""},
		}, a.schema, false},
	}
}

// picture describes the route of a picture in one of its forms.
func (a *API) picture(extension, media string, dish, have openapi.Parameter, problems openapi.Problems) openapi.Operation {
	tag := openapi.Header[string](fiber.HeaderETag, "For If-None-Match.")
	generated := openapi.Header[bool](headerGenerated, "Whether a model painted it, and no real dish is shown.")
	return openapi.Operation{
		Method: http.MethodGet, Path: "/v1/menus/{id}/image." + extension, ID: "getPicture" + extension, Access: openapi.ByKeyOrToken, Tag: tagDishes, Summary: "The newest picture of a dish",
		Parameters: []openapi.Parameter{dish, have},
		Answers:    []openapi.Answer{openapi.Media(http.StatusOK, media, "The picture.", tag, generated), openapi.Empty(http.StatusNotModified, "The client has it already.", tag, generated)},
		Problems:   problems,
	}
}

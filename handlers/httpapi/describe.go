package httpapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/google/jsonschema-go/jsonschema"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/openapi"
	"kondate/projections"
)

// Types that exist for their description alone.
type (
	moment      string // RFC 3339
	positive    int    // from 1
	page        int    // from 1 to maxFailures
	languageTag string // BCP 47
	printed     string // a text, or a number that is kept as it is written
)

// submissionBody is the body of POST /v1/sessions. [decodeSubmission] reads it by hand, to say where it is wrong.
type submissionBody struct {
	Title          *string      `json:"title,omitempty" jsonschema:"At most 512 characters."`
	SourceLanguage *languageTag `json:"source_language,omitempty" jsonschema:"BCP 47; ja if it is left out."`
	TargetLanguage *languageTag `json:"target_language,omitempty" jsonschema:"BCP 47; en if it is left out."`
	Items          []itemBody   `json:"items"`
}

type itemBody struct {
	ID       *menu.DishID `json:"id,omitempty" jsonschema:"The caller's own id, unique among the tenant's dishes; made if it is left out."`
	Name     string       `json:"name" jsonschema:"1 to 512 characters, blanks around it not counted. It is kept exactly as it is sent."`
	Category *string      `json:"category,omitempty" jsonschema:"At most 256 characters."`
	Price    *printed     `json:"price,omitempty" jsonschema:"As printed, at most 128 characters."`
}

// description returns the OpenAPI document of the API's own operations and of others that the same server has.
func (a *API) description() ([]byte, error) {
	operations := make([]openapi.Operation, 0, len(a.cfg.Elsewhere)+16)
	for _, r := range a.routes() {
		operations = append(operations, r.Operation)
	}
	return openapi.Document(openapi.Config{
		Title: "Kondate", Version: "1",
		Description: "A restaurant's menu goes in; every dish comes back with eight results, each the moment it exists.\n\n" +
			"Every answer that is an error is a problem document (RFC 9457). It names the fields that are wrong, and the request, as the server's log does.",
		Tags: []openapi.Tag{
			{Name: tagSessions, Description: "Submit a menu and follow it."},
			{Name: tagDishes, Description: "Dishes with their results, and pictures of them."},
			{Name: tagHistory, Description: "Every event since the beginning."},
			{Name: tagFailures, Description: "Stages that were given up, and their retry."},
			{Name: tagService, Description: "The server itself."},
		},
		Problem:    openapi.TypeOf[problem](),
		Components: components(),
		Schemas:    Schemas(),
	}, append(operations, a.cfg.Elsewhere...))
}

func components() []openapi.Component {
	return []openapi.Component{
		{Name: "Problem", Type: openapi.TypeOf[problem](), Description: "What went wrong (RFC 9457).", Refine: func(p map[string]*jsonschema.Schema) {
			p["type"].Description = "about:blank, or a name that stays the same."
			p["errors"].Description = "The fields, parameters or headers that are wrong."
			p["rows_url"] = &jsonschema.Schema{Type: "string", Description: "Of a stream that has expired: where the results stand."}
		}},
		{Name: "FieldError", Type: openapi.TypeOf[menu.FieldError](), Description: "What is wrong with one field, such as items[3].name."},
		{Name: "Session", Type: openapi.TypeOf[projections.SessionRow](), Description: "A submitted menu and its progress."},
		{Name: "Tally", Type: openapi.TypeOf[menu.Tally](), Description: "How many dishes a stage has answered, and given up."},
		{Name: "StageState", Type: openapi.TypeOf[menu.StageState](), Description: "What one stage has made of a dish."},
		{Name: "Dish", Type: openapi.TypeOf[projections.MenuRow](), Description: "A dish with its results: a column holds what its stage found, null until then.", Refine: func(p map[string]*jsonschema.Schema) {
			p["stages"] = &jsonschema.Schema{Type: "object", Description: "By stage, all eight.", AdditionalProperties: openapi.Ref("StageState")}
			p["position"].Description = "Place on the menu, from 0."
			p["gen_image"].Description = "URL of the newest picture."
			p["last_seq"].Description = "The event that changed the dish last."
		}},
		{Name: "Failure", Type: openapi.TypeOf[projections.Failure](), Description: "A stage of a dish that was given up until somebody asks for a retry."},
		{Name: "Event", Type: openapi.TypeOf[eventstore.Object](), Description: "A recorded fact, as streams and exports carry it."},
	}
}

// Schemas are those of types whose JSON the Go type does not tell.
func Schemas() map[reflect.Type]*jsonschema.Schema {
	one, most := 1.0, float64(maxFailures)
	text := func(pattern string) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Pattern: pattern} }
	const id = "^[A-Za-z0-9_-]{1,64}$"
	stages := menu.Stages()
	return map[reflect.Type]*jsonschema.Schema{
		openapi.TypeOf[menu.Tenant]():    text(id),
		openapi.TypeOf[menu.SessionID](): text(id),
		openapi.TypeOf[menu.DishID]():    text(id),
		openapi.TypeOf[menu.Stage]():     enum(stages[:]...),
		openapi.TypeOf[menu.SessionStatus](): enum(menu.SessionProcessing, menu.SessionCompleted,
			menu.SessionExpired, menu.SessionErased),
		openapi.TypeOf[menu.ProcessingStatus](): enum(menu.Pending, menu.BasicCompleted, menu.Processing, menu.DishCompleted, menu.DishFailed),
		openapi.TypeOf[menu.StageStatus](): enum(string(menu.StagePending), string(menu.StageRetrying), string(menu.StageParked), string(menu.StatusOK),
			string(menu.StatusPartial), string(menu.StatusUnknown), string(menu.StatusSkipped)),
		openapi.TypeOf[projections.Time](): {Type: "string", Format: "date-time"},
		openapi.TypeOf[json.RawMessage]():  {Types: []string{"object", "null"}},
		openapi.TypeOf[moment]():           {Type: "string", Format: "date-time"},
		openapi.TypeOf[time.Time]():        {Type: "string", Format: "date-time"},
		openapi.TypeOf[positive]():         {Type: "integer", Minimum: &one},
		openapi.TypeOf[page]():             {Type: "integer", Minimum: &one, Maximum: &most},
		openapi.TypeOf[languageTag]():      {Type: "string", MaxLength: new(maxLanguageTag)},
		openapi.TypeOf[printed]():          {Types: []string{"string", "number"}},
	}
}

func enum[T any](values ...T) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, v := range values {
		s.Enum = append(s.Enum, fmt.Sprint(v))
	}
	return s
}

// known lists the JSON fields of a type, for the message about one that is unknown.
func known[T any]() string {
	var names []string
	for field := range reflect.TypeFor[T]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// describe answers GET /openapi.json.
func (a *API) describe(c *fiber.Ctx) error { return freshText(c, a.documentTag, a.document) }

// describeEvents answers GET /asyncapi.json.
func (a *API) describeEvents(c *fiber.Ctx) error { return freshText(c, a.eventsTag, a.cfg.AsyncAPI) }

// schema answers GET /schemas/{type}/{version}, to which the header ce-dataschema of every event refers.
func (a *API) schema(c *fiber.Ctx) error {
	file := c.Params("version")
	digits, isFile := strings.CutSuffix(file, ".json")
	version, err := strconv.Atoi(strings.TrimPrefix(digits, "v"))
	if err != nil || !isFile || file != fmt.Sprintf("v%d.json", version) {
		return badParameter("version", "it is v1.json, v2.json and so on")
	}
	typ := menu.Type(utils.CopyString(c.Params("type")))
	text, err := eventstore.Schema(typ, version)
	if err != nil || eventstore.DataSchema(typ, version) != c.Path() {
		return notFound("schema of version " + strconv.Itoa(version) + " of an event " + strconv.Quote(string(typ)))
	}
	return freshText(c, strconv.Quote(tagOf(0, text)), text)
}

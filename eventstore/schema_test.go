package eventstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
)

// A released schema is a promise: whoever changes an event's Go type is told to add a version.
func TestSchemas(t *testing.T) {
	t.Parallel()
	docs := readDocs(t)
	released := map[string]bool{}
	for _, def := range eventstore.Registry() {
		for version := 1; version <= def.Version; version++ {
			file := schemaFile(def.Type, version)
			released[filepath.Base(file)] = true
			if version == def.Version {
				checkSchema(t, file, def, describedSchema(t, docs, sample(t, def.Type)))
			}
			raw, err := eventstore.Schema(def.Type, version)
			if err != nil {
				t.Error(err)
				continue
			}
			var s jsonschema.Schema
			if err := json.Unmarshal(raw, &s); err != nil {
				t.Fatal(err)
			}
			resolved, err := s.Resolve(nil)
			if err != nil {
				t.Fatal(err)
			}
			g := readGolden(t, filepath.Join("testdata", fmt.Sprintf("%s.v%d.json", def.Type, version)))
			var body any
			if err := json.Unmarshal(g.Data, &body); err != nil {
				t.Fatal(err)
			}
			if err := resolved.Validate(body); err != nil {
				t.Errorf("the golden %s version %d does not fit its schema: %v", def.Type, version, err)
			}
		}
	}
	entries, err := os.ReadDir("schemas")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !released[e.Name()] {
			t.Errorf("schemas/%s belongs to no event of the registry", e.Name())
		}
	}
	if _, err := eventstore.Schema("menu.submitted", 99); !errors.Is(err, eventstore.ErrUnknownEvent) {
		t.Errorf("the schema of a version that does not exist: %v", err)
	}
}

func schemaFile(typ menu.Type, version int) string {
	lane := string(typ.Lane())
	if _, err := menu.ParseStage(lane); err == nil {
		lane = "stage"
	}
	return filepath.Join("schemas", fmt.Sprintf("%s.%s.v%d.json", lane, typ.Name(), version))
}

// checkSchema compares the released schema of the newest version with the one of the Go type, without what only
// describes. -update writes one that is missing, and new descriptions.
func checkSchema(t *testing.T, file string, def eventstore.Definition, today *jsonschema.Schema) {
	t.Helper()
	want, err := json.MarshalIndent(today, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	have, err := os.ReadFile(file)
	missing := errors.Is(err, os.ErrNotExist)
	if err != nil && !missing {
		t.Fatal(err)
	}
	if !missing && !reflect.DeepEqual(undescribed(t, have), undescribed(t, want)) {
		t.Errorf("the event %s is not what version %d promised when it was released (%s).\nAdd version %d with an upcaster in eventstore/registry.go. The Go type says now:\n%s",
			def.Type, def.Version, file, def.Version+1, want)
		return
	}
	if string(have) == string(want) {
		return
	}
	if !*update {
		t.Errorf("%s is missing or its descriptions are old: go test ./eventstore -run Schemas -update", file)
		return
	}
	if err := os.WriteFile(file, want, 0o600); err != nil {
		t.Fatal(err)
	}
}

func undescribed(t *testing.T, schema []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(schema, &v); err != nil {
		t.Fatal(err)
	}
	var strip func(v any)
	strip = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if _, text := v["description"].(string); text {
				delete(v, "description")
			}
			for _, child := range v {
				strip(child)
			}
		case []any:
			for _, child := range v {
				strip(child)
			}
		}
	}
	strip(v)
	return v
}

func enum[T any](values ...T) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, v := range values {
		s.Enum = append(s.Enum, fmt.Sprint(v))
	}
	return s
}

// describedSchema makes the schema of an event's Go type, with the comments of its fields.
func describedSchema(t *testing.T, docs docs, event menu.Event) *jsonschema.Schema {
	t.Helper()
	stages := menu.Stages()
	typ := reflect.TypeOf(event)
	s, err := jsonschema.ForType(typ, &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[menu.Stage]():        enum(stages[:]...),
		reflect.TypeFor[menu.ResultStatus](): enum(menu.StatusOK, menu.StatusPartial, menu.StatusUnknown, menu.StatusSkipped),
		reflect.TypeFor[menu.Basis](): enum(menu.BasisExact, menu.BasisComposed, menu.BasisGlossary, menu.BasisCategory,
			menu.BasisModel, menu.BasisSearch, menu.BasisDeclared, menu.BasisNone),
		reflect.TypeFor[menu.DishID]():     {Type: "string", Pattern: "^[A-Za-z0-9_-]{1,64}$"},
		reflect.TypeFor[time.Time]():       {Type: "string", Format: "date-time"},
		reflect.TypeFor[json.RawMessage](): {Types: []string{"object", "null"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	docs.describe(s, typ)
	return s
}

// docs are the comments of the domain's types: "Submitted", and of their fields: "Submitted.Items".
type docs map[string]string

func readDocs(t *testing.T) docs {
	t.Helper()
	d := docs{}
	files, err := filepath.Glob("../domain/menu/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources of the domain: %v", err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			decl, ok := n.(*ast.GenDecl)
			if !ok || decl.Tok != token.TYPE {
				return true
			}
			for _, spec := range decl.Specs {
				d.add(decl, spec)
			}
			return false
		})
	}
	return d
}

func (d docs) add(decl *ast.GenDecl, spec ast.Spec) {
	typ, ok := spec.(*ast.TypeSpec)
	if !ok {
		return
	}
	d[typ.Name.Name] = text(decl.Doc)
	fields, ok := typ.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, field := range fields.Fields.List {
		for _, name := range field.Names {
			d[typ.Name.Name+"."+name.Name] = text(field.Comment)
		}
	}
}

// sentence returns a type's comment without the Go name that it begins with.
func (d docs) sentence(name string) string {
	rest := strings.TrimPrefix(d[name], name+" ")
	return strings.ToUpper(rest[:1]) + rest[1:]
}

func text(c *ast.CommentGroup) string {
	return strings.TrimSpace(strings.ReplaceAll(c.Text(), "\n", " "))
}

// describe puts the comments into a schema.
func (d docs) describe(s *jsonschema.Schema, typ reflect.Type) {
	switch typ.Kind() {
	case reflect.Slice:
		if s.Items != nil {
			d.describe(s.Items, typ.Elem())
		}
		return
	case reflect.Struct:
	default:
		return
	}
	if s.Properties == nil {
		return
	}
	s.Description = d.sentence(typ.Name())
	for field := range typ.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		property := s.Properties[name]
		if property == nil {
			continue
		}
		d.describe(property, field.Type)
		if comment := d[typ.Name()+"."+field.Name]; comment != "" {
			property.Description = comment
		}
	}
}

// What version 1 of a failed attempt said is what is read of it, and of its provider nothing is claimed.
func TestUpcastAttemptFailed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := menu.StageAttemptFailed{
			Stage: rapid.SampledFrom(slices.Collect(stages)).Draw(t, "stage"), IDs: []menu.DishID{menu.DishID(rapid.StringMatching(`[a-z0-9-]{1,8}`).Draw(t, "id"))},
			Epoch: rapid.IntRange(0, 9).Draw(t, "epoch"), Attempt: rapid.IntRange(1, 9).Draw(t, "attempt"),
			Reason: rapid.String().Draw(t, "reason"), Error: rapid.String().Draw(t, "error"), RetryAt: menutest.Start(),
		}
		body := map[string]any{
			"stage": want.Stage, "menu_ids": want.IDs, "epoch": want.Epoch, "attempt": want.Attempt, "reason": want.Reason,
			"error": want.Error, "retry_at": want.RetryAt,
		}
		if rapid.Bool().Draw(t, "has a provider that version 1 had not") {
			body["provider"] = "a guess"
		}
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		header := nats.Header{
			eventstore.HeaderID: {"id"}, eventstore.HeaderTime: {eventstore.FormatTime(menutest.Start())}, eventstore.HeaderSchema: {"1"},
		}
		e := eventstore.Decode("menu.evt.public.s1."+string(want.Type()), 1, time.Time{}, header, data)
		if e.Err != nil || !reflect.DeepEqual(normalisedRapid(t, e.Event), normalisedRapid(t, want)) {
			t.Fatalf("read %+v (%v), want %+v", e.Event, e.Err, want)
		}
		if e.Version != 1 || string(e.Data) != string(data) {
			t.Fatal("the entry does not hold what was recorded")
		}
		newest, err := eventstore.Upcast(want.Type(), 2, data)
		if err != nil || &newest[0] != &data[0] {
			t.Fatalf("a body of the newest version was copied: %v", err)
		}
	})
}

func stages(yield func(menu.Stage) bool) {
	for _, s := range menu.Stages() {
		if !yield(s) {
			return
		}
	}
}

func normalisedRapid(t *rapid.T, e menu.Event) string {
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestUpcastRefuses(t *testing.T) {
	t.Parallel()
	const typ = "allergen.attempt_failed"
	for name, test := range map[string]struct {
		typ     menu.Type
		version int
		data    string
		want    error
	}{
		"UnknownType":    {"allergen.invented", 1, "{}", eventstore.ErrUnknownEvent},
		"VersionZero":    {typ, 0, "{}", eventstore.ErrUnknownEvent},
		"NegativeOne":    {typ, -1, "{}", eventstore.ErrUnknownEvent},
		"NewerVersion":   {typ, 3, "{}", eventstore.ErrUnknownEvent},
		"OldBodyNull":    {typ, 1, "null", eventstore.ErrMalformed},
		"OldBodyNoJSON":  {typ, 1, "{", eventstore.ErrMalformed},
		"OldBodyAString": {typ, 1, `"x"`, eventstore.ErrMalformed},
	} {
		if _, err := eventstore.Upcast(test.typ, test.version, []byte(test.data)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// An old event goes to readers in the newest shape; one that nobody here knows goes as it is.
func TestEnvelope(t *testing.T) {
	t.Parallel()
	g := readGolden(t, "testdata/allergen.attempt_failed.v1.json")
	envelope := eventstore.Envelope{Seq: 7, ID: "id", Key: menutest.Key("s1"), Type: "allergen.attempt_failed", Version: 1, Time: menutest.Start(), Data: g.Data}
	line := envelope.Append(nil)
	var got struct {
		Data menu.StageAttemptFailed `json:"data"`
		Seq  uint64                  `json:"seq"`
	}
	if err := json.Unmarshal(line, &got); err != nil || got.Seq != 7 || got.Data.Reason != "timeout" {
		t.Fatalf("%s: %v", line, err)
	}
	if !strings.Contains(string(line), `"provider":""`) || strings.Contains(string(line), "\n") {
		t.Errorf("version 1 goes out as %s", line)
	}
	envelope.Version = 99
	if body := string(envelope.Body()); strings.Contains(body, "provider") {
		t.Errorf("a version from the future goes out as %s", body)
	}
}

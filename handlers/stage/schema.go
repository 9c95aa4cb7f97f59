package stage

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"kondate/domain/menu"
)

// maxFindings bounds how many faults of one result an error names.
const maxFindings = 5

//go:embed schemas
var schemaFiles embed.FS

// schemas are what a result and its data have to look like.
type schemas struct {
	envelope *jsonschema.Schema
	data     [menu.StageCount]*jsonschema.Schema
}

// loadSchemas compiles the schemas on first use.
var loadSchemas = sync.OnceValues(compileSchemas) //nolint:gochecknoglobals // a function

func compileSchemas() (*schemas, error) {
	var (
		s   schemas
		err error
	)
	if s.envelope, err = compile("envelope"); err != nil {
		return nil, err
	}
	for _, stage := range menu.Stages() {
		if s.data[stage], err = compile(stage.String()); err != nil {
			return nil, err
		}
	}
	return &s, nil
}

// DataSchema returns the JSON Schema of what a stage finds: the member data of its results.
func DataSchema(stage menu.Stage) ([]byte, error) { return readSchema(stage.String()) }

// EnvelopeSchema returns the JSON Schema of a result as it comes from outside.
func EnvelopeSchema() ([]byte, error) { return readSchema("envelope") }

func readSchema(name string) ([]byte, error) {
	raw, err := schemaFiles.ReadFile("schemas/" + name + ".json")
	if err != nil {
		return nil, fmt.Errorf("read the schema %s: %w", name, err)
	}
	return raw, nil
}

func compile(name string) (*jsonschema.Schema, error) {
	file := "schemas/" + name + ".json"
	raw, err := readSchema(name)
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("read the schema %s: %w", name, err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(file, doc); err != nil {
		return nil, fmt.Errorf("compile the schema %s: %w", name, err)
	}
	compiled, err := c.Compile(file)
	if err != nil {
		return nil, fmt.Errorf("compile the schema %s: %w", name, err)
	}
	return compiled, nil
}

// ErrOtherStage is matched by the error of [ValidateResult] for a result that is of another stage than asked.
var ErrOtherStage = errors.New("the result is of another stage")

// ValidateResult reads a result that comes from outside: the envelope strictly, the data in the stage's schema. The error
// names each fault with its path in the result, such as data.serving.
func ValidateResult(stage menu.Stage, raw []byte) (menu.Result, error) {
	if stage >= menu.StageCount {
		return menu.Result{}, fmt.Errorf("there is no stage number %d", uint8(stage))
	}
	known, err := loadSchemas()
	if err != nil {
		return menu.Result{}, err
	}
	doc, err := DecodeStrict(raw)
	if err != nil {
		return menu.Result{}, err
	}
	if err := known.envelope.Validate(doc); err != nil {
		return menu.Result{}, findings(nil, err)
	}
	fields, _ := doc.(map[string]any) // the envelope's schema says so
	if name := fields["stage"]; name != stage.String() {
		return menu.Result{}, fmt.Errorf("%w: stage: %q, asked was %q", ErrOtherStage, name, stage)
	}
	data := fields["data"]
	if data != nil {
		if err := known.data[stage].Validate(data); err != nil {
			return menu.Result{}, findings([]string{"data"}, err)
		}
	}
	var r menu.Result
	if err := json.Unmarshal(raw, &r); err != nil {
		return menu.Result{}, fmt.Errorf("decode the result: %w", err)
	}
	if data == nil && (r.Status == menu.StatusOK || r.Status == menu.StatusPartial) {
		return menu.Result{}, fmt.Errorf("data: null with status %q: send data, or status unknown or skipped", r.Status)
	}
	// What is kept is written by us: the escapes of another encoder may stand for what a database refuses.
	if r.Data, err = encode(data); err != nil {
		return menu.Result{}, err
	}
	return r, r.Validate()
}

// encode writes a decoded value as compact JSON.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode the result's data: %w", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// findings puts what a schema finds wrong into one error, each fault with its path.
func findings(at []string, err error) error {
	if _, ok := errors.AsType[*jsonschema.ValidationError](err); !ok {
		return err
	}
	texts := Findings(at, err)
	if more := len(texts) - maxFindings; more > 0 {
		texts = append(texts[:maxFindings], fmt.Sprintf("and %d more", more))
	}
	return errors.New(strings.Join(texts, "; "))
}

// Findings returns what a schema finds wrong, each fault with its place in the document under at; of any
// other error its text.
func Findings(at []string, err error) []string {
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return []string{err.Error()}
	}
	var (
		texts   []string
		printer = message.NewPrinter(language.English)
		walk    func(*jsonschema.ValidationError)
	)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 {
			texts = append(texts, path(append(slices.Clip(at), e.InstanceLocation...))+": "+e.ErrorKind.LocalizedString(printer))
		}
		for _, cause := range e.Causes {
			walk(cause)
		}
	}
	walk(invalid)
	return texts
}

// path writes a place in a document as a.b[0].c.
func path(tokens []string) string {
	if len(tokens) == 0 {
		return "the result"
	}
	var b strings.Builder
	for _, token := range tokens {
		if _, err := strconv.Atoi(token); err == nil {
			b.WriteString("[" + token + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(token)
	}
	return b.String()
}

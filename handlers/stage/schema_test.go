package stage_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"kondate/domain/menu"
	"kondate/handlers/stage"
)

// sound is a result that fits.
const sound = `{"stage":"description","status":"ok","provider":"w","basis":"model","confidence":0.5,` +
	`"data":{"description":"Rice & egg","serving":"hot","raw":"cooked","how_to_eat":null,"region":null}}`

func TestValidateResult(t *testing.T) {
	t.Parallel()
	r, err := stage.ValidateResult(menu.Description, []byte(sound))
	if err != nil {
		t.Fatal(err)
	}
	if r.Stage != menu.Description || r.Status != menu.StatusOK || r.Provider != "w" || r.Confidence != 0.5 ||
		string(r.Data) != `{"description":"Rice & egg","how_to_eat":null,"raw":"cooked","region":null,"serving":"hot"}` {
		t.Errorf("result %+v, data %s", r, r.Data)
	}
	edits := map[string]struct{ from, to, want string }{
		"UnknownField":     {`"provider":"w"`, `"provider":"w","safe":true`, "additional properties 'safe' not allowed"},
		"OtherCase":        {`"provider":"w"`, `"Provider":"w"`, "missing property 'provider'"},
		"Failed":           {`"ok"`, `"failed"`, "status: "},
		"NoProvider":       {`"w"`, `""`, "provider: "},
		"Basis":            {`"model"`, `"guess"`, "basis: "},
		"Confidence":       {`0.5`, `1.5`, "confidence: "},
		"OtherStage":       {`"stage":"description"`, `"stage":"allergen"`, `stage: "allergen"`},
		"DataField":        {`"serving":"hot"`, `"serving":"warm"`, "data.serving: "},
		"DataUnknownField": {`"region":null`, `"region":null,"x":1`, "data: additional properties 'x' not allowed"},
		"DataText":         {`"Rice & egg"`, `7`, "data.description: got number, want string"},
		"RepeatedKey":      {`"region":null`, `"region":null,"raw":"raw"`, "data.raw: the key is there twice"},
		"NUL":              {`Rice`, `\u0000`, "data.description: the text holds a NUL"},
		"UTF8":             {`Rice`, "\xff", "not valid UTF-8"},
		"Trailing":         {`null}}`, `null}} {}`, "something follows"},
		"Cut":              {`null}}`, `null}`, "not valid JSON"},
		"HugeNumber":       {`0.5`, `1e999999999`, "confidence: the number is out of range"},
		"TinyNumber":       {`0.5`, `1e-999999999`, "confidence: the number is out of range"},
		"Depth":            {`"region":null`, `"region":` + strings.Repeat("[", 100) + strings.Repeat("]", 100), "nests deeper"},
		"Empty":            {sound, ``, "empty"},
		"NoObject":         {sound, `7`, "the result: "},
		"Elapsed":          {`"basis"`, `"elapsed_ms":-1,"basis"`, "elapsed_ms: "},
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := strings.Replace(sound, edit.from, edit.to, 1)
			_, err := stage.ValidateResult(menu.Description, []byte(raw))
			if err == nil || !strings.Contains(err.Error(), edit.want) {
				t.Errorf("err = %v, want one that says %q", err, edit.want)
			}
			if errors.Is(err, stage.ErrOtherStage) != (name == "OtherStage") {
				t.Errorf("err = %v: is ErrOtherStage or not", err)
			}
		})
	}
}

// A result that says nothing has no data; one that claims to be good needs some.
func TestValidateResultWithoutData(t *testing.T) {
	t.Parallel()
	for status, fits := range map[string]bool{"unknown": true, "skipped": true, "ok": false, "partial": false} {
		raw := `{"stage":"allergen","status":"` + status + `","provider":"w","basis":"none","confidence":0,"data":null}`
		r, err := stage.ValidateResult(menu.Allergen, []byte(raw))
		if (err == nil) != fits || fits && string(r.Data) != "null" {
			t.Errorf("%s without data: %s, %v", status, r.Data, err)
		}
	}
}

// A lone surrogate is text to a decoder of JSON, and nothing a database takes.
func TestValidateResultWritesDataAnew(t *testing.T) {
	t.Parallel()
	raw := strings.Replace(sound, "Rice & egg", `\ud800 <b>`, 1)
	r, err := stage.ValidateResult(menu.Description, []byte(raw))
	if err != nil || !strings.Contains(string(r.Data), "\"\uFFFD <b>\"") {
		t.Errorf("data %s, %v", r.Data, err)
	}
}

func FuzzValidateResult(f *testing.F) {
	f.Add([]byte(sound))
	for _, s := range menu.Stages() {
		raw, err := os.ReadFile("schemas/" + s.String() + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := stage.ValidateResult(menu.Description, raw)
		if err != nil {
			return
		}
		if err := r.Validate(); err != nil || !json.Valid(r.Data) {
			t.Errorf("a result that is unfit for the log passed: %v, %s", err, raw)
		}
	})
}

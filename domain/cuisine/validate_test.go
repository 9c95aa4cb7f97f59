package cuisine_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"kondate/domain/cuisine"
)

// embedded copies the real data, so that a test can break one line of it.
func embedded(t *testing.T) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	files, err := fs.Glob(cuisine.Embedded, "data/*.json*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := fs.ReadFile(cuisine.Embedded, f)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimPrefix(f, "data/")] = &fstest.MapFile{Data: b}
	}
	return out
}

func TestLoadRefusesContradictions(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, file, line, want string }{
		{"food group", "ingredients.jsonl", `{"id":"x","n":"ゾゾ","e":"zozo","g":"stone"}`, `food group "stone"`},
		{"no food group", "ingredients.jsonl", `{"id":"x","n":"ゾゾ","e":"zozo"}`, `food group ""`},
		{"leaf", "ingredients.jsonl", `{"id":"x","n":"ゾゾ","e":"zozo","g":"fruit","a":"gluten"}`, `unknown allergen leaf "gluten"`},
		{"id twice", "ingredients.jsonl", `{"id":"chicken","n":"ゾゾ","e":"zozo","g":"meat"}`, `used twice`},
		{"spelling twice", "ingredients.jsonl", `{"id":"x","n":"ゾゾ/エビ","e":"zozo","g":"fruit"}`, `duplicate spelling "エビ", also of shrimp`},
		{"dish spelling twice", "dishes_soba.jsonl", `{"n":"おやこ丼=おやこどん","e":"Zozo","f":"soba"}`, `duplicate spelling "おやこ丼"`},
		{"no reading", "dishes_soba.jsonl", `{"n":"謎丼","e":"Zozo","f":"soba"}`, `no reading for "謎丼"`},
		{"unknown ingredient", "dishes_soba.jsonl", `{"n":"ゾゾ","e":"Zozo","f":"soba","i":"unobtainium"}`, `unknown ingredient "unobtainium"`},
		{"unknown family", "dishes_soba.jsonl", `{"n":"ゾゾ","e":"Zozo","f":"mars"}`, `unknown family "mars"`},
		{"diet", "dishes_soba.jsonl", `{"n":"ゾゾ","e":"Zozo","f":"soba","i":"tofu | | dashi","v":"vegan"}`, `diet "vegan" contradicts ingredient "dashi"`},
		{"cooked but raw", "dishes_soba.jsonl", `{"n":"ゾゾ","e":"Zozo","f":"soba","i":"tuna!","r":"cooked"}`, `cooked, but "tuna"`},
		{"unknown key", "dishes_soba.jsonl", `{"n":"ゾゾ","e":"Zozo","f":"soba","allergens":"none"}`, `unknown field "allergens"`},
		{"long name", "dishes_soba.jsonl", `{"n":"ゾゾ","e":"` + strings.Repeat("Z", 61) + `","f":"soba"}`, `61 characters`},
		{"template", "heads.jsonl", `{"id":"x","n":"ゾゾ","e":"zozo"}`, `needs one {}`},
		{"role", "modifiers.jsonl", `{"n":"ゾゾ","e":"zozo","w":"verb"}`, `unknown role "verb"`},
		{"category head", "categories.jsonl", `{"id":"x","n":"ゾゾ","e":"Zozo","em":"🍙","hd":"nothing"}`, `unknown head "nothing"`},
		{"file", "notes.jsonl", `{}`, `no kind of record`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			data := embedded(t)
			old := []byte(nil)
			if f := data[tt.file]; f != nil {
				old = f.Data
			}
			data[tt.file] = &fstest.MapFile{Data: append(append([]byte(nil), old...), []byte("\n"+tt.line+"\n")...)}
			_, err := cuisine.LoadFS(data)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestVersionFollowsTheData(t *testing.T) {
	t.Parallel()
	data := embedded(t)
	before, err := cuisine.LoadFS(data)
	if err != nil {
		t.Fatal(err)
	}
	f := data["dishes_soba.jsonl"]
	f.Data = append(f.Data, []byte("\n"+`{"n":"ゾゾ","e":"Zozo","f":"soba"}`)...)
	after, err := cuisine.LoadFS(data)
	if err != nil {
		t.Fatal(err)
	}
	if before.Version() == after.Version() || before.Version() != load(t).Version() {
		t.Errorf("versions %s, %s, loaded %s", before.Version(), after.Version(), load(t).Version())
	}
}

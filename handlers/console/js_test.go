package console_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kondate/domain/cuisine"
)

// The parts of the page that need no browser have tests in JavaScript.
func TestJavaScript(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/js/*.test.js")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d tests: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".test.js"), func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=tap", file).CombinedOutput()
			if err != nil || !regexp.MustCompile(`(?m)^# pass [1-9]`).Match(out) {
				t.Errorf("%v (.ci/need node installs it if it is missing)\n%s", err, out)
			}
		})
	}
}

// The page has a name for every allergen and every item of the laws that the answers can hold.
func TestPageNamesEveryAllergen(t *testing.T) {
	t.Parallel()
	knowledge, err := cuisine.Load()
	if err != nil {
		t.Fatal(err)
	}
	_, names := get(t, "/console/codes.js")
	named := func(code string) bool { return regexp.MustCompile(`\b` + code + `: \["`).MatchString(names) }
	for _, leaf := range knowledge.Allergens() {
		if !named(leaf.Code) {
			t.Errorf("the allergen %s has no name in codes.js", leaf.Code)
		}
		for _, law := range []cuisine.Law{cuisine.LawJapan, cuisine.LawEU, cuisine.LawUS} {
			for _, item := range knowledge.ByLaw(law, []string{leaf.Code}) {
				if !named(item) {
					t.Errorf("%s of the law %s has no name in codes.js", item, law)
				}
			}
		}
	}
}

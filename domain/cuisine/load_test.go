package cuisine_test

import (
	"testing"

	"kondate/domain/cuisine"
)

// load returns the shared knowledge.
func load(tb testing.TB) *cuisine.Knowledge {
	tb.Helper()
	k, err := cuisine.Load()
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func TestLoadValidatesTheData(t *testing.T) {
	t.Parallel()
	dishes, ingredients := load(t).Size()
	if dishes < 1700 || ingredients < 1100 {
		t.Fatalf("%d dishes and %d ingredients, want at least 1700 and 1100", dishes, ingredients)
	}
}

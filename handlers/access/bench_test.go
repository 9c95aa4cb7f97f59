package access_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kondate/handlers/access"
)

// BenchmarkFind looks for a key among a thousand, the look at the file included.
func BenchmarkFind(b *testing.B) {
	path := filepath.Join(b.TempDir(), "keys.json")
	keys := make([]access.Key, 1000)
	var secret string
	for i := range keys {
		keys[i], secret = newKey(b)
	}
	raw, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		b.Fatal(err)
	}
	opened, err := access.OpenKeys(path, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, ok := opened.Find(secret, time.Now()); !ok {
			b.Fatal("not found")
		}
	}
}

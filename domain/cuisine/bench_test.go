package cuisine_test

import (
	"io/fs"
	"testing"

	"kondate/domain/cuisine"
)

// BenchmarkMenu answers 20 dishes with all eight stages; the goal is 5 ms.
func BenchmarkMenu(b *testing.B) {
	k, qs := load(b), menus(b)[:20]
	b.ReportAllocs()
	for b.Loop() {
		for _, q := range qs {
			stages(k.Read(q))
		}
	}
}

// BenchmarkRead resolves one composed name.
func BenchmarkRead(b *testing.B) {
	k := load(b)
	b.ReportAllocs()
	for b.Loop() {
		k.Read(cuisine.Query{Name: "海老とブロッコリーのクリームパスタ", Category: "パスタ", SourceLanguage: "ja", TargetLanguage: "en"})
	}
}

// BenchmarkLoad parses and validates all data; the goal is 50 ms.
func BenchmarkLoad(b *testing.B) {
	fsys, err := fs.Sub(cuisine.Embedded, "data")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := cuisine.LoadFS(fsys); err != nil {
			b.Fatal(err)
		}
	}
}

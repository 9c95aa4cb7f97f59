package image_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	stdimage "image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"kondate/handlers/image"
)

var oyakodon = image.Card{
	Name: "親子丼", Reading: "おやこどん", Romaji: "oyakodon", Translation: "Chicken and egg rice bowl", Price: "850円",
	Description:    "Chicken and onion simmered in a sweet soy broth and bound with soft egg, on a bowl of rice.",
	SourceLanguage: "ja", TargetLanguage: "en", Spiciness: 2, Marks: []image.Words{{Ja: "生卵", En: "Raw egg"}},
	Allergens: []image.Allergen{
		{Level: image.Contains, Names: image.Words{Ja: "卵", En: "egg"}},
		{Level: image.Likely, Names: image.Words{Ja: "さば", En: "mackerel"}},
		{Level: image.MayContain, Names: image.Words{Ja: "かに", En: "crab"}},
	},
}

func lines(t *testing.T, c image.Card) []string {
	t.Helper()
	all, err := image.Lines(c)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, l := range all {
		texts = append(texts, l.Text)
	}
	return texts
}

func TestCardSaysWhatIsKnown(t *testing.T) {
	t.Parallel()
	got := lines(t, oyakodon)
	for _, want := range []string{
		"親子丼", "おやこどん　oyakodon", "Chicken and egg rice bowl", "850円", "アレルゲン Allergens", "卵 egg", "Contains", "含む", "さば mackerel",
		"Likely", "かに crab", "May contain", "辛さ Spicy", "生卵 Raw egg",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no line %q in %q", want, got)
		}
	}
	if text := strings.Join(got, "\n"); !strings.Contains(text, "inferred from the dish's name") || !strings.Contains(text, "料理名からの推定") {
		t.Errorf("the footer is missing: %q", got)
	}
}

func TestCardSaysWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]image.Card{
		"Nothing":   {SourceLanguage: "ja", TargetLanguage: "en"},
		"OnlyAName": {Name: "謎の一皿", SourceLanguage: "ja", TargetLanguage: "fr"},
		"Reverse":   {Name: "Mystery plate", SourceLanguage: "en", TargetLanguage: "ja-JP"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := lines(t, c)
			for _, want := range []string{"アレルゲン不明：お店の人に確認してください", "Allergens not known: ask the staff", "翻訳はありません / No translation"} {
				if !slices.Contains(got, want) {
					t.Errorf("no line %q in %q", want, got)
				}
			}
			for _, line := range got {
				if strings.Contains(line, "Contains") || strings.Contains(strings.ToLower(line), "free") {
					t.Errorf("the card claims %q", line)
				}
			}
		})
	}
}

// svgElements are all that a card's SVG is made of.
var svgElements = []string{"svg", "title", "desc", "defs", "path", "g", "use", "image"}

type fataler interface{ Fatalf(string, ...any) }

// checkSVG draws a card as SVG and reads it back.
func checkSVG(t fataler, c image.Card) []byte {
	svg, err := c.SVG()
	if err != nil {
		t.Fatalf("SVG: %v", err)
	}
	decoder := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the SVG is no XML: %v", err)
		}
		if start, is := token.(xml.StartElement); is {
			if !slices.Contains(svgElements, start.Name.Local) {
				t.Fatalf("the SVG has an element %s", start.Name.Local)
			}
			for _, a := range start.Attr {
				if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "href" && !strings.HasPrefix(a.Value, "#g") && !strings.HasPrefix(a.Value, "data:image/jpeg;base64,") {
					t.Fatalf("the SVG has the attribute %s=%.40q", a.Name.Local, a.Value)
				}
			}
		}
	}
	return svg
}

// check draws both forms of a card and reads them back.
func check(t fataler, c image.Card) (svg []byte, drawn stdimage.Image) {
	svg = checkSVG(t, c)
	encoded, err := c.PNG()
	if err != nil {
		t.Fatalf("PNG: %v", err)
	}
	if drawn, err = png.Decode(bytes.NewReader(encoded)); err != nil || drawn.Bounds() != stdimage.Rect(0, 0, 1480, 1050) {
		t.Fatalf("the PNG: %v, %v", drawn.Bounds(), err)
	}
	return svg, drawn
}

func TestCardTakesNastyTexts(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("..", "..", "domain", "cuisine", "testdata", "nasty_inputs.json"))
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	var collect func(any)
	collect = func(v any) {
		switch v := v.(type) {
		case string:
			texts = append(texts, v)
		case []any:
			for _, e := range v {
				collect(e)
			}
		case map[string]any:
			for _, e := range v {
				collect(e)
			}
		}
	}
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	collect(doc)
	if len(texts) < 97 {
		t.Fatalf("%d texts", len(texts))
	}
	texts = append(texts, strings.Repeat("鰻", 512), strings.Repeat("W", 512), "\u202eمرحبا", "🍣👩‍🍳", "a\x00b\x1f\ufffe", `</title><script>alert(1)</script>`, "\xff\xfe")
	for i := 0; i+5 < len(texts); i += 6 {
		c := image.Card{
			Name: texts[i], Reading: texts[i+1], Romaji: texts[i+2], Translation: texts[i+3], Description: texts[i+4], Price: texts[i+5],
			SourceLanguage: texts[i], TargetLanguage: texts[i+1], Allergens: []image.Allergen{{Level: image.Contains, Names: image.Words{Ja: texts[i+2], En: texts[i+3]}}},
			Marks: []image.Words{{Ja: texts[i+4], En: texts[i+5]}},
		}
		if checkSVG(t, c); i%60 == 0 { // pixels take longer, and come from the same drawing
			check(t, c)
		}
	}
}

// A menu's text is never lost without a sign: what the font lacks is a box.
func TestCardShowsABoxForEveryCharacterItLacks(t *testing.T) {
	t.Parallel()
	svg, _ := check(t, image.Card{Name: "김치 🍣 \u3164 العربية", SourceLanguage: "ko", TargetLanguage: "en"})
	// Bold: each is drawn three times.
	if got, want := bytes.Count(svg, []byte(`href="#g-1"`)), 3*(2+1+1+7); got != want {
		t.Errorf("%d boxes, want %d", got, want)
	}
	svg, _ = check(t, oyakodon)
	if bytes.Contains(svg, []byte("#g-1")) {
		t.Error("a box on a card whose characters the font has")
	}
	svg, _ = check(t, image.Card{Name: "Ōsaka kūki jūbako ā ē ī 鱧 鰆 鱶", SourceLanguage: "ja", TargetLanguage: "en"})
	if bytes.Contains(svg, []byte("#g-1")) {
		t.Error("the font lacks macrons or fish")
	}
}

// The levels are told apart in black and white: by what their frames are filled with.
func TestCardLevelsDifferInBlackAndWhite(t *testing.T) {
	t.Parallel()
	all, err := image.Lines(oyakodon)
	if err != nil {
		t.Fatal(err)
	}
	_, drawn := check(t, oyakodon)
	ink := map[string]int{}
	for _, l := range all {
		if !slices.Contains([]string{"卵 egg", "さば mackerel", "かに crab"}, l.Text) {
			continue
		}
		dark := 0
		for x := int(l.Left) - 18; x < int(l.Left)-4; x++ { // from outside the frame to before the text
			for y := int(l.Top); y < int(l.Bottom); y++ {
				if c := color.GrayModel.Convert(drawn.At(x, y)).(color.Gray); c.Y < 128 {
					dark++
				}
			}
		}
		ink[l.Text] = dark * 100 / int(14*(l.Bottom-l.Top))
	}
	if ink["卵 egg"] < 90 || ink["さば mackerel"] < 20 || ink["さば mackerel"] > 60 || ink["かに crab"] >= ink["さば mackerel"]-10 || ink["かに crab"] == 0 {
		t.Errorf("percent of ink beside the texts: %v", ink)
	}
}

// painted is a picture as a painter may send it.
func painted(t *testing.T, w, h int) []byte {
	t.Helper()
	img := stdimage.NewRGBA(stdimage.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = byte(i * 7)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCardIllustrate(t *testing.T) {
	t.Parallel()
	c := oyakodon
	if err := c.Illustrate(painted(t, 90, 60)); err != nil {
		t.Fatal(err)
	}
	svg, drawn := check(t, c)
	if !bytes.Contains(svg, []byte("data:image/jpeg;base64,")) {
		t.Error("the SVG has no picture")
	}
	if _, is := drawn.(*stdimage.Gray); is {
		t.Error("the PNG has no colours")
	}
	got := lines(t, c)
	for _, want := range []string{"生成画像（実際の料理ではありません）", "Generated picture, not the dish itself"} {
		if !slices.Contains(got, want) {
			t.Errorf("no label %q in %q", want, got)
		}
	}
	for name, bad := range map[string][]byte{
		"Empty": nil, "Text": []byte("<svg/>"), "Cut": painted(t, 90, 60)[:700],
		// 65,535 x 65,535 pixels in a header of a few bytes.
		"Bomb": []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02L\x01\x00;"),
	} {
		c := oyakodon
		if err := c.Illustrate(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
		if slices.Contains(lines(t, c), "Generated picture, not the dish itself") {
			t.Errorf("%s: a label without a picture", name)
		}
	}
}

// Whatever a card has to show, nothing lies on top of another and nothing leaves the sheet.
func TestCardLayoutNeverOverlaps(t *testing.T) {
	t.Parallel()
	var illustrated image.Card
	if err := illustrated.Illustrate(painted(t, 64, 64)); err != nil {
		t.Fatal(err)
	}
	word := rapid.SampledFrom([]string{"鰻", "Wasabi", "ー", "a", " ", "（", "御膳", "Köttbullar", "🍣", "mille-feuille", "。", "\n"})
	text := func(most int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(word, 0, most).Draw(t, "words"), "") })
	}
	words := rapid.Custom(func(t *rapid.T) image.Words {
		return image.Words{Ja: text(8).Draw(t, "ja"), En: text(8).Draw(t, "en")}
	})
	allergen := rapid.Custom(func(t *rapid.T) image.Allergen {
		return image.Allergen{Level: rapid.SampledFrom([]image.Level{image.Contains, image.Likely, image.MayContain}).Draw(t, "level"), Names: words.Draw(t, "names")}
	})
	rapid.Check(t, func(t *rapid.T) {
		language := rapid.SampledFrom([]string{"ja", "en"})
		var c image.Card
		if rapid.Bool().Draw(t, "picture") {
			c = illustrated
		}
		c.Name, c.Reading, c.Romaji = text(60).Draw(t, "name"), text(30).Draw(t, "reading"), text(30).Draw(t, "romaji")
		c.Translation, c.Description, c.Price = text(60).Draw(t, "translation"), text(200).Draw(t, "description"), text(12).Draw(t, "price")
		c.Allergens, c.Marks = rapid.SliceOfN(allergen, 0, 45).Draw(t, "allergens"), rapid.SliceOfN(words, 0, 9).Draw(t, "marks")
		c.Spiciness = rapid.IntRange(0, 4).Draw(t, "spiciness")
		c.SourceLanguage, c.TargetLanguage = language.Draw(t, "source"), language.Draw(t, "target")
		all, err := image.Lines(c)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range all {
			if a.Left < 16 || a.Right > 1464 || a.Top < 16 || a.Bottom > 1034 {
				t.Fatalf("%q leaves the sheet: %+v", a.Text, a)
			}
			for _, b := range all[:i] {
				if a.Text != " " && b.Left < a.Right && a.Left < b.Right && b.Top < a.Bottom && a.Top < b.Bottom {
					t.Fatalf("%+v lies on %+v", a, b)
				}
			}
		}
	})
}

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		" a\t\r\n b ": "a b", "か\u3099": "が", "a\u202eb\u200b\ufe0f": "ab", "\x00": "", "a\xffb": "a\ufffdb", "　全角　": "全角",
	} {
		if got := image.Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzCard(f *testing.F) {
	f.Add("親子丼", "Chicken and egg", "850円")
	f.Add("\u202e<b>", "&amp;\x00", strings.Repeat("9", 128))
	f.Fuzz(func(t *testing.T, name, translation, price string) {
		checkSVG(t, image.Card{Name: name, Translation: translation, Description: name + translation, Price: price, SourceLanguage: "ja", TargetLanguage: "en"})
	})
}

func ExampleCard_SVG() {
	svg, err := image.Card{Name: "親子丼", Translation: "Chicken and egg rice bowl", SourceLanguage: "ja", TargetLanguage: "en"}.SVG()
	if err != nil {
		panic(err)
	}
	_, title, _ := strings.Cut(string(svg), "<title>")
	title, _, _ = strings.Cut(title, "</title>")
	fmt.Println(title)
	// Output: 親子丼 / Chicken and egg rice bowl
}

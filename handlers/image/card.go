package image

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	_ "image/png" // a form that painters answer in

	xdraw "golang.org/x/image/draw"
	_ "golang.org/x/image/webp" // a form that painters answer in
)

// Level says how sure it is that an allergen is in a dish.
type Level string

// The levels, the surest first. There is none for "not in it".
const (
	Contains   Level = "contains"
	Likely     Level = "likely"
	MayContain Level = "may_contain"
)

// Allergen is one allergen of a card.
type Allergen struct {
	Level Level
	Names Words
}

// Words is a text in the languages that a card can speak.
type Words struct{ Ja, En string }

// Card is what the picture of a dish shows. Texts may be anything: they are cleaned, wrapped and cut to fit. An empty text is
// not known, and either not shown or said to be unknown; the zero card is a dish of which nothing is known.
type Card struct {
	Name        string // as the menu prints it
	Reading     string // in kana
	Romaji      string
	Translation string
	Description string
	Price       string // as the menu prints it

	Allergens []Allergen // empty: not known
	Marks     []Words    // of diet: "Raw fish"; none that says "free of"
	Spiciness int        // 1 to 4; 0: nothing is known of it

	SourceLanguage string // BCP 47, of Name
	TargetLanguage string // of Translation

	picture *picture
}

// maxPixels bounds the size of a painted picture, and with it the memory that reading one takes.
const maxPixels = 32 << 20

// pictureSize is the edge of the square that a painted picture is brought to, in pixels.
const pictureSize = 440

// errPicture is matched by the error of a painted picture that cannot be used.
var errPicture = errors.New("the painted picture cannot be used")

// Illustrate puts a painted picture on the card, PNG, JPEG, GIF or WebP, its middle cut to a square. The card then says below it that it is
// generated. Only pixels are taken over: whatever else the file holds is dropped.
func (c *Card) Illustrate(painted []byte) error {
	config, _, err := image.DecodeConfig(bytes.NewReader(painted))
	if err != nil {
		return fmt.Errorf("%w: %w", errPicture, err)
	}
	if config.Width < 1 || config.Height < 1 || config.Width > maxPixels/config.Height {
		return fmt.Errorf("%w: it has %d x %d pixels", errPicture, config.Width, config.Height)
	}
	img, _, err := image.Decode(bytes.NewReader(painted))
	if err != nil {
		return fmt.Errorf("%w: %w", errPicture, err)
	}
	bounds := img.Bounds()
	edge := min(bounds.Dx(), bounds.Dy())
	left, top := bounds.Min.X+(bounds.Dx()-edge)/2, bounds.Min.Y+(bounds.Dy()-edge)/2
	small := image.NewRGBA(image.Rect(0, 0, pictureSize, pictureSize))
	draw.Draw(small, small.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	xdraw.CatmullRom.Scale(small, small.Bounds(), img, image.Rect(left, top, left+edge, top+edge), draw.Over, nil)
	var encoded bytes.Buffer
	if err := jpeg.Encode(&encoded, small, &jpeg.Options{Quality: 88}); err != nil {
		return fmt.Errorf("%w: %w", errPicture, err)
	}
	c.picture = &picture{img: small, jpeg: encoded.Bytes()}
	return nil
}

// SVG returns the card as an SVG document of 148 x 105 mm. It needs no font and loads nothing.
func (c Card) SVG() ([]byte, error) {
	d, err := c.draw()
	if err != nil {
		return nil, err
	}
	return d.svg()
}

// PNG returns the card as a PNG of 1480 x 1050 pixels, which is 254 to the inch.
func (c Card) PNG() ([]byte, error) {
	d, err := c.draw()
	if err != nil {
		return nil, err
	}
	return d.png()
}

// languages says which of the languages that a card can speak it speaks: Japanese where the menu or its reader does, and
// English for every other language.
func (c Card) languages() (ja, en bool) {
	for _, tag := range []string{c.SourceLanguage, c.TargetLanguage} {
		if isJapanese(tag) {
			ja = true
		} else {
			en = true
		}
	}
	return ja, en
}

func isJapanese(tag string) bool { return tag == "ja" || len(tag) > 2 && tag[:3] == "ja-" }

// sentences are what a card says by itself.
type sentences struct {
	allergens, unknown, untranslated, more, spicy, generated, footer Words

	levels map[Level]Words
}

var say = sentences{ //nolint:gochecknoglobals // a constant; Go has no constant structs
	allergens:    Words{"アレルゲン", "Allergens"},
	unknown:      Words{"アレルゲン不明：お店の人に確認してください", "Allergens not known: ask the staff"},
	untranslated: Words{"翻訳はありません", "No translation"},
	more:         Words{"ほかにもあります：お店の人に確認してください", "There are more: ask the staff"},
	spicy:        Words{"辛さ", "Spicy"},
	generated:    Words{"生成画像（実際の料理ではありません）", "Generated picture, not the dish itself"},
	footer: Words{
		"表示は料理名からの推定で、お店の表示ではありません。ここにないものが入っていることもあります。ご注文の前にお店の人に確認してください。",
		"The marks are inferred from the dish's name, not declared by the kitchen. More may be in it than is shown: ask the staff before you order.",
	},
	levels: map[Level]Words{
		Contains: {"含む", "Contains"}, Likely: {"含む可能性が高い", "Likely"}, MayContain: {"含むことがある", "May contain"},
	},
}

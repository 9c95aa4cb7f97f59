package image

import (
	_ "embed" // the font
	"fmt"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/image/font"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"golang.org/x/text/unicode/norm"
)

//go:embed font/VL-PGothic-subset.ttf
var fontFile []byte

// em is the number of units in which the font, and the box for a missing glyph, is drawn.
const em = 1000

// glyph is the outline of one character at a size of em units, its baseline at 0 and y growing downwards.
type glyph struct {
	id      int // the glyph's number in the font; negative: the box
	advance float32
	outline path
}

// typeface looks characters up in the font. It is safe for concurrent use.
type typeface struct {
	font *sfnt.Font
	box  *glyph // stands for what the font lacks

	mu     sync.Mutex // guards the fields below
	buffer sfnt.Buffer
	glyphs map[rune]*glyph
}

// loadFont parses the embedded font on first use.
var loadFont = sync.OnceValues(func() (*typeface, error) { //nolint:gochecknoglobals // a function
	f, err := sfnt.Parse(fontFile)
	if err != nil {
		return nil, fmt.Errorf("parse the embedded font: %w", err)
	}
	return &typeface{font: f, box: &glyph{id: -1, advance: em, outline: boxOutline()}, glyphs: map[rune]*glyph{}}, nil
})

// glyph returns a character's outline. A character that the font lacks, or shows as nothing, is a box: it never vanishes.
func (t *typeface) glyph(r rune) *glyph {
	t.mu.Lock()
	defer t.mu.Unlock()
	if g := t.glyphs[r]; g != nil {
		return g
	}
	g := t.load(r)
	if g != t.box { // the glyphs of the font are counted, the characters that it lacks are not
		t.glyphs[r] = g
	}
	return g
}

func (t *typeface) load(r rune) *glyph {
	box := t.box
	index, err := t.font.GlyphIndex(&t.buffer, r)
	if err != nil || index == 0 {
		return box
	}
	ppem := fixed.I(em)
	advance, err := t.font.GlyphAdvance(&t.buffer, index, ppem, font.HintingNone)
	if err != nil {
		return box
	}
	segments, err := t.font.LoadGlyph(&t.buffer, index, ppem, nil)
	if err != nil || len(segments) == 0 && !unicode.IsSpace(r) {
		return box
	}
	g := &glyph{id: int(index), advance: float32(advance) / 64}
	point := func(p fixed.Point26_6) point { return point{float32(p.X) / 64, float32(p.Y) / 64} }
	for _, s := range segments {
		switch s.Op {
		case sfnt.SegmentOpMoveTo:
			g.outline.moveTo(point(s.Args[0]))
		case sfnt.SegmentOpLineTo:
			g.outline.lineTo(point(s.Args[0]))
		case sfnt.SegmentOpQuadTo:
			g.outline.quadTo(point(s.Args[0]), point(s.Args[1]))
		case sfnt.SegmentOpCubeTo: // of no TrueType font
			g.outline.lineTo(point(s.Args[2]))
		}
	}
	return g
}

// boxOutline is the frame that stands for a character without a glyph.
func boxOutline() path {
	var p path
	p.rect(120, -760, 760, 760)
	p.hole(180, -700, 640, 640)
	return p
}

// width is the length of a text at a size.
func (t *typeface) width(text string, size float32) float32 {
	var w float32
	for _, r := range text {
		w += t.glyph(r).advance
	}
	return w * size / em
}

// clean makes a foreign text one line that can be drawn: composed, spaces for all white space and control characters, without
// the invisible characters that only steer a reader's display (joiners, directions, variants).
func clean(text string) string {
	var b strings.Builder
	space := false
	for _, r := range norm.NFC.String(strings.ToValidUTF8(text, "\uFFFD")) {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			space = b.Len() > 0
			continue
		case unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r):
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// wrap breaks a clean text into lines of at most width, at most most of them. A text that does not fit ends in "…".
func (t *typeface) wrap(text string, size, width float32, most int) []string {
	var lines []string
	rest := []rune(text)
	for len(rest) > 0 {
		if len(lines) == most-1 {
			return append(lines, t.cut(string(rest), size, width))
		}
		n := t.breakAt(rest, size, width)
		lines = append(lines, strings.TrimSpace(string(rest[:n])))
		rest = []rune(strings.TrimSpace(string(rest[n:])))
	}
	return lines
}

// breakAt returns how many characters go into the first line: always at least one.
func (t *typeface) breakAt(text []rune, size, width float32) int {
	var w float32
	last := 0 // the last good place to break
	for i, r := range text {
		if i > 0 && mayBreak(text[i-1], r) {
			last = i
		}
		if w += t.glyph(r).advance * size / em; w > width && i > 0 && r != ' ' {
			if last > 0 {
				return last
			}
			return i
		}
	}
	return len(text)
}

const (
	neverFirst = "、。，．・：；？！）」』】〕］｝〉》ーぁぃぅぇぉっゃゅょァィゥェォッャュョ々%,.:;!?)]}…’”"
	neverLast  = "（「『【〔［｛〈《([{¥￥$€‘“"
)

// mayBreak says whether a line may end between two characters: at spaces, and around characters of scripts without them.
func mayBreak(before, after rune) bool {
	if before == ' ' || before == '-' || before == '/' {
		return after != ' '
	}
	if after == ' ' || strings.ContainsRune(neverFirst, after) || strings.ContainsRune(neverLast, before) {
		return false
	}
	return unspaced(before) || unspaced(after)
}

// unspaced says whether a character belongs to a script that breaks anywhere.
func unspaced(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) || r >= 0x3000 && r < 0x3040 || r == 'ー' || r >= 0xFF00 && r < 0xFFF0
}

// cut shortens a text to a width, with "…" at its end.
func (t *typeface) cut(text string, size, width float32) string {
	if t.width(text, size) <= width {
		return text
	}
	width -= t.width("…", size)
	var w float32
	for i, r := range text {
		if w += t.glyph(r).advance * size / em; w > width {
			return strings.TrimRight(text[:i], " ,;・、") + "…"
		}
	}
	return text
}

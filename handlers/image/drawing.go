package image

import "image"

// The size of a card in units, ten to a millimetre: a quarter of A4, landscape.
const (
	cardWidth  = 1480
	cardHeight = 1050
)

// tone is a shade of grey, 0 black and 255 white.
type tone uint8

const (
	black tone = 0
	grey  tone = 0x50
	pale  tone = 0xA0
	white tone = 0xFF
)

type point struct{ x, y float32 }

// step is one part of an outline: a move or line to its last point, or a curve to it with a control point before.
type step struct {
	kind byte // as in SVG: M, L or Q
	ctrl point
	to   point
}

// path is an outline of closed shapes, filled where it winds around a point.
type path []step

func (p *path) moveTo(to point)       { *p = append(*p, step{kind: 'M', to: to}) }
func (p *path) lineTo(to point)       { *p = append(*p, step{kind: 'L', to: to}) }
func (p *path) quadTo(ctrl, to point) { *p = append(*p, step{kind: 'Q', ctrl: ctrl, to: to}) }

// rect adds a rectangle.
func (p *path) rect(x, y, w, h float32) {
	p.moveTo(point{x, y})
	p.lineTo(point{x + w, y})
	p.lineTo(point{x + w, y + h})
	p.lineTo(point{x, y + h})
}

// hole adds a rectangle that takes its area out of one around it.
func (p *path) hole(x, y, w, h float32) {
	p.moveTo(point{x, y})
	p.lineTo(point{x, y + h})
	p.lineTo(point{x + w, y + h})
	p.lineTo(point{x + w, y})
}

// frame adds the outline of a rectangle, its line inside it.
func (p *path) frame(x, y, w, h, line float32) {
	p.rect(x, y, w, h)
	p.hole(x+line, y+line, w-2*line, h-2*line)
}

// dashes adds the outline of a rectangle as dashes.
func (p *path) dashes(x, y, w, h, line float32) {
	const dash, gap = 12, 8
	for at := float32(0); at < w; at += dash + gap {
		n := min(dash, w-at)
		p.rect(x+at, y, n, line)
		p.rect(x+at, y+h-line, n, line)
	}
	for at := float32(0); at < h; at += dash + gap {
		n := min(dash, h-at)
		p.rect(x, y+at, line, n)
		p.rect(x+w-line, y+at, line, n)
	}
}

// op is one thing of a drawing: a line of text, a shape or a picture.
type op struct {
	tone tone

	glyphs []*glyph // of a line of text
	at     point    // where its baseline begins
	size   float32

	shape path

	picture *picture
}

// picture is a photograph-like image on a card.
type picture struct {
	img        image.Image
	jpeg       []byte // the same, for SVG
	x, y, w, h float32
}

// drawing is a card as shapes; both forms of the card are made from it.
type drawing struct {
	face  *typeface
	title string // for readers that do not see it
	lines []line // the same, in the order of drawing
	ops   []op
}

// line is a line of text on its place.
type line struct {
	text       string
	at         point // where its baseline begins
	size, long float32
}

// text draws a line of text from a point of its baseline on and returns its length. Bold text is struck twice.
func (d *drawing) text(x, y, size float32, ink tone, bold bool, text string) float32 {
	o := op{tone: ink, at: point{x, y}, size: size}
	for _, r := range text {
		o.glyphs = append(o.glyphs, d.face.glyph(r))
	}
	d.ops = append(d.ops, o)
	if bold {
		o.at.x += size * 0.022
		d.ops = append(d.ops, o)
		o.at.x += size * 0.022
		d.ops = append(d.ops, o)
	}
	long := d.face.width(text, size)
	d.lines = append(d.lines, line{text, point{x, y}, size, long})
	return long
}

func (d *drawing) fill(ink tone, shape path) { d.ops = append(d.ops, op{tone: ink, shape: shape}) }

func (d *drawing) rect(x, y, w, h float32, ink tone) {
	var p path
	p.rect(x, y, w, h)
	d.fill(ink, p)
}

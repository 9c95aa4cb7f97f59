package image

import (
	"fmt"
	"strings"
)

const (
	margin = 64
	right  = cardWidth - margin
	gap    = 24

	footerSize = 21
	footerTop  = cardHeight - 112
)

// layout places a card's parts on a drawing.
type layout struct {
	*drawing

	card   Card
	ja, en bool
	y      float32 // the next free place of the head
}

// draw lays the card out: the dish above, its marks at the bottom, the description in what is left between them.
func (c Card) draw() (*drawing, error) {
	face, err := loadFont()
	if err != nil {
		return nil, err
	}
	l := &layout{drawing: &drawing{face: face}, card: c}
	l.ja, l.en = c.languages()
	for _, text := range []*string{&l.card.Name, &l.card.Reading, &l.card.Romaji, &l.card.Translation, &l.card.Description, &l.card.Price} {
		*text = clean(*text)
	}
	l.title = strings.Trim(l.card.Name+" / "+l.card.Translation, " /")
	var edge path
	edge.frame(16, 16, cardWidth-32, cardHeight-32, 3)
	l.fill(black, edge)
	l.foot()
	bottom := l.marks(footerTop - gap)
	bottom = l.allergens(bottom)
	width := l.illustration(bottom)
	l.head(width, bottom-l.reserve())
	l.description(width, bottom)
	return l.drawing, nil
}

// say returns a sentence in the card's languages, Japanese first.
func (l *layout) say(w Words) []string {
	var lines []string
	if l.ja {
		lines = append(lines, clean(w.Ja))
	}
	if l.en {
		lines = append(lines, clean(w.En))
	}
	return lines
}

// fit finds the largest of the sizes at which a text takes at most lines lines; at the last one it is cut.
func (l *layout) fit(text string, width float32, lines int, sizes ...float32) ([]string, float32) {
	for _, size := range sizes[:len(sizes)-1] {
		if got := l.face.wrap(text, size, width, lines+1); len(got) <= lines {
			return got, size
		}
	}
	size := sizes[len(sizes)-1]
	return l.face.wrap(text, size, width, lines), size
}

// illustration places the picture at the top right, with its label, above bottom, and returns the width that is left beside it.
func (l *layout) illustration(bottom float32) float32 {
	if l.card.picture == nil {
		return right - margin
	}
	const top, pitch = 56, 28
	labels := l.say(say.generated)
	edge := min(400, bottom-top-float32(len(labels))*pitch-6)
	p := *l.card.picture
	p.x, p.y, p.w, p.h = right-edge, top, edge, edge
	l.ops = append(l.ops, op{picture: &p})
	for i, text := range labels {
		size := min(22, 22*edge/(l.face.width(text, 22)+1))
		l.text(p.x, top+edge+float32(i+1)*pitch-4, size, black, true, text)
	}
	return right - margin - edge - 2*gap
}

// head writes the price, the name, how it is read and what it is called in the other language, as large as there is room for
// above bottom.
func (l *layout) head(width, bottom float32) {
	ops, lines := len(l.ops), len(l.lines)
	for _, scale := range []float32{1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.42} {
		l.ops, l.lines = l.ops[:ops], l.lines[:lines]
		l.headAt(width, scale)
		if l.y <= bottom {
			return
		}
	}
}

func (l *layout) headAt(width, scale float32) {
	c := l.card
	nameWidth := width
	l.y = 48
	if c.Price != "" && c.picture == nil {
		lines, size := l.fit(c.Price, 380, 1, 60*scale, 50*scale, 42*scale, 34*scale, 26*scale)
		w := l.face.width(lines[0], size) + 3
		l.text(right-w, l.y+8+size*0.95, size, black, true, lines[0])
		nameWidth -= w + 2*gap
	}
	name := c.Name
	if name == "" {
		name = "？"
	}
	l.block(name, nameWidth, 2, black, true, 92*scale, 80*scale, 68*scale, 56*scale, 46*scale, 38*scale)
	reading := c.Reading
	if reading == c.Name {
		reading = ""
	}
	if reading = strings.Trim(reading+"　"+c.Romaji, " 　"); reading != "" {
		l.block(reading, width, 2, grey, false, 34*scale, 30*scale, 26*scale)
	}
	l.y += 14 * scale
	switch {
	case c.Translation != "" && c.Translation != c.Name:
		l.block(c.Translation, width, 2, black, false, 64*scale, 56*scale, 48*scale, 42*scale, 36*scale)
	case c.Translation == "":
		l.block(strings.Join(l.say(say.untranslated), " / "), width, 1, grey, false, 30*scale)
	}
	if c.Price != "" && c.picture != nil { // its place is taken
		l.y += 8
		l.block(c.Price, width, 1, black, true, 44*scale, 36*scale, 28*scale)
	}
}

// block writes a text below what stands there.
func (l *layout) block(text string, width float32, lines int, ink tone, bold bool, sizes ...float32) {
	wrapped, size := l.fit(text, width, lines, sizes...)
	for _, line := range wrapped {
		l.y += size * 1.24
		l.text(margin, l.y-size*0.26, size, ink, bold, line)
	}
}

// reserve is what the head leaves to the description: two lines of its smallest size.
func (l *layout) reserve() float32 {
	if l.card.Description == "" {
		return 0
	}
	return 90
}

// description writes the description between the head and bottom, as many lines as fit.
func (l *layout) description(width, bottom float32) {
	if l.card.Description == "" {
		return
	}
	l.y += 12
	for _, size := range []float32{42, 36, 32, 28} {
		lines := int((bottom - l.y) / (size * 1.36))
		if lines < 1 || len(l.face.wrap(l.card.Description, size, width, lines+1)) > lines && size > 28 {
			continue
		}
		l.block(l.card.Description, width, lines, black, false, size)
		return
	}
}

// foot writes what every card says.
func (l *layout) foot() {
	l.rect(margin, footerTop, right-margin, 2, black)
	y := float32(footerTop + 16)
	for _, text := range l.say(say.footer) {
		lines, size := l.fit(text, right-margin, 1, footerSize, footerSize-1, footerSize-2, footerSize-3, footerSize-4)
		y += size * 1.4
		l.text(margin, y-size*0.3, size, black, false, lines[0])
	}
}

// marks writes one line of marks that ends above bottom, and returns where it begins.
func (l *layout) marks(bottom float32) float32 {
	const size, height = 28, 48
	if len(l.card.Marks) == 0 && l.card.Spiciness < 1 {
		return bottom
	}
	x, top := float32(margin), bottom-height
	if l.card.Spiciness > 0 {
		x += l.text(x, top+34, size, black, true, strings.Join(l.say(say.spicy), " ")) + 14
		for i := range 4 {
			l.triangle(x, top+9, 30, i < l.card.Spiciness)
			x += 38
		}
		x += gap
	}
	for i, mark := range l.card.Marks {
		text := strings.Join(l.say(mark), " ")
		w := l.face.width(text, size) + 36
		if last := i == len(l.card.Marks)-1; x+w > right-80 && !last || x+w > right {
			l.text(x, top+34, size, black, true, fmt.Sprintf("+%d", len(l.card.Marks)-i))
			break
		}
		var p path
		p.frame(x, top, w, height, 2)
		l.fill(black, p)
		l.text(x+18, top+34, size, black, false, text)
		x += w + 16
	}
	return top - gap
}

// triangle draws a mark of spiciness, filled or empty.
func (l *layout) triangle(x, y, size float32, full bool) {
	var p path
	p.moveTo(point{x + size/2, y})
	p.lineTo(point{x + size, y + size})
	p.lineTo(point{x, y + size})
	if !full {
		p.moveTo(point{x + size/2, y + 8})
		p.lineTo(point{x + 6, y + size - 4})
		p.lineTo(point{x + size - 6, y + size - 4})
	}
	l.fill(black, p)
}

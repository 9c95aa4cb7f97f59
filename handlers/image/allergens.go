package image

import (
	"fmt"
	"slices"
	"strings"
)

const (
	// labelWidth is the column of the levels' names.
	labelWidth = 250
	// mostRows is how many lines of marks a card has room for at the largest and the smallest size.
	mostRows = 5
	lastRows = 8
)

// mark is one allergen on its place.
type mark struct {
	text  string
	level Level
	x, w  float32
	row   int
}

// allergens writes the marks of the allergens above bottom and returns where they begin. The levels differ in their frame, so
// that they do in black and white: filled, thick, dashed.
func (l *layout) allergens(bottom float32) float32 {
	if len(l.card.Allergens) == 0 {
		return l.unknownAllergens(bottom)
	}
	var (
		marks []mark
		rows  int
		size  float32
	)
	for _, size = range []float32{32, 27, 23, 20} {
		if marks, rows = l.arrange(size); rows <= mostRows || size == 23 && rows <= mostRows+1 {
			break
		}
	}
	dropped := 0
	if rows > lastRows {
		kept := slices.DeleteFunc(marks, func(m mark) bool { return m.row >= lastRows })
		dropped, rows, marks = len(marks)-len(kept), lastRows, kept
	}
	height, pitch := size*1.62, size*1.62+12
	top := bottom - float32(rows)*pitch + 12
	if dropped > 0 {
		top -= size * 1.6
		text := fmt.Sprintf("+%d  %s", dropped, strings.Join(l.say(say.more), " / "))
		l.text(margin, bottom-size*0.3, size, black, true, text)
	}
	begun := Level("")
	for _, m := range marks {
		y := top + float32(m.row)*pitch
		if m.level != begun {
			begun = m.level
			l.levelName(m.level, y+height*0.5, min(24, pitch/2.3))
		}
		l.allergen(m, y, height, size)
	}
	top -= gap + 34
	l.text(margin, top+26, 28, black, true, strings.Join(l.say(say.allergens), " "))
	l.rect(margin, top-14, right-margin, 2, black)
	return top - 14 - gap
}

// arrange places the marks in lines, each level beginning one, and returns how many lines there are.
func (l *layout) arrange(size float32) (marks []mark, rows int) {
	for _, level := range []Level{Contains, Likely, MayContain} {
		x := float32(margin + labelWidth)
		begun := false
		for _, a := range l.card.Allergens {
			if a.Level != level {
				continue
			}
			text := l.face.cut(strings.Join(l.say(a.Names), " "), size, right-margin-labelWidth-2*size)
			w := l.face.width(text, size) + size*1.2
			if begun && x+w > right {
				x = margin + labelWidth
				rows++
			}
			begun = true
			marks = append(marks, mark{text, level, x, w, rows})
			x += w + 14
		}
		if begun {
			rows++
		}
	}
	return marks, rows
}

func (l *layout) levelName(level Level, middle, size float32) {
	lines := l.say(say.levels[level])
	y := middle + size*0.36 - float32(len(lines)-1)*size*0.56
	for _, line := range lines {
		fitted := min(size, size*(labelWidth-20)/l.face.width(line, size))
		l.text(margin, y, fitted, black, true, line)
		y += size * 1.12
	}
}

func (l *layout) allergen(m mark, y, height, size float32) {
	var p path
	ink := black
	switch m.level {
	case Contains:
		p.rect(m.x, y, m.w, height)
		ink = white
	case Likely:
		p.frame(m.x, y, m.w, height, 5)
	case MayContain:
		p.dashes(m.x, y, m.w, height, 2.5)
	}
	l.fill(black, p)
	l.text(m.x+size*0.6, y+height*0.5+size*0.36, size, ink, m.level != MayContain, m.text)
}

// unknownAllergens writes that nothing is known of allergens, as large as the marks would be.
func (l *layout) unknownAllergens(bottom float32) float32 {
	lines := l.say(say.unknown)
	const size, pitch = 38, 54
	height := float32(len(lines)*pitch + 48)
	top := bottom - height
	var p path
	p.frame(margin, top, right-margin, height, 5)
	l.fill(black, p)
	y := top + 24 + size
	for _, line := range lines {
		l.text(margin+36, y, size, black, true, line)
		y += pitch
	}
	return top - gap
}

package image

// Line is a line of text on a card: what it says and the rectangle that it takes.
type Line struct {
	Text                     string
	Left, Top, Right, Bottom float32
}

// Lines lays a card out and returns its texts, and the rectangle of its picture without a text.
func Lines(c Card) ([]Line, error) {
	d, err := c.draw()
	if err != nil {
		return nil, err
	}
	var lines []Line
	for _, l := range d.lines {
		lines = append(lines, Line{l.text, l.at.x, l.at.y - 0.72*l.size, l.at.x + l.long, l.at.y + 0.06*l.size})
	}
	for _, o := range d.ops {
		if p := o.picture; p != nil {
			lines = append(lines, Line{"", p.x, p.y, p.x + p.w, p.y + p.h})
		}
	}
	return lines, nil
}

// Clean is clean.
func Clean(text string) string { return clean(text) }

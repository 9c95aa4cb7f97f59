package image

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"strconv"
)

// svg writes the drawing as SVG. All text is outlines: it looks the same everywhere, and nothing of a menu is markup. Each
// glyph is defined once, in units of the font.
func (d *drawing) svg() ([]byte, error) {
	var defs, body bytes.Buffer
	defined := map[int]bool{}
	for _, o := range d.ops {
		switch {
		case o.picture != nil:
			p := o.picture
			fmt.Fprintf(&body, `<image x="%s" y="%s" width="%s" height="%s" href="data:image/jpeg;base64,%s"/>`+"\n",
				number(p.x), number(p.y), number(p.w), number(p.h), base64.StdEncoding.EncodeToString(p.jpeg))
		case o.shape != nil:
			fmt.Fprintf(&body, `<path fill="%s" d="`, o.tone)
			writePath(&body, o.shape)
			body.WriteString("\"/>\n")
		default:
			fmt.Fprintf(&body, `<g fill="%s" transform="translate(%s %s) scale(%s)">`, o.tone, number(o.at.x), number(o.at.y),
				strconv.FormatFloat(float64(o.size/em), 'g', 5, 32))
			var x float32
			for _, g := range o.glyphs {
				if len(g.outline) > 0 {
					if !defined[g.id] {
						defined[g.id] = true
						fmt.Fprintf(&defs, `<path id="g%d" d="`, g.id)
						writePath(&defs, g.outline)
						defs.WriteString("\"/>\n")
					}
					fmt.Fprintf(&body, `<use href="#g%d" x="%s"/>`, g.id, number(x))
				}
				x += g.advance
			}
			body.WriteString("</g>\n")
		}
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%dmm" height="%dmm" viewBox="0 0 %d %d" role="img">`+"\n<title>",
		cardWidth/10, cardHeight/10, cardWidth, cardHeight)
	if err := xml.EscapeText(&out, []byte(d.title)); err != nil {
		return nil, fmt.Errorf("write the card's title: %w", err)
	}
	out.WriteString("</title>\n<desc>")
	for _, line := range d.lines {
		if err := xml.EscapeText(&out, []byte(line.text+"\n")); err != nil {
			return nil, fmt.Errorf("write the card's texts: %w", err)
		}
	}
	out.WriteString("</desc>\n<defs>\n")
	out.Write(defs.Bytes())
	fmt.Fprintf(&out, "</defs>\n<path fill=\"%s\" d=\"M0 0H%dV%dH0Z\"/>\n", white, cardWidth, cardHeight)
	out.Write(body.Bytes())
	out.WriteString("</svg>\n")
	return out.Bytes(), nil
}

// String returns the tone as a colour of SVG.
func (t tone) String() string { return fmt.Sprintf("#%02x%02x%02x", uint8(t), uint8(t), uint8(t)) }

func writePath(b *bytes.Buffer, p path) {
	for i, s := range p {
		if s.kind == 'M' && i > 0 {
			b.WriteByte('Z')
		}
		b.WriteByte(s.kind)
		if s.kind == 'Q' {
			b.WriteString(number(s.ctrl.x) + " " + number(s.ctrl.y) + " ")
		}
		b.WriteString(number(s.to.x) + " " + number(s.to.y))
	}
	if len(p) > 0 {
		b.WriteByte('Z')
	}
}

// number writes a coordinate to a tenth of a unit, a hundredth of a millimetre.
func number(f float32) string {
	s := strconv.FormatFloat(float64(f), 'f', 1, 32)
	if len(s) > 2 && s[len(s)-2:] == ".0" {
		return s[:len(s)-2]
	}
	return s
}

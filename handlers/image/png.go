package image

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"

	xdraw "golang.org/x/image/draw"
	"golang.org/x/image/vector"
)

// png draws the card on pixels, one for each unit: 254 to the inch. Without a picture it is in shades of grey.
func (d *drawing) png() ([]byte, error) {
	bounds := image.Rect(0, 0, cardWidth, cardHeight)
	canvas, colour := image.NewRGBA(bounds), false
	draw.Draw(canvas, bounds, image.White, image.Point{}, draw.Src)
	var pen vector.Rasterizer
	for _, o := range d.ops {
		ink := image.NewUniform(color.Gray{uint8(o.tone)})
		switch {
		case o.picture != nil:
			colour = true
			p := o.picture
			at := image.Rect(int(p.x), int(p.y), int(p.x+p.w), int(p.y+p.h))
			xdraw.CatmullRom.Scale(canvas, at, p.img, p.img.Bounds(), draw.Over, nil)
		case o.shape != nil:
			fill(canvas, &pen, ink, o.shape, point{}, 1)
		default:
			at := o.at
			for _, g := range o.glyphs {
				fill(canvas, &pen, ink, g.outline, at, o.size/em)
				at.x += g.advance * o.size / em
			}
		}
	}
	var sheet image.Image = canvas
	if !colour {
		shades := image.NewGray(bounds)
		for i := range shades.Pix {
			shades.Pix[i] = canvas.Pix[4*i]
		}
		sheet = shades
	}
	var out bytes.Buffer
	if err := png.Encode(&out, sheet); err != nil {
		return nil, fmt.Errorf("encode the card as PNG: %w", err)
	}
	return out.Bytes(), nil
}

// fill draws an outline, scaled and moved, on the part of the canvas that it covers.
func fill(canvas *image.RGBA, pen *vector.Rasterizer, ink image.Image, p path, at point, scale float32) {
	if len(p) == 0 {
		return
	}
	place := func(q point) (float32, float32) { return at.x + q.x*scale, at.y + q.y*scale }
	left, top := place(p[0].to)
	right, bottom := left, top
	for _, s := range p {
		x, y := place(s.to)
		left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
		if s.kind == 'Q' {
			x, y = place(s.ctrl)
			left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
		}
	}
	area := image.Rect(int(left)-1, int(top)-1, int(right)+2, int(bottom)+2).Intersect(canvas.Bounds())
	if area.Empty() {
		return
	}
	pen.Reset(area.Dx(), area.Dy())
	at.x -= float32(area.Min.X)
	at.y -= float32(area.Min.Y)
	for i, s := range p {
		x, y := place(s.to)
		switch s.kind {
		case 'M':
			if i > 0 {
				pen.ClosePath()
			}
			pen.MoveTo(x, y)
		case 'L':
			pen.LineTo(x, y)
		default:
			cx, cy := place(s.ctrl)
			pen.QuadTo(cx, cy, x, y)
		}
	}
	pen.ClosePath()
	pen.Draw(canvas, area, ink, image.Point{})
}

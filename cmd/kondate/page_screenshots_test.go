package main

import (
	"bytes"
	"flag"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

var screenshots = flag.String("screenshots", "", "folder into which TestScreenshots writes its pictures; without it they are only made")

// maxScreenshot is how many bytes a picture of the README may have.
const maxScreenshot = 300 << 10

// The pictures of the README are made from the page as it is, by make screenshots.
func testScreenshots(t *testing.T, where place) {
	p := where.open(t, where.base, "/", look{width: 1180, height: 860, scale: 1.5})
	eval[bool](p, `(document.querySelector('[data-sample="izakaya"]').click(), true)`)
	p.until(`document.activeElement.id === "send" && document.querySelector("#text").value.includes("枝豆")`)
	p.press("\r") // the button has the focus; a click would leave the pointer over a dish
	p.done()
	p.shoot("page.png")
	p.do(chromedp.EmulateViewport(760, 1000, chromedp.EmulateScale(1.5)))
	eval[bool](p, `(() => { [...document.querySelectorAll(".name")].find((e) => e.textContent === "鶏の唐揚げ").click(); return true })()`)
	p.until(`document.querySelector("#card").open`)
	p.shoot("card.png")
}

// shoot takes a picture of the window and writes it, if the folder is given.
func (p *tab) shoot(name string) {
	p.t.Helper()
	eval[bool](p, `document.fonts.ready.then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true)))))`)
	raw, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	small, err := compress(raw)
	if err != nil {
		p.t.Fatal(err)
	}
	if len(small) > maxScreenshot {
		p.t.Errorf("%s has %d bytes, at most %d are wanted", name, len(small), maxScreenshot)
	}
	if *screenshots == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name), small, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// compress writes a PNG with a palette of the 256 colours that it has most of: text on paper has few.
func compress(raw []byte) ([]byte, error) {
	picture, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	counts := map[color.RGBA]int{}
	bounds := picture.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[color.RGBAModel.Convert(picture.At(x, y)).(color.RGBA)]++
		}
	}
	flat := image.NewPaletted(bounds, palette(counts))
	draw.Draw(flat, bounds, picture, bounds.Min, draw.Src)
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, flat)
	return out.Bytes(), err
}

// palette picks the most frequent colours, those that differ little from one that it has already left out.
func palette(counts map[color.RGBA]int) color.Palette {
	type shade struct{ r, g, b uint8 }
	best := map[shade]color.RGBA{}
	total := map[shade]int{}
	for c, n := range counts {
		key := shade{c.R >> 3, c.G >> 3, c.B >> 3}
		total[key] += n
		if have, ok := best[key]; !ok || n > counts[have] || n == counts[have] && less(c, have) {
			best[key] = c
		}
	}
	var out color.Palette
	for len(out) < 256 && len(best) > 0 {
		var top shade
		found := false
		for key := range best {
			if !found || total[key] > total[top] || total[key] == total[top] && less(best[key], best[top]) {
				top, found = key, true
			}
		}
		out = append(out, best[top])
		delete(best, top)
	}
	return out
}

func less(a, b color.RGBA) bool {
	return uint32(a.R)<<16|uint32(a.G)<<8|uint32(a.B) < uint32(b.R)<<16|uint32(b.G)<<8|uint32(b.B)
}

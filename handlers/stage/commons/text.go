package commons

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/net/html"

	"kondate/domain/cuisine"
)

const (
	maxTitle = 200  // characters
	maxName  = 120  // characters of a creator, a licence, an error
	maxURL   = 2048 // bytes
	maxHTML  = 8192 // bytes that are looked at
	maxSide  = 1_000_000
)

// found is a picture with the words of strangers, already made plain, and addresses that are not yet looked at.
type found struct {
	url, thumb, page     string
	title, work, creator string // work: what the credit calls it
	licence              licence
	width, height        int
	source               string
}

// picture checks the addresses and writes the credit; false if there is nothing that a reader may open.
func picture(f found) (cuisine.Image, bool) {
	address, ok := publicURL(f.url)
	page, hasPage := publicURL(f.page)
	if !ok || !hasPage {
		return cuisine.Image{}, false
	}
	image := cuisine.Image{
		URL: address, PageURL: page, Title: f.title, License: &f.licence.name, Source: f.source,
		Width: side(f.width), Height: side(f.height),
	}
	if image.Title == "" {
		image.Title = f.source
	}
	if thumb, ok := publicURL(f.thumb); ok {
		image.ThumbnailURL = &thumb
	}
	if f.licence.url != "" {
		image.LicenseURL = &f.licence.url
	}
	credit := "Untitled"
	if f.work != "" {
		credit = "“" + f.work + "”"
	}
	if f.creator != "" {
		image.Creator = &f.creator
		credit += " by " + f.creator
	}
	credit += ", " + f.licence.name + ", via " + f.source
	image.Attribution = &credit
	return image, true
}

func side(n int) *int {
	if n <= 0 || n > maxSide {
		return nil
	}
	return &n
}

// hostName is a name of the public DNS. Its last label is a word: browsers take 127.1 and 0x7f.0.0.1 for addresses.
var hostName = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+([a-z]{2,63}|xn--[a-z0-9-]{1,59})$`)

// publicURL returns an address that readers may be sent to: https at a name of the public internet, nothing else.
func publicURL(raw string) (string, bool) {
	if raw == "" || len(raw) > maxURL {
		return "", false
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Opaque != "" || u.User != nil || strings.Contains(u.Host, ":") {
		return "", false
	}
	u.Host = strings.ToLower(u.Host)
	if _, err := netip.ParseAddr(u.Host); err == nil || len(u.Host) > 253 || !hostName.MatchString(u.Host) {
		return "", false
	}
	switch u.Host[strings.LastIndexByte(u.Host, '.')+1:] {
	case "localhost", "local", "internal", "lan", "home", "arpa":
		return "", false // names inside the reader's own network
	}
	clean := u.String()
	return clean, len(clean) <= maxURL && !strings.ContainsFunc(clean, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune("\"<>\\^`{|}", r)
	})
}

// plain makes one line of a stranger's text: valid, without control and direction characters, of limited length.
func plain(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == '\u200c' || r == '\u200d': // joiners are part of the spelling
			return r
		case r == unicode.ReplacementChar || unicode.In(r, unicode.C, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > limit {
		text = strings.TrimRight(string(runes[:limit-1]), " ") + "…"
	}
	return text
}

// plainHTML makes one line of a stranger's HTML: what a browser would show of it.
func plainHTML(source string, limit int) string {
	source = strings.ToValidUTF8(source[:min(len(source), maxHTML)], "")
	doc, err := html.Parse(strings.NewReader(source))
	if err != nil {
		return "" // it nests too deeply
	}
	var b strings.Builder
	show(&b, doc)
	return plain(b.String(), limit)
}

func show(b *strings.Builder, n *html.Node) {
	if n.Type == html.TextNode {
		b.WriteString(n.Data)
		return
	}
	if n.Type == html.CommentNode || hidden(n) {
		return
	}
	for child := range n.ChildNodes() {
		show(b, child)
	}
	switch n.Data {
	case "br", "p", "div", "li", "tr", "td", "th", "dd", "dt":
		b.WriteByte(' ')
	}
}

// hidden says whether a browser shows nothing of an element.
func hidden(n *html.Node) bool {
	switch n.Data {
	case "script", "style", "template", "noscript", "iframe", "object", "textarea", "select", "title":
		return n.Type == html.ElementNode
	}
	for _, a := range n.Attr {
		if a.Key == "hidden" || a.Key == "style" && strings.Contains(strings.ReplaceAll(strings.ToLower(a.Val), " ", ""), "display:none") {
			return true
		}
	}
	return false
}

// searchWords leaves the words of a query and nothing that a search engine takes for a command.
func searchWords(query string) string {
	words := strings.FieldsFunc(strings.ToLower(query), func(r rune) bool {
		return !unicode.In(r, unicode.L, unicode.M, unicode.Nd) && r != '-' && r != '\'' && r != '’'
	})
	kept := words[:0]
	for _, w := range words {
		if w = strings.Trim(w, "-'’"); w != "" {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, " ")
}

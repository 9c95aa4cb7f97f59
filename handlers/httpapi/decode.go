package httpapi

import (
	"bytes"
	"fmt"

	"golang.org/x/text/language"

	"kondate/domain/menu"
)

// The languages of a menu that names none.
const (
	defaultSource = "ja"
	defaultTarget = "en"
)

// maxLanguageTag is the length of the longest language tag that is looked at; RFC 5646 asks for room for 35 characters.
const maxLanguageTag = 35

// submission is the body of POST /v1/sessions: what the client wrote, before the domain judges it.
type submission struct {
	title          string
	sourceLanguage string // BCP 47, canonical
	targetLanguage string
	items          []menu.Item // those without an id of the caller have none yet
}

// decodeSubmission reads exactly one JSON document in UTF-8, with or without a byte order mark.
//
// A field that the API does not know is refused: a "targetLanguage" would otherwise be lost without a word,
// and the whole menu come out in the wrong language. Of a repeated key the last one counts.
func decodeSubmission(body []byte) (submission, error) {
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	if err := wellFormed(body, `{"items":[{"name":"親子丼","price":"850円"}]}`); err != nil {
		return submission{}, err
	}
	d := newDocument(body)
	s := submission{sourceLanguage: defaultSource, targetLanguage: defaultTarget}
	d.object("body", func(key string) {
		switch key {
		case "title":
			s.title, _ = d.string(key)
		case "source_language":
			s.sourceLanguage = languageOr(d, key, defaultSource)
		case "target_language":
			s.targetLanguage = languageOr(d, key, defaultTarget)
		case "items":
			s.items = items(d, key)
		default:
			d.unknown(key, key, known[submissionBody]())
		}
	})
	return s, d.err()
}

func items(d *document, path string) []menu.Item {
	var items []menu.Item
	d.array(path, func(i int) {
		if i == menu.MaxItems {
			// They are not counted to the end: eight megabytes hold millions of items.
			d.stop(path, fmt.Sprintf("has more than %d dishes, which is the limit", menu.MaxItems))
			return
		}
		items = append(items, item(d, fmt.Sprintf("%s[%d]", path, i)))
	})
	return items
}

func item(d *document, path string) menu.Item {
	var item menu.Item
	d.object(path, func(key string) {
		field := path + "." + key
		switch key {
		case "id":
			if raw, given := d.string(field); given {
				id, err := menu.ParseDishID(raw)
				if err != nil {
					d.problem(field, err.Error())
				}
				item.ID = id
			}
		case "name":
			item.Name, _ = d.string(field)
		case "category":
			item.Category, _ = d.string(field)
		case "price":
			item.Price = d.stringOrNumber(field)
		default:
			d.unknown(field, key, known[itemBody]())
		}
	})
	return item
}

func languageOr(d *document, path, absent string) string {
	raw, given := d.string(path)
	if !given {
		return absent
	}
	tag, err := parseLanguage(raw)
	if err != nil {
		d.problem(path, err.Error())
	}
	return tag
}

// parseLanguage returns the canonical form of a BCP 47 tag. It refuses what names no language, and private-use and
// extension subtags: they may hold any words, and a tag ends up in prompts and file names.
func parseLanguage(raw string) (string, error) {
	if len(raw) > maxLanguageTag {
		return "", fmt.Errorf("has %d bytes; a language tag has at most %d", len(raw), maxLanguageTag)
	}
	tag, err := language.Parse(raw)
	if base, _, _ := tag.Raw(); err != nil || base.String() == "und" || len(tag.Extensions()) > 0 {
		return "", fmt.Errorf("is %q, which is no language tag like ja, en or zh-Hant", raw)
	}
	return tag.String(), nil
}

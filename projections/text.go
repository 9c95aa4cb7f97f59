package projections

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"kondate/eventstore"
)

// Postgres holds neither the character NUL nor text that is not UTF-8. The log may: other programs write to it too.
// Rows then show U+FFFD, as browsers do, and history keeps the body byte for byte.

// replacement is U+FFFD as a JSON escape: as long as the escape that it replaces.
const replacement = `\ufffd`

// cleanText returns s as a text column can hold it.
func cleanText(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, string(utf8.RuneError)), "\x00", string(utf8.RuneError))
}

// cleanJSON returns valid JSON as a jsonb column can hold it, and whether that is data unchanged.
func cleanJSON(data []byte) (clean []byte, exact bool) {
	clean, exact = data, true
	if !utf8.Valid(clean) {
		clean, exact = []byte(string(bytes.Runes(clean))), false // a replacement for each byte, as encoding/json does
	}
	for at := bytes.IndexByte(clean, '\\'); at >= 0 && at < len(clean); {
		size, ok := escape(clean[at:])
		if !ok {
			if exact {
				clean, exact = bytes.Clone(clean), false
			}
			copy(clean[at:], replacement)
		}
		next := bytes.IndexByte(clean[at+size:], '\\')
		if next < 0 {
			break
		}
		at += size + next
	}
	return clean, exact
}

// escape reads the escape that text begins with: its size, and whether it stands for a character that Postgres holds.
// A surrogate pair is one escape.
func escape(text []byte) (size int, ok bool) {
	r, ok := unicodeEscape(text)
	switch {
	case !ok:
		return 2, true
	case r == 0:
		return len(replacement), false
	case utf16.IsSurrogate(r):
		low, _ := unicodeEscape(text[len(replacement):])
		if utf16.DecodeRune(r, low) == utf8.RuneError {
			return len(replacement), false
		}
		return 2 * len(replacement), true
	}
	return len(replacement), true
}

// unicodeEscape reads \uXXXX.
func unicodeEscape(text []byte) (rune, bool) {
	if len(text) < len(replacement) || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:len(replacement)]), 16, 16)
	return rune(n), err == nil
}

// recordBody returns a body as history holds it: data is its JSON, empty if it is none or Postgres refused it, and raw is
// the body itself where data is not exactly it.
func recordBody(e eventstore.Entry) (data string, raw []byte) {
	if e.Err != nil && (isRefused(e.Err) || !json.Valid(e.Data)) { // what could be decoded is valid
		return "", e.Data
	}
	clean, exact := cleanJSON(e.Data)
	if exact {
		return string(clean), nil
	}
	return string(clean), e.Data
}

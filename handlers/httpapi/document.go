package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"kondate/domain/menu"
)

const (
	// maxProblems bounds the list of problems in one answer.
	maxProblems = 20
	// maxQuoted is how many characters of an unknown key an answer repeats.
	maxQuoted = 64
	// maxDepth is how many objects and arrays of a body may lie in each other. What the API reads has three.
	maxDepth = 64
)

// wellFormed checks what the walk of a [document] relies on: one JSON document, nothing else, in UTF-8. An example says
// what a body looks like.
func wellFormed(body []byte, example string) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return invalid("the body is empty: send JSON like "+example, nil)
	}
	if at := invalidUTF8(body); at >= 0 {
		return invalid(fmt.Sprintf("the body is not valid UTF-8 (%s): send it in the encoding UTF-8, not in Shift_JIS, EUC-JP or UTF-16", position(body, at)), nil)
	}
	if at := tooDeep(body); at >= 0 {
		return invalid(fmt.Sprintf("the body nests more than %d levels of objects and arrays (%s)", maxDepth, position(body, at)), nil)
	}
	if json.Valid(body) {
		return nil
	}
	var whole json.RawMessage
	err := json.Unmarshal(body, &whole) // again, for the reason
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return invalid(fmt.Sprintf("the body is not one JSON document (%s): %v", position(body, int(e.Offset)-1), e), nil)
	}
	return invalid(fmt.Sprintf("the body is not one JSON document: %v", err), nil)
}

// invalidUTF8 returns the place of the first byte that is not UTF-8, -1 if there is none.
func invalidUTF8(text []byte) int {
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size <= 1 {
			return at
		}
		at += size
	}
	return -1
}

// tooDeep returns the place of the bracket that opens one level more than a body may have, -1 if there is none. A text
// that is no JSON may be told to be too deep; it is refused all the same.
func tooDeep(text []byte) int {
	depth, quoted := 0, false
	for at := 0; at < len(text); at++ {
		switch c := text[at]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			at++ // what follows is no end of the string
		case quoted:
		case c == '{', c == '[':
			if depth++; depth > maxDepth {
				return at
			}
		case c == '}', c == ']':
			depth--
		}
	}
	return -1
}

// position says where a byte is, in the way of editors: both numbers start at 1, columns count characters.
func position(text []byte, offset int) string {
	before := text[:max(0, min(offset, len(text)))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	return fmt.Sprintf("line %d, column %d", line, column)
}

// document walks a well-formed JSON text from front to back and notes what is wrong with the fields on its way.
// It exists because encoding/json names the field of a wrong type without its place: "items.name", not "items[3].name".
type document struct {
	text   []byte
	dec    *json.Decoder
	fields []menu.FieldError
	failed error // of the decoder; a well-formed text has none
	ended  bool  // the rest is not looked at
}

func newDocument(text []byte) *document {
	return &document{text: text, dec: json.NewDecoder(bytes.NewReader(text))}
}

// err returns what the walk found.
func (d *document) err() error {
	switch {
	case d.failed != nil:
		return invalid(fmt.Sprintf("the body cannot be read: %v", d.failed), nil)
	case len(d.fields) > 0:
		return &menu.InvalidError{Fields: d.fields}
	}
	return nil
}

// problem notes what is wrong with a field.
func (d *document) problem(path, problem string) {
	if len(d.fields) < maxProblems {
		d.fields = append(d.fields, menu.FieldError{Field: path, Problem: problem})
	}
}

// stop notes a problem that makes the rest of the document pointless.
func (d *document) stop(path, problem string) {
	d.problem(path, problem)
	d.ended = true
}

// unknown skips the value of a key that means nothing here, and says which keys do.
func (d *document) unknown(path, key, known string) {
	d.raw()
	if r := []rune(key); len(r) > maxQuoted {
		path = path[:len(path)-len(key)] + string(r[:maxQuoted]) + "…"
	}
	d.problem(path, "is no field here; known are "+known)
}

// object calls field with each key of the next value; field has to take the key's value.
func (d *document) object(path string, field func(key string)) {
	if !d.expect(path, anObject) {
		return
	}
	d.token()
	for !d.ended && d.dec.More() {
		key, _ := d.token().(string)
		field(key)
	}
	d.token()
}

// array calls element with each index of the next value; element has to take the value. Null counts as empty.
func (d *document) array(path string, element func(i int)) {
	if d.null() || !d.expect(path, anArray) {
		return
	}
	d.token()
	for i := 0; !d.ended && d.dec.More(); i++ {
		element(i)
	}
	d.token()
}

// string takes the next value and says whether a text was given; null counts as absent.
func (d *document) string(path string) (s string, given bool) {
	if d.null() || !d.expect(path, aString) {
		return "", false
	}
	d.decode(&s)
	return s, true
}

// bool takes the next value; null counts as false.
func (d *document) bool(path string) (b bool) {
	if !d.null() && d.expect(path, aBoolean) {
		d.decode(&b)
	}
	return b
}

// stringOrNumber is string for a field that may also be a number, whose text is kept as it is written.
func (d *document) stringOrNumber(path string) string {
	if d.kind() == aNumber {
		return string(d.raw())
	}
	s, _ := d.string(path)
	return s
}

// kind is the sort of a JSON value, in words for the client.
type kind string

const (
	aString  kind = "a string"
	aNumber  kind = "a number"
	aBoolean kind = "true or false"
	aNull    kind = "null"
	anArray  kind = "an array"
	anObject kind = "an object"
)

// kind looks at the next value without taking it.
func (d *document) kind() kind {
	rest := bytes.TrimLeft(d.text[d.dec.InputOffset():], " \t\r\n,:")
	if len(rest) == 0 {
		return aNull
	}
	switch rest[0] {
	case '"':
		return aString
	case '{':
		return anObject
	case '[':
		return anArray
	case 't', 'f':
		return aBoolean
	case 'n':
		return aNull
	}
	return aNumber
}

// expect says whether the next value is of one kind; if it is not, the value is skipped and the problem noted.
func (d *document) expect(path string, want kind) bool {
	got := d.kind()
	if got == want {
		return true
	}
	d.raw()
	d.problem(path, fmt.Sprintf("must be %s, not %s", want, got))
	return false
}

// null takes the next value if it is null.
func (d *document) null() bool {
	if d.kind() != aNull {
		return false
	}
	d.raw()
	return true
}

// raw takes the next value, whatever it is.
func (d *document) raw() (value json.RawMessage) {
	d.decode(&value)
	return value
}

func (d *document) decode(into any) { d.fail(d.dec.Decode(into)) }

func (d *document) token() json.Token {
	if d.ended {
		return nil
	}
	t, err := d.dec.Token()
	d.fail(err)
	return t
}

func (d *document) fail(err error) {
	if err != nil && d.failed == nil {
		d.failed, d.ended = err, true
	}
}

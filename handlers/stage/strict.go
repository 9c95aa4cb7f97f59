package stage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// maxDepth bounds how deep a foreign document nests.
	maxDepth = 64
	// maxDigits bounds the length of a number: an exact calculation with 1e999999999 would take all memory.
	maxDigits = 40
)

// DecodeStrict decodes one JSON document from outside and refuses what different readers read differently or a database
// cannot hold: a repeated key, a NUL, invalid UTF-8, a number out of range, anything after the document. Numbers stay
// as written ([json.Number]).
func DecodeStrict(raw []byte) (any, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("the text is not valid UTF-8")
	}
	d := strict{json.NewDecoder(bytes.NewReader(raw))}
	d.UseNumber()
	v, err := d.value(nil)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON document")
	}
	return v, nil
}

type strict struct{ *json.Decoder }

// value decodes the value at a path.
func (d strict) value(at []string) (any, error) {
	token, err := d.Token()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the JSON document is empty or ends too early")
	case err != nil:
		return nil, fmt.Errorf("not valid JSON: %w", err)
	case len(at) > maxDepth:
		return nil, fmt.Errorf("the JSON document nests deeper than %d", maxDepth)
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '{' {
			return d.object(at)
		}
		return d.array(at)
	case string:
		return v, checkText(at, v)
	case json.Number:
		return v, checkNumber(at, v)
	}
	return token, nil // true, false, null
}

func (d strict) object(at []string) (any, error) {
	fields := map[string]any{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("not valid JSON: %w", err)
		}
		key, ok := token.(string)
		if !ok {
			return nil, fmt.Errorf("not valid JSON: %v is no key", token)
		}
		in := append(slices.Clip(at), key)
		if err := checkText(at, key); err != nil {
			return nil, err
		}
		if _, twice := fields[key]; twice {
			return nil, fmt.Errorf("%s: the key is there twice", path(in))
		}
		if fields[key], err = d.value(in); err != nil {
			return nil, err
		}
	}
	return fields, d.end()
}

func (d strict) array(at []string) (any, error) {
	list := []any{}
	for d.More() {
		v, err := d.value(append(slices.Clip(at), strconv.Itoa(len(list))))
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, d.end()
}

// end reads the closing bracket.
func (d strict) end() error {
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("not valid JSON: %w", err)
	}
	return nil
}

func checkText(at []string, text string) error {
	if strings.ContainsRune(text, 0) {
		return fmt.Errorf("%s: the text holds a NUL character", path(at))
	}
	return nil
}

func checkNumber(at []string, n json.Number) error {
	f, err := n.Float64()
	mantissa, _, _ := strings.Cut(strings.ToLower(n.String()), "e")
	if err != nil || len(n) > maxDigits || f == 0 && strings.ContainsAny(mantissa, "123456789") {
		return fmt.Errorf("%s: the number is out of range", path(at))
	}
	return nil
}

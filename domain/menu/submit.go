package menu

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a submission. Lengths count characters (runes).
const (
	MaxItems    = 10_000
	MaxName     = 512
	MaxCategory = 256
	MaxPrice    = 128
	MaxTitle    = 512

	// maxChunkBytes bounds the text of one menu.submitted event; a JSON body may be six times its text at worst
	// (every character escaped), which still fits the broker's payload limit.
	maxChunkBytes = 256 << 10
	// maxProblems bounds the list of an InvalidError.
	maxProblems = 20
)

// SubmitMenu is the request to take in a menu.
type SubmitMenu struct {
	Title          string
	SourceLanguage string
	TargetLanguage string
	Items          []Item // with their ids; Submit sets the positions
	ChunkItems     int    // dishes in one event at most
}

// Submit decides a submission: one event, or several chunks for a long menu, to be appended together.
// It returns an [*InvalidError] for bad fields and a [*RejectedError] if the session exists.
func Submit(s Session, cmd SubmitMenu) ([]Event, error) {
	if s.Exists() {
		return nil, &RejectedError{Command: "submit", Detail: "session " + string(s.Key.Session), Err: ErrExists}
	}
	if err := cmd.validate(); err != nil {
		return nil, err
	}
	items := make([]Item, len(cmd.Items))
	for i, item := range cmd.Items {
		item.Position = i
		items[i] = item
	}
	chunks := chunk(items, cmd.ChunkItems)
	events := make([]Event, len(chunks))
	for i, c := range chunks {
		events[i] = Submitted{
			Title: cmd.Title, SourceLanguage: cmd.SourceLanguage, TargetLanguage: cmd.TargetLanguage,
			ItemCount: len(items), Chunk: i + 1, Chunks: len(chunks), Items: c,
		}
	}
	return events, nil
}

// chunk cuts items into runs of at most size dishes and maxChunkBytes of text.
func chunk(items []Item, size int) [][]Item {
	var chunks [][]Item
	start, bytes := 0, 0
	for i, item := range items {
		n := len(item.Name) + len(item.Category) + len(item.Price)
		if i > start && (i-start >= size || bytes+n > maxChunkBytes) {
			chunks = append(chunks, items[start:i])
			start, bytes = i, 0
		}
		bytes += n
	}
	return append(chunks, items[start:])
}

func (cmd SubmitMenu) validate() error {
	var v validation
	v.text("title", cmd.Title, MaxTitle)
	switch n := len(cmd.Items); {
	case n == 0:
		v.problem("items", "is empty: a menu has at least one dish")
	case n > MaxItems:
		v.problem("items", fmt.Sprintf("has %d dishes, at most %d are allowed", n, MaxItems))
		return v.err()
	}
	seen := make(map[DishID]int, len(cmd.Items))
	for i, item := range cmd.Items {
		field := func(name string) string { return fmt.Sprintf("items[%d].%s", i, name) }
		if _, err := ParseDishID(string(item.ID)); err != nil {
			v.problem(field("id"), err.Error())
		}
		if first, twice := seen[item.ID]; twice {
			v.problem(field("id"), fmt.Sprintf("is the same as items[%d].id", first))
		}
		seen[item.ID] = i
		if Trim(item.Name) == "" {
			v.problem(field("name"), "is empty")
		}
		v.text(field("name"), item.Name, MaxName)
		v.text(field("category"), item.Category, MaxCategory)
		v.text(field("price"), item.Price, MaxPrice)
	}
	return v.err()
}

// Trim cuts white space and invisible characters (zero-width space and joiners, word joiner, byte order mark) from
// both ends. It decides what counts as empty and how long a text is; the text itself is kept exactly as sent.
func Trim(s string) string { return strings.TrimFunc(s, invisible) }

func invisible(r rune) bool {
	switch r {
	case '\u200b', '\u200c', '\u200d', '\u2060', '\ufeff':
		return true
	}
	return unicode.IsSpace(r)
}

type validation struct{ fields []FieldError }

func (v *validation) problem(field, problem string) {
	if len(v.fields) < maxProblems {
		v.fields = append(v.fields, FieldError{Field: field, Problem: problem})
	}
}

func (v *validation) text(field, s string, limit int) {
	if !utf8.ValidString(s) {
		v.problem(field, "is not valid UTF-8")
		return
	}
	if n := utf8.RuneCountInString(Trim(s)); n > limit {
		v.problem(field, fmt.Sprintf("has %d characters, at most %d are allowed", n, limit))
	}
	for _, r := range s {
		if unicode.IsControl(r) && r != '\t' && r != '\r' && r != '\n' {
			v.problem(field, fmt.Sprintf("holds the control character %U", r))
			return
		}
	}
}

func (v *validation) err() error {
	if len(v.fields) == 0 {
		return nil
	}
	return &InvalidError{Fields: v.fields}
}

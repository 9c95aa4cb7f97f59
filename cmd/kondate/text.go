package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"kondate/domain/menu"
)

// submission is the body of POST /v1/sessions, as far as this program writes it.
type submission struct {
	Title          string           `json:"title,omitempty"`
	SourceLanguage string           `json:"source_language,omitempty"`
	TargetLanguage string           `json:"target_language,omitempty"`
	Items          []submissionItem `json:"items"`
}

type submissionItem struct {
	Name     string `json:"name"`
	Category string `json:"category,omitempty"`
	Price    string `json:"price,omitempty"`
}

// pricePattern finds a printed price at the end of a line: ¥850, 850円(税込935円)〜, $9.50, 9,50 €, 千二百円, 時価.
var pricePattern = regexp.MustCompile(`[\s　.…・:：─―-]+((?:[¥￥$€£]\s*[0-9０-９][0-9０-９.,，．]*|[0-9０-９][0-9０-９.,，．]*\s*(?:円|yen|[€$£])|[〇一二三四五六七八九十百千万]+円|時価).*)$`)

// readMenu turns a file into the body of a submission: JSON is sent as it is, anything else is text with one dish a
// line, an optional price at its end, and headings (【焼き物】 or # Grilled) as categories.
func readMenu(raw []byte) ([]byte, error) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if trimmed := bytes.TrimSpace(raw); bytes.HasPrefix(trimmed, []byte("{")) {
		return trimmed, nil
	}
	var s submission
	category := ""
	for line := range strings.Lines(string(raw)) {
		line = menu.Trim(line)
		if line == "" {
			continue
		}
		if heading, ok := headingOf(line); ok {
			category = heading
			continue
		}
		item := submissionItem{Name: line, Category: category}
		if m := pricePattern.FindStringSubmatchIndex(line); m != nil && m[0] > 0 {
			item.Name, item.Price = menu.Trim(line[:m[0]]), menu.Trim(line[m[2]:])
		}
		s.Items = append(s.Items, item)
	}
	if len(s.Items) == 0 {
		return nil, errors.New("the menu is empty: write one dish a line, or the JSON of POST /v1/sessions")
	}
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode the menu: %w", err)
	}
	return body, nil
}

func headingOf(line string) (string, bool) {
	if rest, ok := strings.CutPrefix(line, "#"); ok {
		return menu.Trim(strings.TrimLeft(rest, "#")), true
	}
	if rest, ok := strings.CutPrefix(line, "【"); ok {
		if heading, ok := strings.CutSuffix(rest, "】"); ok {
			return menu.Trim(heading), true
		}
	}
	return "", false
}

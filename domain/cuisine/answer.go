package cuisine

import "strings"

// Status says how far an answer goes.
type Status string

// The statuses of an answer.
const (
	StatusOK      Status = "ok"
	StatusPartial Status = "partial" // true as far as it goes; Warnings say what is missing
	StatusUnknown Status = "unknown" // nothing known: never to be read as "nothing there"
)

// Answer is one stage's answer for one dish. Data is a struct of this package
// whose JSON is exactly the stage's schema.
type Answer struct {
	Status      Status
	Basis       Basis
	Confidence  float64 // 0 to 1
	Data        any
	Warnings    []string // for the reader, in the target language or English
	Attribution []string
}

const (
	maxTranslation = 60 // a menu line with its loan word; the longest one of a composed name is maxLine
	maxLine        = 80
	maxDescription = 280
)

// answer begins what every answer of a reading has in common, all but Data.
func (r Reading) answer() Answer {
	a := Answer{Basis: r.basis, Confidence: r.confidence(), Warnings: []string{}, Attribution: []string{}}
	switch {
	case r.basis == BasisNone:
		a.Status = StatusUnknown
	case r.basis == BasisCategory || r.partial:
		a.Status = StatusPartial
	default:
		a.Status = StatusOK
	}
	if len(r.unknown) > 0 && r.basis != BasisNone {
		a.Warnings = append(a.Warnings, r.say("Not understood: ", "読み取れない部分: ")+cut(strings.Join(r.unknown, " / "), 80))
	}
	if r.notDish {
		a.Warnings = append(a.Warnings, r.say("This line does not look like a dish.", "料理名ではないようです。"))
	}
	return a
}

func (r Reading) confidence() float64 {
	switch r.basis {
	case BasisExact:
		return 0.95
	case BasisComposed:
		if r.partial {
			return 0.6
		}
		return 0.8
	case BasisCategory:
		return 0.3
	case BasisNone:
		return 0
	}
	return 0
}

// say picks the text in the language of the answer.
func (r Reading) say(en, ja string) string {
	if r.textLang == "ja" {
		return ja
	}
	return en
}

// name is an ingredient's name in the language of the answer.
func (r Reading) name(t *term) string { return r.say(t.English, t.ja) }

func cut(s string, limit int) string {
	rs := []rune(s)
	if len(rs) <= limit {
		return s
	}
	s = string(rs[:limit-1])
	if i := strings.LastIndexByte(s, ' '); i > limit/2 {
		s = s[:i]
	}
	return strings.TrimRight(s, " ,;(") + "…"
}

func upperFirst(s string) string {
	for i, r := range s {
		return strings.ToUpper(string(r)) + s[i+len(string(r)):]
	}
	return s
}

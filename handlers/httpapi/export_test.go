package httpapi

import "kondate/domain/menu"

// Decoded is what the fuzz test sees of a decoded body.
type Decoded struct {
	Title, Source, Target string
	Items                 []menu.Item
}

// Decode is decodeSubmission.
func Decode(body []byte) (Decoded, error) {
	s, err := decodeSubmission(body)
	return Decoded{s.title, s.sourceLanguage, s.targetLanguage, s.items}, err
}

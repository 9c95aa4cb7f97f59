package commons

import "kondate/domain/cuisine"

// DecodeWikimedia reads an answer of the action API.
func DecodeWikimedia(body []byte) ([]cuisine.Image, error) { return decodeWikimedia(body) }

// DecodeOpenverse reads an answer of the image search.
func DecodeOpenverse(body []byte) ([]cuisine.Image, error) { return decodeOpenverse(body) }

// GuardAddress says whether a connection may be made to an address; local: of a host on this machine.
func GuardAddress(local bool, address string) error { return guardAddress(local)("tcp", address, nil) }

// PublicURL returns an address that readers may be sent to, or nothing.
func PublicURL(raw string) string {
	u, ok := publicURL(raw)
	if !ok {
		return ""
	}
	return u
}

// Plain and PlainHTML make one line of a stranger's text.
func Plain(text string, limit int) string { return plain(text, limit) }

// PlainHTML makes one line of a stranger's HTML.
func PlainHTML(source string, limit int) string { return plainHTML(source, limit) }

// Licence returns the name and the deed of a free licence, or nothing.
func Licence(name, given string) (string, string) {
	l, ok := licenceOfName(name, given)
	if !ok {
		return "", ""
	}
	return l.name, l.url
}

package access

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"kondate/domain/menu"
)

const (
	// secretPrefix makes a key recognisable, for people and for programs that look for secrets in published text.
	secretPrefix = "kdt_"
	// secretBytes of chance are in a key. Nobody guesses 256 bits: neither a slow hash nor a count of failed attempts
	// would add anything.
	secretBytes = 32

	idBytes   = 4 // of a key's id
	shownTail = 4 // last characters of a key that stay known
	maxName   = 64
)

// secretPattern finds keys in texts.
var secretPattern = regexp.MustCompile(secretPrefix + `[0-9A-Za-z]+`)

// Key is what is kept of an API key. The key itself is not: only its hash is.
type Key struct {
	ID      string      `json:"id"`
	Name    string      `json:"name"`
	Tenant  menu.Tenant `json:"tenant"`
	Role    Role        `json:"role"`
	Hash    string      `json:"hash"`  // SHA-256 of the key in hexadecimal digits
	Last4   string      `json:"last4"` // of the key, so that its holder can tell which one it is
	Created time.Time   `json:"created_at"`
	Expires time.Time   `json:"expires_at,omitzero"` // zero: never
	Revoked time.Time   `json:"revoked_at,omitzero"` // zero: not
}

// Valid says whether the key may be used at a time.
func (k Key) Valid(at time.Time) bool {
	return k.Revoked.IsZero() && (k.Expires.IsZero() || at.Before(k.Expires))
}

// State says in a word whether the key may be used at a time: valid, revoked or expired.
func (k Key) State(at time.Time) string {
	switch {
	case !k.Revoked.IsZero():
		return "revoked"
	case !k.Valid(at):
		return "expired"
	}
	return "valid"
}

// validate names what is wrong with a key.
func (k Key) validate() error {
	var errs []error
	if k.ID == "" {
		errs = append(errs, errors.New("id is empty"))
	}
	if n := utf8.RuneCountInString(k.Name); n < 1 || n > maxName || strings.ContainsFunc(k.Name, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) {
		errs = append(errs, fmt.Errorf("name is not 1 to %d printable characters", maxName))
	}
	if _, err := menu.ParseTenant(string(k.Tenant)); err != nil {
		errs = append(errs, err)
	}
	if _, err := ParseRole(string(k.Role)); err != nil {
		errs = append(errs, err)
	}
	if _, err := k.digest(); err != nil {
		errs = append(errs, err)
	}
	if k.Created.IsZero() {
		errs = append(errs, errors.New("created_at is missing"))
	}
	return errors.Join(errs...)
}

func (k Key) digest() (sum [sha256.Size]byte, err error) {
	raw, err := hex.DecodeString(k.Hash)
	if err != nil || len(raw) != len(sum) {
		return sum, fmt.Errorf("hash is no SHA-256 of %d hexadecimal digits", 2*len(sum))
	}
	copy(sum[:], raw)
	return sum, nil
}

// NewKey makes a key: what is kept of it, and the secret, which exists nowhere else. expires may be zero.
func NewKey(name string, tenant menu.Tenant, role Role, created, expires time.Time) (key Key, secret string, err error) {
	secret = secretPrefix + hex.EncodeToString(random(secretBytes))
	sum := sha256.Sum256([]byte(secret))
	key = Key{
		ID: hex.EncodeToString(random(idBytes)), Name: name, Tenant: tenant, Role: role,
		Hash: hex.EncodeToString(sum[:]), Last4: secret[len(secret)-shownTail:], Created: created.UTC().Truncate(time.Second),
	}
	if !expires.IsZero() {
		key.Expires = expires.UTC().Truncate(time.Second)
	}
	if err := key.validate(); err != nil {
		return Key{}, "", fmt.Errorf("make an API key: %w", err)
	}
	return key, secret, nil
}

// random returns n bytes of chance. rand.Read never fails: a system without chance ends the program.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// wellFormed says whether a text can be a key at all.
func wellFormed(secret string) bool {
	digits, ok := strings.CutPrefix(secret, secretPrefix)
	if !ok || len(digits) != 2*secretBytes {
		return false
	}
	return !strings.ContainsFunc(digits, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
}

// keysDocument is the file of keys.
type keysDocument struct {
	Keys []Key `json:"keys"`
}

// ParseKeys reads the content of a file of keys. A field that it does not know is an error: a misspelt expires_at would
// make a key that never expires.
func ParseKeys(raw []byte) ([]Key, error) {
	var doc keysDocument
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		// The text, not the error: it may quote a key that somebody wrote into the file.
		return nil, errors.New(`it is no JSON like {"keys":[…]}: ` + secretPattern.ReplaceAllString(err.Error(), secretPrefix+"…"))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON document")
	}
	ids, hashes := map[string]bool{}, map[string]bool{}
	for i, k := range doc.Keys {
		if err := k.validate(); err != nil {
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		}
		hash := strings.ToLower(k.Hash)
		if ids[k.ID] || hashes[hash] {
			return nil, fmt.Errorf("keys[%d]: the id or the hash stands there twice", i)
		}
		ids[k.ID], hashes[hash] = true, true
	}
	return doc.Keys, nil
}

package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"kondate/domain/menu"
)

const (
	// tokenPrefix makes a token recognisable, as secretPrefix does a key.
	tokenPrefix = "kst_"
	// tokenPurpose keeps signatures apart from others that might be made with the same secret.
	tokenPurpose = "kondate session token 1\x00"
	// maxToken bounds what is looked at: a tenant and a session of 64 characters each fit.
	maxToken = 512

	// MinSecret is the length of the shortest secret of tokens, in bytes.
	MinSecret = 32
)

var (
	// ErrToken says that a text is no token that was signed with this secret.
	ErrToken = errors.New("the token is not valid")
	// ErrTokenExpired says that a token was valid once.
	ErrTokenExpired = errors.New("the token has expired")
)

// Tokens signs and checks the tokens that let their holder read one session for a while. All processes that serve the
// same sessions need the same secret. It is safe for concurrent use.
type Tokens struct {
	secret []byte
	ttl    time.Duration
	now    func() time.Time
}

// NewTokens returns the tokens of a secret of at least [MinSecret] bytes; each is valid for ttl.
func NewTokens(secret []byte, ttl time.Duration, now func() time.Time) (*Tokens, error) {
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("the secret of the session tokens has %d bytes, it needs at least %d", len(secret), MinSecret)
	}
	if ttl < time.Second {
		return nil, fmt.Errorf("session tokens would be valid for %s, it has to be a second at least", ttl)
	}
	return &Tokens{secret: secret, ttl: ttl, now: now}, nil
}

// claims is what a token says.
type claims struct {
	Tenant  menu.Tenant    `json:"t"`
	Session menu.SessionID `json:"s"`
	Expires int64          `json:"e"` // Unix time in seconds
}

// Sign returns a new token for a session. It has only characters that mean nothing in a URL.
func (t *Tokens) Sign(key menu.Key) string {
	// A struct of two texts and a number always encodes.
	raw, _ := json.Marshal(claims{key.Tenant, key.Session, t.now().Add(t.ttl).Unix()}) //nolint:errchkjson // see above
	body := base64.RawURLEncoding.EncodeToString(raw)
	return tokenPrefix + body + "." + t.signature(body)
}

// Verify returns the session that a token is for; the error matches [ErrToken] or [ErrTokenExpired].
func (t *Tokens) Verify(token string) (menu.Key, error) {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	body, encoded, signed := strings.Cut(rest, ".")
	if !ok || !signed || len(token) > maxToken {
		return menu.Key{}, ErrToken
	}
	// As texts: base64 has several for the same bytes, also with line breaks in them, and a token only one.
	if !hmac.Equal([]byte(encoded), []byte(t.signature(body))) {
		return menu.Key{}, ErrToken
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil {
		return menu.Key{}, ErrToken
	}
	var c claims
	if json.Unmarshal(raw, &c) != nil {
		return menu.Key{}, ErrToken
	}
	if !t.now().Before(time.Unix(c.Expires, 0)) {
		return menu.Key{}, ErrTokenExpired
	}
	return menu.Key{Tenant: c.Tenant, Session: c.Session}, nil
}

func (t *Tokens) signature(body string) string {
	mac := hmac.New(sha256.New, t.secret)
	mac.Write([]byte(tokenPurpose))
	mac.Write([]byte(body))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// LoadSecret reads the secret of the session tokens from a file that only its owner may read. If there is none, it is
// made, once, also if several processes begin at the same time.
func LoadSecret(path string) ([]byte, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		fresh := hex.EncodeToString(random(secretBytes)) + "\n"
		if err := replaceFile(path, []byte(fresh), os.Link); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make the secret of the session tokens: %w", err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the secret of the session tokens: %w", err)
	}
	const others = 0o077
	if info.Mode().Perm()&others != 0 {
		return nil, fmt.Errorf("others than its owner may read %s, the secret of the session tokens: remove it, so that a new one is made, or chmod 600 it", path)
	}
	raw, err := os.ReadFile(path) //nolint:gosec // the operator names the folder
	if err != nil {
		return nil, fmt.Errorf("read the secret of the session tokens: %w", err)
	}
	secret := []byte(strings.TrimSpace(string(raw)))
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("the secret of the session tokens in %s is too short: remove the file, so that a new one is made", path)
	}
	return secret, nil
}

package openai

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// DefaultBaseURL is OpenAI's own endpoint.
	DefaultBaseURL = "https://api.openai.com/v1"
	// DefaultMaxBatch is how many dishes share a request at most.
	DefaultMaxBatch = 8
	// DefaultLinger is how long the first dish of a request waits for others.
	DefaultLinger = 20 * time.Millisecond

	// maxModel bounds the name of a model, in bytes.
	maxModel = 200
)

// Secret is a text that is not printed, logged or encoded.
type Secret string

const redacted = "***"

// String returns three stars.
func (Secret) String() string { return redacted }

// GoString returns three stars.
func (Secret) GoString() string { return redacted }

// LogValue returns three stars.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns three stars.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Config says which model answers, and where.
type Config struct {
	BaseURL    string            // up to and with /v1; empty: DefaultBaseURL
	APIKey     Secret            // empty: none is sent, as local servers want it
	Model      string            // of a Provider, as the server calls it
	ImageModel string            // of a Painter, as the server calls it
	MaxBatch   int               // dishes in one request; 0: DefaultMaxBatch
	Linger     time.Duration     // wait of a request's first dish for others; 0: DefaultLinger
	Transport  http.RoundTripper // nil: http.DefaultTransport; it stays the caller's
}

// WithDefaults returns a copy with the defaults filled in.
func (c Config) WithDefaults() Config {
	if c.BaseURL == "" {
		c.BaseURL = DefaultBaseURL
	}
	if c.MaxBatch == 0 {
		c.MaxBatch = DefaultMaxBatch
	}
	if c.Linger == 0 {
		c.Linger = DefaultLinger
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	return c
}

// Validate names the fields that cannot be worked with. The models are not looked at: [New] needs one, [NewPainter] the
// other.
func (c Config) Validate() error {
	_, err := c.WithDefaults().base()
	errs := []error{err}
	if strings.ContainsFunc(string(c.APIKey), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		errs = append(errs, errors.New("openai.Config.APIKey: it may have no blanks, line ends or characters beyond ASCII"))
	}
	if c.MaxBatch < 0 || c.Linger < 0 {
		errs = append(errs, fmt.Errorf("openai.Config.MaxBatch %d, Linger %s: neither may be negative", c.MaxBatch, c.Linger))
	}
	return errors.Join(errs...)
}

// base is the parsed address of the endpoint. The error does not repeat it: it may hold a password.
func (c Config) base() (*url.URL, error) {
	u, err := url.Parse(c.BaseURL)
	switch {
	case err != nil:
		return nil, errors.New("openai.Config.BaseURL is no URL: give one like http://127.0.0.1:11434/v1")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, errors.New("openai.Config.BaseURL must begin with http:// or https:// and a host, like http://127.0.0.1:11434/v1")
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("openai.Config.BaseURL may have no user, query or fragment: a key belongs into APIKey")
	}
	return u, nil
}

func validModel(field, name string) error {
	if name == "" || len(name) > maxModel || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("openai.Config.%s %.40q: give a model's name of 1 to %d bytes without blanks", field, name, maxModel)
	}
	return nil
}

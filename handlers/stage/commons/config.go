package commons

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Where the public hosts answer.
const (
	CommonsURL   = "https://commons.wikimedia.org/w/api.php"
	OpenverseURL = "https://api.openverse.org/v1/images/"
)

const (
	defaultInterval = time.Second
	defaultTimeout  = 20 * time.Second
	maxContact      = 200 // bytes
)

// Config holds the settings of a [Provider]. Contact is required.
type Config struct {
	CommonsURL   string        // action API of a MediaWiki; empty: [CommonsURL]
	OpenverseURL string        // image search of an Openverse; empty: [OpenverseURL]
	Contact      string        // mail address or web page of whoever runs this process, sent to both hosts
	Interval     time.Duration // between two requests to one host; 0: a second
	Timeout      time.Duration // of one request; 0: 20 s
}

func (c Config) withDefaults() Config {
	if c.CommonsURL == "" {
		c.CommonsURL = CommonsURL
	}
	if c.OpenverseURL == "" {
		c.OpenverseURL = OpenverseURL
	}
	if c.Interval == 0 {
		c.Interval = defaultInterval
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	return c
}

// Validate names every field that cannot be worked with.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if _, err := endpoint(c.CommonsURL); err != nil {
		errs = append(errs, fmt.Errorf("commons.Config.CommonsURL: %w", err))
	}
	if _, err := endpoint(c.OpenverseURL); err != nil {
		errs = append(errs, fmt.Errorf("commons.Config.OpenverseURL: %w", err))
	}
	switch {
	case strings.TrimSpace(c.Contact) == "":
		errs = append(errs, errors.New("commons.Config.Contact is missing: both hosts want to know whom to write to, set a mail address or a web page of yours"))
	case len(c.Contact) > maxContact || strings.ContainsFunc(c.Contact, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune("()\\", r) }):
		errs = append(errs, fmt.Errorf("commons.Config.Contact must be at most %d characters of ASCII, without brackets", maxContact))
	}
	if c.Interval < 0 || c.Timeout < 0 {
		errs = append(errs, errors.New("commons.Config.Interval and Timeout may not be negative"))
	}
	return errors.Join(errs...)
}

// endpoint reads the address of a host. Only one on this machine may do without TLS.
func endpoint(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is no URL", raw)
	case u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return nil, fmt.Errorf("%q must be a host and a path, without a user, a query and a fragment", raw)
	case u.Scheme == "https", u.Scheme == "http" && onThisMachine(u):
		return u, nil
	}
	return nil, fmt.Errorf("%q must begin with https://", raw)
}

// onThisMachine says whether a configured address is a loopback one.
func onThisMachine(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

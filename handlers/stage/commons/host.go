package commons

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"kondate/domain/cuisine"
	"kondate/handlers/stage"
)

const (
	// maxBody bounds an answer, unpacked; ten pictures take some 30 kB.
	maxBody = 2 << 20
	// maxHeader bounds the header of an answer.
	maxHeader = 64 << 10
	// maxRedirects bounds the ways around within the same host.
	maxRedirects = 2
	// defaultPause is kept after "too many requests" without a word on how long.
	defaultPause = time.Minute
	// maxPause bounds the pause that a host can ask for.
	maxPause = 24 * time.Hour
)

// host is one of the two that are searched.
type host struct {
	name   string // as readers know it
	url    *url.URL
	agent  string
	params func(query string) url.Values
	decode func(body []byte) ([]cuisine.Image, error)

	client  *http.Client
	timeout time.Duration
	limiter *rate.Limiter

	mu    sync.Mutex // guards until
	until time.Time  // the host wants no request before
}

func newHost(cfg Config, name, address string, params func(string) url.Values, decode func([]byte) ([]cuisine.Image, error)) (*host, error) {
	u, err := endpoint(address)
	if err != nil {
		return nil, err
	}
	return &host{
		name: name, url: u, params: params, decode: decode,
		agent:   "Kondate/" + version + " (restaurant menus; " + cfg.Contact + ")",
		client:  &http.Client{Transport: stage.TraceRequests(transport(onThisMachine(u))), CheckRedirect: sameHost(u)},
		timeout: cfg.Timeout,
		limiter: rate.NewLimiter(rate.Every(cfg.Interval), 1),
	}, nil
}

// awayError says that a host gave no answer that can be used. It says nothing about the dish.
type awayError struct {
	host       string
	retryAfter time.Duration // the host's wish; 0: none
	err        error
}

func (e *awayError) Error() string { return fmt.Sprintf("search at %s: %v", e.host, e.err) }
func (e *awayError) Unwrap() error { return e.err }

// busyError is a host's wish to be left alone for a while.
type busyError struct {
	says string
	wait time.Duration
}

func (e *busyError) Error() string { return fmt.Sprintf("%s: ask again in %s", e.says, e.wait) }

// find waits for the host's turn and searches. The error is an [*awayError], unless ctx ends or would end before the turn.
func (h *host) find(ctx context.Context, query string) ([]cuisine.Image, error) {
	if err := h.paused(); err != nil {
		return nil, err
	}
	if err := h.limiter.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &stage.Error{Reason: stage.ReasonTimeout, Err: fmt.Errorf("the turn at %s comes after the dish's time: %w", h.name, err)}
	}
	if err := h.paused(); err != nil { // it may have asked for it while this dish waited
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	images, err := h.ask(limited, query)
	switch {
	case err == nil:
		return images, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case limited.Err() != nil:
		err = fmt.Errorf("no answer within %s", h.timeout)
	}
	away := &awayError{host: h.name, err: err}
	if busy, ok := errors.AsType[*busyError](err); ok {
		away.retryAfter = busy.wait
		h.pause(busy.wait)
	}
	return nil, away
}

// ask makes one request.
func (h *host) ask(ctx context.Context, query string) ([]cuisine.Image, error) {
	u := *h.url
	u.RawQuery = h.params(query).Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("User-Agent", h.agent)
	req.Header.Set("Accept", "application/json")
	resp, err := h.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the address, which is long
		}
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read, or is of no use
	wait, asked := retryAfter(resp.Header, time.Now())
	says := plain(resp.Status, maxName)
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests && !asked:
		return nil, &busyError{says, defaultPause}
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable && asked:
		return nil, &busyError{says, wait}
	case code == http.StatusForbidden:
		return nil, fmt.Errorf("the answer is %s: it may not like commons.contact, which must name somebody to write to", says)
	case code != http.StatusOK:
		return nil, fmt.Errorf("the answer is %s", says)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer: %w", err)
	case len(body) > maxBody:
		return nil, fmt.Errorf("the answer has more than %d bytes", maxBody)
	}
	images, err := h.decode(body)
	if busy, ok := errors.AsType[*busyError](err); ok && asked {
		busy.wait = wait
	}
	return images, err
}

// paused is the host's wish while it lasts.
func (h *host) paused() error {
	h.mu.Lock()
	left := time.Until(h.until)
	h.mu.Unlock()
	if left <= 0 {
		return nil
	}
	left = left.Round(time.Second) + time.Second
	return &awayError{host: h.name, retryAfter: left, err: &busyError{"it wants no requests now", left}}
}

func (h *host) pause(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if until := time.Now().Add(d); until.After(h.until) {
		h.until = until
	}
}

// retryAfter reads the header of that name, seconds or a date, and bounds it; false if it says nothing.
func retryAfter(header http.Header, now time.Time) (time.Duration, bool) {
	value := header.Get("Retry-After")
	var d time.Duration
	if n, err := strconv.ParseUint(value, 10, 32); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	} else {
		return 0, false
	}
	return min(max(d, time.Second), maxPause), true
}

// sameHost lets a host send a request on within itself only: a redirect must not be a way to anybody else.
func sameHost(u *url.URL) func(*http.Request, []*http.Request) error {
	return func(next *http.Request, before []*http.Request) error {
		switch {
		case next.URL.Scheme != u.Scheme || next.URL.Host != u.Host:
			return fmt.Errorf("the answer leads to %s, only %s is asked", plain(next.URL.Scheme+"://"+next.URL.Host, maxName), u.Host)
		case len(before) > maxRedirects:
			return fmt.Errorf("the answer leads on more than %d times", maxRedirects)
		}
		return nil
	}
}

// transport connects to the outside world alone; local: to this machine alone. No proxy is used: it would be the one to
// resolve the name.
func transport(local bool) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: guardAddress(local)}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        4,
		MaxIdleConns:           4,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
	}
}

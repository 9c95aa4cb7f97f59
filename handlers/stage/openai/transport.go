package openai

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"kondate/handlers/stage"
)

// errTooLong is matched by the error of an answer that is longer than any honest one.
var errTooLong = errors.New("the answer is too long")

// cutOffError is the end of a connection in the middle of an answer.
type cutOffError struct{ err error }

func (e *cutOffError) Error() string { return "the answer broke off: " + e.err.Error() }
func (e *cutOffError) Unwrap() error { return e.err }

// httpClient returns a client that reads limit bytes of an answer at most and follows no redirect: a key and a menu go to
// the configured server only.
func httpClient(transport http.RoundTripper, limit int64) *http.Client {
	return &http.Client{
		Transport:     bounded{stage.TraceRequests(transport), limit},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type bounded struct {
	next  http.RoundTripper
	limit int64
}

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err // a transport's errors are named by the client
	}
	res.Body = &boundedBody{ReadCloser: res.Body, left: b.limit, limit: b.limit}
	return res, nil
}

type boundedBody struct {
	io.ReadCloser
	left, limit int64
}

// Read fails once more was read than the limit allows.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, fmt.Errorf("%w: more than %d bytes", errTooLong, b.limit)
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("%w: more than %d bytes", errTooLong, b.limit)
	}
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = &cutOffError{err}
	}
	return n, err
}

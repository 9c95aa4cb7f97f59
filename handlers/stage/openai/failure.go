package openai

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"kondate/handlers/stage"
)

// The reasons that this package itself gives for a failed attempt, besides those of the engine.
const (
	ReasonRateLimited   = "rate_limited"   // the server takes no more for now
	ReasonQuota         = "quota_used_up"  // the account has nothing left
	ReasonUnauthorized  = "unauthorized"   // the key is wrong, or may not use the model
	ReasonMisconfigured = "misconfigured"  // no such model or address, or the model cannot do what is asked
	ReasonUnreachable   = "unreachable"    // the server does not answer, or says that it is down
	ReasonServerError   = "server_error"   // the server failed
	ReasonBadRequest    = "bad_request"    // the server refuses the request, for a reason it does not name by a known code
	ReasonTooLong       = "too_long"       // the dish's text is longer than the model takes
	ReasonRefused       = "refused"        // the model or a filter of the server refuses to answer
	ReasonCut           = "answer_cut_off" // the model's answer reached a limit of length
)

// failure is why a request brought no answer.
type failure struct {
	err     error
	content bool // it may lie with one of the request's dishes: another one alone may well be answered
}

func fail(e *stage.Error) *failure { return &failure{err: e} }

// spoilt is a failure that one of the dishes may have brought upon all.
func spoilt(e *stage.Error) *failure { return &failure{err: e, content: true} }

// serverError is what a server says about a request that it refuses.
type serverError struct{ message, code, kind, param string }

// classify gives a failed request its kind. res is nil if no answer came. Of the server's own words only a short, redacted
// part is repeated, and none where they may quote a key.
func (e *endpoint) classify(ctx context.Context, res *http.Response, err error) *failure {
	if ctx.Err() != nil {
		return &failure{err: context.Cause(ctx)}
	}
	if res == nil {
		return fail(&stage.Error{Reason: ReasonUnreachable, Away: true, Err: fmt.Errorf("ask %s: %s", e.base, e.redact(err.Error()))})
	}
	status := res.StatusCode
	if status >= 300 && status < 400 {
		return fail(&stage.Error{Reason: ReasonMisconfigured, Away: true, Err: fmt.Errorf(
			"%s answers with a redirect (%d), which is not followed: set openai.base_url to the server's own address", e.base, status)})
	}
	if status >= 400 {
		return e.refusal(res)
	}
	if broken, is := errors.AsType[*cutOffError](err); is {
		return fail(&stage.Error{Reason: ReasonUnreachable, Err: fmt.Errorf("read from %s: %w", e.base, broken)})
	}
	return fail(&stage.Error{Reason: stage.ReasonInvalidResult, Err: fmt.Errorf("%s sent no answer that can be read: %s", e.base, e.redact(err.Error()))})
}

// refusal gives an error status its kind.
func (e *endpoint) refusal(res *http.Response) *failure {
	said := readServerError(res.Body)
	status := res.StatusCode
	cause := fmt.Errorf("%s answers %d %s: %s", e.base, status, http.StatusText(status), e.redact(said.message))
	switch said.code {
	case "content_filter", "content_policy_violation", "moderation_blocked":
		return spoilt(&stage.Error{Reason: ReasonRefused, Permanent: true, Err: cause})
	case "context_length_exceeded", "string_above_max_length":
		return spoilt(&stage.Error{Reason: ReasonTooLong, Permanent: true, Err: cause})
	case "insufficient_quota", "billing_hard_limit_reached":
		return fail(&stage.Error{Reason: ReasonQuota, Away: true, RetryAfter: retryAfter(res.Header), Err: fmt.Errorf(
			"the account at %s has used up its quota: look at its plan and billing", e.base)})
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fail(&stage.Error{Reason: ReasonUnauthorized, Away: true, Err: fmt.Errorf(
			"%s answers %d %s: check openai.api_key, and that it may use %s", e.base, status, http.StatusText(status), e.model)})
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return fail(&stage.Error{Reason: ReasonMisconfigured, Away: true, Err: fmt.Errorf(
			"%w (check that the server has the model %s and that openai.base_url is right)", cause, e.model)})
	case http.StatusTooManyRequests:
		return fail(&stage.Error{Reason: ReasonRateLimited, Away: true, RetryAfter: retryAfter(res.Header), Err: cause})
	case http.StatusRequestEntityTooLarge:
		return spoilt(&stage.Error{Reason: ReasonTooLong, Permanent: true, Err: cause})
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		if said.ours() {
			return fail(&stage.Error{Reason: ReasonMisconfigured, Away: true, Err: fmt.Errorf("%w (the model %s cannot do what is asked)", cause, e.model)})
		}
		return spoilt(&stage.Error{Reason: ReasonBadRequest, Err: cause})
	case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, statusOverloaded:
		return fail(&stage.Error{Reason: ReasonUnreachable, Away: true, RetryAfter: retryAfter(res.Header), Err: cause})
	}
	// A dish may have made the server stumble: were this "away", it could keep all others waiting for ever.
	return fail(&stage.Error{Reason: ReasonServerError, RetryAfter: retryAfter(res.Header), Err: cause})
}

// statusOverloaded is what some gateways answer when there is too much to do.
const statusOverloaded = 529

// ours says that the fault lies with what we send for every dish.
func (s serverError) ours() bool {
	switch s.code {
	case "model_not_found", "unsupported_parameter", "unsupported_value", "unknown_parameter", "invalid_json_schema", "invalid_schema":
		return true
	}
	return s.param == "model" || s.param == "response_format" || strings.HasPrefix(s.param, "response_format.")
}

// readServerError reads the error that a body holds. Servers differ: an object or a text under "error", or the object itself.
func readServerError(body io.Reader) serverError {
	raw, err := io.ReadAll(body)
	if err != nil {
		return serverError{message: "its reason cannot be read"}
	}
	var doc map[string]any
	if json.Unmarshal(raw, &doc) != nil {
		return serverError{message: "it gives no reason as JSON"}
	}
	switch inner := doc["error"].(type) {
	case string:
		return serverError{message: inner}
	case map[string]any:
		doc = inner
	}
	text := func(key string) string {
		s, _ := doc[key].(string) // some servers send numbers
		return s
	}
	return serverError{message: cmp.Or(text("message"), text("detail"), "no reason given"), code: text("code"), kind: text("type"), param: text("param")}
}

// maxSaid bounds how much of a server's words an error repeats, in bytes.
const maxSaid = 300

// redact makes one short line of a server's words, without the key.
func (e *endpoint) redact(text string) string {
	if e.key != "" {
		text = strings.ReplaceAll(text, string(e.key), redacted)
	}
	return cut(strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, ""), func(r rune) bool { return r <= ' ' || r == 0x7f }), " "), maxSaid)
}

// retryAfter is the pause that a server asks for; 0 if it asks for none.
func retryAfter(h http.Header) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil {
		return pause(ms / 1000)
	}
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		return pause(seconds)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// maxPause is the longest pause that is believed; the engine's own limit is shorter.
const maxPause = 24 * time.Hour

func pause(seconds float64) time.Duration {
	if math.IsNaN(seconds) || seconds <= 0 {
		return 0
	}
	return time.Duration(min(seconds, maxPause.Seconds()) * float64(time.Second))
}

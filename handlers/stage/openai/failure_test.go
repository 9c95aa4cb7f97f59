package openai_test

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/handlers/stage"
	"kondate/handlers/stage/openai"
)

func TestFailures(t *testing.T) {
	t.Parallel()
	status := func(code int, body string, headers ...string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			for i := 0; i+1 < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}
	}
	coded := func(code, param string) string {
		raw, _ := json.Marshal(map[string]any{"error": map[string]any{"message": "m", "type": "t", "code": code, "param": param}})
		return string(raw)
	}
	invalid := stage.ReasonInvalidResult
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter)
		want   stage.Error
		says   string
	}{
		"RateLimitSeconds": {status(429, coded("rate_limit_exceeded", ""), "Retry-After", "12"), stage.Error{Reason: openai.ReasonRateLimited, Away: true, RetryAfter: 12 * time.Second}, ""},
		"RateLimitMillis":  {status(429, "{}", "Retry-After-Ms", "1500", "Retry-After", "2"), stage.Error{Reason: openai.ReasonRateLimited, Away: true, RetryAfter: 1500 * time.Millisecond}, ""},
		"RateLimitPast":    {status(429, "{}", "Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"), stage.Error{Reason: openai.ReasonRateLimited, Away: true}, ""},
		"RateLimitOdd":     {status(429, "{}", "Retry-After", "NaN"), stage.Error{Reason: openai.ReasonRateLimited, Away: true}, ""},
		"RateLimitNever":   {status(429, "{}", "Retry-After", "1e300"), stage.Error{Reason: openai.ReasonRateLimited, Away: true, RetryAfter: 24 * time.Hour}, ""},
		"Quota":            {status(429, coded("insufficient_quota", "")), stage.Error{Reason: openai.ReasonQuota, Away: true}, "billing"},
		"WrongKey":         {status(401, `{"error":{"message":"Incorrect API key provided: `+key+`"}}`), stage.Error{Reason: openai.ReasonUnauthorized, Away: true}, "openai.api_key"},
		"Forbidden":        {status(403, "<html>no</html>"), stage.Error{Reason: openai.ReasonUnauthorized, Away: true}, "openai.api_key"},
		"NoModel":          {status(404, coded("model_not_found", "")), stage.Error{Reason: openai.ReasonMisconfigured, Away: true}, model},
		"OllamaNoModel":    {status(404, `{"error":"model 'x' not found"}`), stage.Error{Reason: openai.ReasonMisconfigured, Away: true}, "model 'x' not found"},
		"Redirect":         {status(307, "", "Location", "http://127.0.0.1:1/elsewhere"), stage.Error{Reason: openai.ReasonMisconfigured, Away: true}, "openai.base_url"},
		"OurParameter":     {status(400, coded("unsupported_parameter", "response_format")), stage.Error{Reason: openai.ReasonMisconfigured, Away: true}, model},
		"BadRequest":       {status(400, `{"object":"error","message":"odd","type":"BadRequestError","param":null,"code":400}`), stage.Error{Reason: openai.ReasonBadRequest}, "odd"},
		"EchoesTheKey":     {status(400, `{"message":"you sent Bearer `+key+`"}`), stage.Error{Reason: openai.ReasonBadRequest}, "Bearer ***"},
		"TooLong":          {status(400, coded("context_length_exceeded", "messages")), stage.Error{Reason: openai.ReasonTooLong, Permanent: true}, ""},
		"TooLarge":         {status(413, ""), stage.Error{Reason: openai.ReasonTooLong, Permanent: true}, ""},
		"Filtered":         {status(400, coded("content_filter", "prompt")), stage.Error{Reason: openai.ReasonRefused, Permanent: true}, ""},
		"ServerError":      {status(500, coded("server_error", "")), stage.Error{Reason: openai.ReasonServerError}, "500"},
		"BadGateway":       {status(502, "<html>"), stage.Error{Reason: openai.ReasonUnreachable, Away: true}, "502"},
		"Unavailable":      {status(503, "", "Retry-After", "3"), stage.Error{Reason: openai.ReasonUnreachable, Away: true, RetryAfter: 3 * time.Second}, "503"},
		"Overloaded":       {status(529, ""), stage.Error{Reason: openai.ReasonUnreachable, Away: true}, "529"},
		"NoChoices":        {status(200, `{"id":"x","choices":[]}`), stage.Error{Reason: invalid}, "choices"},
		"Null":             {status(200, `null`), stage.Error{Reason: invalid}, "choices"},
		"TruncatedJSON":    {status(200, `{"id":"x","choices":[{"ind`), stage.Error{Reason: invalid}, ""},
		"OtherType":        {status(200, `<html>`, "Content-Type", "text/html"), stage.Error{Reason: invalid}, "text/html"},
		"CutOff":           {status(200, `{"id"`, "Content-Length", "4000"), stage.Error{Reason: openai.ReasonUnreachable}, "broke off"},
		"Refused":          {func(w http.ResponseWriter) { choose(w, "stop", "", "I will not. "+key) }, stage.Error{Reason: openai.ReasonRefused, Permanent: true}, "I will not"},
		"ContentFilter":    {func(w http.ResponseWriter) { choose(w, "content_filter", "{", "") }, stage.Error{Reason: openai.ReasonRefused, Permanent: true}, ""},
		"Length":           {func(w http.ResponseWriter) { choose(w, "length", "{", "") }, stage.Error{Reason: openai.ReasonCut}, "limit of length"},
		"KeyInAnswer": {func(w http.ResponseWriter) {
			say(w, results(entry("1", "ok", strings.Replace(described, "squid", key, 1))))
		}, stage.Error{Reason: invalid}, "repeats the key"},
		"Nothing": {func(w http.ResponseWriter) { choose(w, "stop", "", "") }, stage.Error{Reason: invalid}, "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, func(w http.ResponseWriter, _ *http.Request, _ call) { test.answer(w) })
			_, err := provider(t, s, menu.Description).Answer(t.Context(), request(menu.Description, "謎", ""))
			e := failed(t, err)
			if e.Reason != test.want.Reason || e.Permanent != test.want.Permanent || e.Away != test.want.Away || e.RetryAfter != test.want.RetryAfter {
				t.Errorf("got %+v, want %+v", e, test.want)
			}
			if text := err.Error(); strings.Contains(text, key) || !strings.Contains(text, test.says) || len(text) > 1000 {
				t.Errorf("error %q, want one with %q and without the key", text, test.says)
			}
			if n := len(s.seen()); n != 1 {
				t.Errorf("%d requests, want 1: the engine retries", n)
			}
		})
	}
}

func TestRetryAfterADate(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request, _ call) {
		w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		refuse(w, http.StatusTooManyRequests, "", "")
	})
	_, err := provider(t, s, menu.Description).Answer(t.Context(), request(menu.Description, "謎", ""))
	if e := failed(t, err); e.RetryAfter < 58*time.Minute || e.RetryAfter > time.Hour {
		t.Errorf("%+v", e)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	var l net.ListenConfig
	listener, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := openai.New(openai.Config{BaseURL: "http://" + at + "/v1", APIKey: key, Model: model, MaxBatch: 1}, knowledge(t), menu.Description)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Answer(t.Context(), request(menu.Description, "謎", ""))
	if e := failed(t, err); e.Reason != openai.ReasonUnreachable || !e.Away || e.Permanent || !strings.Contains(e.Error(), at) || strings.Contains(e.Error(), key) {
		t.Errorf("%+v", e)
	}
}

package commons_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/handlers/stage"
	"kondate/handlers/stage/commons"
)

// failure is the error's kind, nil if it has none.
func failure(err error) *stage.Error {
	e, _ := errors.AsType[*stage.Error](err)
	return e
}

// broken are the ways in which a host can fail, with what the error says of it.
func broken(t *testing.T) map[string]struct {
	handler http.HandlerFunc
	text    string
} {
	t.Helper()
	whole := recorded(t, "wikimedia")
	return map[string]struct {
		handler http.HandlerFunc
		text    string
	}{
		"ServerError":    {status(http.StatusInternalServerError, "boom", ""), "500 Internal Server Error"},
		"Unavailable":    {status(http.StatusServiceUnavailable, "", ""), "503 Service Unavailable"},
		"TooMany":        {status(http.StatusTooManyRequests, `{"detail":"Request was throttled."}`, "3600"), "429 Too Many Requests: ask again in 1h0m0s"},
		"TooManyNoWord":  {status(http.StatusTooManyRequests, "", ""), "ask again in 1m0s"},
		"Busy":           {status(http.StatusServiceUnavailable, "", "120"), "503 Service Unavailable: ask again in 2m0s"},
		"Forbidden":      {status(http.StatusForbidden, "", ""), "commons.contact"},
		"Truncated":      {status(http.StatusOK, whole[:len(whole)/2], ""), "the answer is not valid"},
		"Empty":          {status(http.StatusOK, "", ""), "the answer is not valid"},
		"HTML":           {status(http.StatusOK, "<html>Please log in to the network</html>", ""), "the answer is not valid"},
		"OtherJSON":      {status(http.StatusOK, `{"hello":1}`, ""), "the answer is not one of the"},
		"WrongType":      {status(http.StatusOK, `{"query":[],"results":{}}`, ""), "the answer is not valid"},
		"Deep":           {status(http.StatusOK, strings.Repeat(`{"query":`, 20_000), ""), "the answer is not valid"},
		"Huge":           {status(http.StatusOK, `{"x":"`+strings.Repeat("x", 3<<20)+`"}`, ""), "more than 2097152 bytes"},
		"Cut":            {cut, "unexpected EOF"},
		"Gone":           {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		"HugeHeader":     {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, "header"},
		"SwitchingAbout": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) }, "more than 2 times"},
	}
}

// cut promises more than it sends.
func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(`{"query":`)) // the client waits for more
}

func TestBothHostsAway(t *testing.T) {
	t.Parallel()
	for name, test := range broken(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _, _ := between(t, test.handler, test.handler)
			_, err := p.Answer(t.Context(), request(karaage))
			e := failure(err)
			if e == nil || !e.Away || e.Permanent || !strings.Contains(err.Error(), test.text) ||
				!strings.Contains(err.Error(), "Wikimedia Commons") || !strings.Contains(err.Error(), "Openverse") {
				t.Fatalf("err = %v (%+v), want %q", err, e, test.text)
			}
			if wait := strings.Contains(test.text, "ask again"); wait != (e.RetryAfter > 0) || wait != (e.Reason == commons.ReasonRateLimited) {
				t.Errorf("reason %q, retry after %s", e.Reason, e.RetryAfter)
			}
		})
	}
}

// Whatever one host does, the pictures of the other one are shown.
func TestOneHostAway(t *testing.T) {
	t.Parallel()
	few := wikimedia(t, func(pages []map[string]any) []map[string]any { return pages[1:3] })
	for name, test := range broken(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, wiki, open := between(t, test.handler, answers(t, "openverse"))
			result, data := ask(t.Context(), t, p, request(karaage))
			if result.Status != menu.StatusPartial || len(data.Images) != 3 || !slices.Equal(result.Warnings, menu.Strings{wikiAway, example}) {
				t.Errorf("without Wikimedia Commons: %d images, %+v", len(data.Images), result)
			}
			if name != "SwitchingAbout" && len(wiki.asked("")) != 1 || len(open.asked("")) != 1 {
				t.Errorf("%d and %d requests", len(wiki.asked("")), len(open.asked("")))
			}
			p, _, _ = between(t, status(http.StatusOK, few, ""), test.handler)
			result, data = ask(t.Context(), t, p, request(karaage))
			if result.Status != menu.StatusPartial || len(data.Images) != 2 || !slices.Equal(result.Warnings, menu.Strings{openAway, example}) {
				t.Errorf("without Openverse: %d images, %+v", len(data.Images), result)
			}
		})
	}
}

// One host away and nothing at the other is no failure: the search links are worth having.
func TestOneHostAwayAndNothingAtTheOther(t *testing.T) {
	t.Parallel()
	p, _, _ := between(t, status(http.StatusBadGateway, "", ""), answers(t, "openverse_none"))
	result, data := ask(t.Context(), t, p, request(karaage))
	if result.Status != menu.StatusPartial || len(data.SearchLinks) != 2 || !slices.Equal(result.Warnings, menu.Strings{wikiAway, nothing}) {
		t.Errorf("result %+v", result)
	}
}

func TestErrorsOfTheActionAPI(t *testing.T) {
	t.Parallel()
	for file, test := range map[string]struct {
		header string
		wait   time.Duration
		text   string
	}{
		"wikimedia_maxlag": {"", 8 * time.Second, `the error "maxlag" (Waiting for a database server: 7.5 seconds lagged.)`},
		"wikimedia_error":  {"", 0, `the error "badvalue" (Unrecognized value for parameter "generator": search.)`},
	} {
		p, _, _ := between(t, status(http.StatusOK, recorded(t, file), test.header), status(http.StatusTooManyRequests, "", "3600"))
		_, err := p.Answer(t.Context(), request(karaage))
		if e := failure(err); e == nil || !e.Away || e.RetryAfter != test.wait || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: err = %v (%+v)", file, err, e)
		}
	}
	// The header knows better than the error.
	p, _, _ := between(t, status(http.StatusOK, recorded(t, "wikimedia_maxlag"), "30"), status(http.StatusTooManyRequests, "", "3600"))
	_, err := p.Answer(t.Context(), request(karaage))
	if e := failure(err); e == nil || e.RetryAfter != 30*time.Second {
		t.Errorf("err = %v (%+v)", err, e)
	}
}

func TestRetryAfterAsDate(t *testing.T) {
	t.Parallel()
	later := status(http.StatusTooManyRequests, "", time.Now().Add(10*time.Minute).UTC().Format(http.TimeFormat))
	p, _, _ := between(t, later, later)
	_, err := p.Answer(t.Context(), request(karaage))
	if e := failure(err); e == nil || e.RetryAfter < 9*time.Minute || e.RetryAfter > 10*time.Minute {
		t.Errorf("err = %v (%+v)", err, e)
	}
}

// A host that asks for a pause gets it, from all dishes; then it is asked again.
func TestPause(t *testing.T) {
	t.Parallel()
	refuse := make(chan struct{}, 1)
	refuse <- struct{}{}
	p, wiki, _ := between(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-refuse:
			status(http.StatusTooManyRequests, "", "2")(w, r)
		default:
			answers(t, "wikimedia")(w, r)
		}
	}), answers(t, "openverse"))
	for range 3 {
		if result, data := ask(t.Context(), t, p, request(karaage)); result.Status != menu.StatusPartial || len(data.Images) != 3 {
			t.Errorf("during the pause: %+v", result)
		}
	}
	if n := len(wiki.asked("")); n != 1 {
		t.Errorf("%d requests during the pause", n)
	}
	<-time.After(2100 * time.Millisecond)
	if result, _ := ask(t.Context(), t, p, request(karaage)); result.Status != menu.StatusOK {
		t.Errorf("after the pause: %+v", result)
	}
}

// Two dishes are never nearer to each other than the interval, however many ask at once.
func TestRate(t *testing.T) {
	t.Parallel()
	const interval, dishes = 50 * time.Millisecond, 5
	w, o := serve(t, answers(t, "wikimedia")), serve(t, answers(t, "openverse"))
	p := provider(t, commons.Config{CommonsURL: w.URL, OpenverseURL: o.URL, Interval: interval})
	start := time.Now()
	done := make(chan error, dishes)
	for range dishes {
		go func() {
			_, err := p.Answer(t.Context(), request(karaage))
			done <- err
		}()
	}
	for range dishes {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(start); took < (dishes-1)*interval {
		t.Errorf("%d requests took %s", dishes, took)
	}
}

func TestWaitForTheTurnEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w, o := serve(t, answers(t, "wikimedia")), serve(t, answers(t, "openverse"))
	p := provider(t, commons.Config{CommonsURL: w.URL, OpenverseURL: o.URL, Interval: time.Hour})
	ask(t.Context(), t, p, request(karaage))

	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(stop) })
	if _, err := p.Answer(ctx, request(karaage)); !errors.Is(err, stop) {
		t.Errorf("err = %v", err)
	}
	// A turn that comes too late is not waited for, and is no fault of the host.
	ctx, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	_, err := p.Answer(ctx, request(karaage))
	if e := failure(err); e == nil || e.Reason != stage.ReasonTimeout || e.Away || e.Permanent {
		t.Errorf("err = %v (%+v)", err, e)
	}
	if n := len(w.asked("")) + len(o.asked("")); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// A host that only drips ends with the dish's time.
func TestSlowHostEndsWithTheContext(t *testing.T) {
	t.Parallel()
	for _, wiki := range []http.HandlerFunc{stall, answers(t, "wikimedia_none")} { // each host in its turn
		p, _, _ := between(t, wiki, http.HandlerFunc(stall))
		late := errors.New("late")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, late)
		defer cancel()
		if _, err := p.Answer(ctx, request(karaage)); !errors.Is(err, late) {
			t.Errorf("err = %v", err)
		}
	}
}

// Long before that, the other host is asked.
func TestSlowHostDoesNotHoldUpTheOther(t *testing.T) {
	t.Parallel()
	w, o := serve(t, http.HandlerFunc(stall)), serve(t, answers(t, "openverse"))
	p := provider(t, commons.Config{CommonsURL: w.URL, OpenverseURL: o.URL, Timeout: time.Second})
	result, data := ask(t.Context(), t, p, request(karaage))
	if result.Status != menu.StatusPartial || len(data.Images) != 3 || !has(result.Warnings, wikiAway) {
		t.Errorf("result %+v", result)
	}
	p = provider(t, commons.Config{CommonsURL: w.URL, OpenverseURL: w.URL, Timeout: 50 * time.Millisecond})
	_, err := p.Answer(t.Context(), request(karaage))
	if e := failure(err); e == nil || !e.Away || strings.Count(err.Error(), "no answer within 50ms") != 2 {
		t.Errorf("err = %v", err)
	}
}

// Nobody listens there any more.
func TestNoServer(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	p := provider(t, commons.Config{CommonsURL: gone.URL, OpenverseURL: gone.URL})
	_, err := p.Answer(t.Context(), request(karaage))
	if e := failure(err); e == nil || !e.Away || e.Reason != commons.ReasonUnreachable || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("err = %v (%+v)", err, e)
	}
}

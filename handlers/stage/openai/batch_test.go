package openai_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"kondate/domain/menu"
	"kondate/handlers/stage"
	"kondate/handlers/stage/openai"
)

func menuOf(n int) []stage.Request {
	var out []stage.Request
	for i := range n {
		out = append(out, request(menu.Description, fmt.Sprintf("謎の一品%d", i), "一品"))
	}
	return out
}

// echo answers each dish with a description that names it, in another order than asked.
func echo(c call) string {
	var list []string
	for _, d := range c.dishes {
		list = append(list, entry(d.ID, "ok", fmt.Sprintf(`{"description":%q,"serving":"hot","raw":"cooked","how_to_eat":null,"region":null}`, "This is "+d.Name)))
	}
	slices.Reverse(list)
	return results(list...)
}

func names(c call) (out []string) {
	for _, d := range c.dishes {
		out = append(out, d.Name)
	}
	slices.Sort(out)
	return out
}

func checkEcho(t *testing.T, requests []stage.Request, got []menu.Result, errs []error) {
	t.Helper()
	for i, r := range requests {
		if errs[i] != nil || !strings.Contains(string(got[i].Data), r.Item.Name+`"`) {
			t.Errorf("%s: %s, %v", r.Item.Name, got[i].Data, errs[i])
		}
	}
}

func TestEightDishesAreOneRequest(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request, c call) { say(w, echo(c)) })
	requests := menuOf(8)
	got, errs := together(t, provider(t, s, menu.Description, batches(8)), requests...)
	checkEcho(t, requests, got, errs)
	if calls := s.seen(); len(calls) != 1 || len(calls[0].dishes) != 8 {
		t.Errorf("%d requests", len(calls))
	}
}

func TestLingerEndsTheWait(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request, c call) { say(w, echo(c)) })
	requests := menuOf(3)
	got, errs := together(t, provider(t, s, menu.Description, batches(8), func(c *openai.Config) { c.Linger = 0 }), requests...)
	checkEcho(t, requests, got, errs)
}

// Only dishes of one session, in one pair of languages, share a request.
func TestSessionsShareNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request, c call) { say(w, echo(c)) })
	requests := slices.Concat(menuOf(2), menuOf(2), menuOf(2), menuOf(2))
	for i := range requests {
		r := &requests[i]
		r.Item.Name = fmt.Sprintf("謎の一品%d", i)
		switch i / 2 {
		case 1:
			r.Key.Session = "s2"
		case 2:
			r.Key.Tenant = "other"
		case 3:
			r.TargetLanguage = "fr"
		}
	}
	got, errs := together(t, provider(t, s, menu.Description, batches(2)), requests...)
	checkEcho(t, requests, got, errs)
	var asked []string
	for _, c := range s.seen() {
		asked = append(asked, strings.Join(names(c), "+"))
	}
	slices.Sort(asked)
	want := []string{"謎の一品0+謎の一品1", "謎の一品2+謎の一品3", "謎の一品4+謎の一品5", "謎の一品6+謎の一品7"}
	if !slices.Equal(asked, want) {
		t.Errorf("requests %q, want %q", asked, want)
	}
}

// What spoils a batch is asked for alone before anything fails.
func TestBatchFallsApart(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(w http.ResponseWriter, c call){
		"Refused":  func(w http.ResponseWriter, _ call) { choose(w, "stop", "", "I cannot help with that.") },
		"Filtered": func(w http.ResponseWriter, _ call) { choose(w, "content_filter", "", "") },
		"Cut":      func(w http.ResponseWriter, c call) { choose(w, "length", echo(c)[:50], "") },
		"Empty":    func(w http.ResponseWriter, _ call) { say(w, "") },
		"TooLong": func(w http.ResponseWriter, _ call) {
			refuse(w, http.StatusBadRequest, "context_length_exceeded", "too many tokens")
		},
		"BadRequest": func(w http.ResponseWriter, _ call) { refuse(w, http.StatusBadRequest, "", "no") },
		"Garbage":    func(w http.ResponseWriter, _ call) { say(w, "{") },
		"Missing": func(w http.ResponseWriter, c call) {
			c.dishes = c.dishes[:1]
			say(w, echo(c))
		},
		"AllMissing": func(w http.ResponseWriter, _ call) { say(w, results()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, func(w http.ResponseWriter, _ *http.Request, c call) {
				if len(c.dishes) > 1 {
					spoil(w, c)
					return
				}
				say(w, echo(c))
			})
			requests := menuOf(3)
			got, errs := together(t, provider(t, s, menu.Description, batches(3)), requests...)
			checkEcho(t, requests, got, errs)
			want := map[string]int{"Missing": 3, "Garbage": 5}[name]
			if want == 0 {
				want = 4
			}
			if n := len(s.seen()); n != want {
				t.Errorf("%d requests, want %d", n, want)
			}
		})
	}
}

// A dish that is refused even alone fails alone.
func TestOneDishSpoilsOnlyItself(t *testing.T) {
	t.Parallel()
	requests := menuOf(3)
	bad := requests[1].Item.Name
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request, c call) {
		if slices.Contains(names(c), bad) {
			choose(w, "stop", "", "No.")
			return
		}
		say(w, echo(c))
	})
	got, errs := together(t, provider(t, s, menu.Description, batches(3)), requests...)
	if e := failed(t, errs[1]); e.Reason != openai.ReasonRefused || !e.Permanent {
		t.Errorf("the refused dish: %v", e)
	}
	requests, got, errs = slices.Delete(requests, 1, 2), slices.Delete(got, 1, 2), slices.Delete(errs, 1, 2)
	checkEcho(t, requests, got, errs)
}

// Only the dishes whose answers do not count are asked for again, and the others do not wait for them.
func TestRepairInABatch(t *testing.T) {
	t.Parallel()
	requests := menuOf(3)
	bad := requests[2].Item.Name
	release := make(chan struct{})
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request, c call) {
		if c.n == 2 {
			<-release
			var again []asked
			for _, d := range c.dishes {
				if d.Name == bad {
					again = append(again, d)
				}
			}
			c.dishes = again
			say(w, echo(c))
			return
		}
		for i := range c.dishes {
			if c.dishes[i].Name == bad {
				c.dishes[i].Name = "gluten-free"
			}
		}
		say(w, echo(c))
	})
	p := provider(t, s, menu.Description, batches(3))
	var first, all sync.WaitGroup
	got, errs := make([]menu.Result, 3), make([]error, 3)
	for i, r := range requests {
		work := func() { got[i], errs[i] = p.Answer(t.Context(), r) }
		if r.Item.Name == bad {
			all.Go(work)
		} else {
			first.Go(work)
		}
	}
	first.Wait()
	close(release)
	all.Wait()
	checkEcho(t, requests, got, errs)
	if n := len(s.seen()); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

func TestCancelledCallers(t *testing.T) {
	t.Parallel()
	t.Run("OneOfTwo", func(t *testing.T) {
		t.Parallel()
		began, release := make(chan struct{}), make(chan struct{})
		s := newServer(t, func(w http.ResponseWriter, _ *http.Request, c call) {
			close(began)
			<-release
			say(w, echo(c))
		})
		requests := menuOf(2)
		p := provider(t, s, menu.Description, batches(2))
		gone := errors.New("this caller is gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		left := make(chan error, 1)
		go func() { _, err := p.Answer(ctx, requests[0]); left <- err }()
		stayed := make(chan struct{})
		var got menu.Result
		var err error
		go func() { defer close(stayed); got, err = p.Answer(t.Context(), requests[1]) }()
		<-began
		cancel(gone)
		if err := <-left; !errors.Is(err, gone) {
			t.Errorf("the caller that left: %v", err)
		}
		close(release)
		<-stayed
		checkEcho(t, requests[1:], []menu.Result{got}, []error{err})
	})
	t.Run("All", func(t *testing.T) {
		t.Parallel()
		began, ended := make(chan struct{}), make(chan struct{})
		s := newServer(t, func(_ http.ResponseWriter, r *http.Request, _ call) {
			close(began)
			<-r.Context().Done()
			close(ended)
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-began; cancel() }()
		p := provider(t, s, menu.Description, batches(2))
		var all sync.WaitGroup
		for _, r := range menuOf(2) {
			all.Go(func() {
				if _, err := p.Answer(ctx, r); !errors.Is(err, context.Canceled) {
					t.Errorf("%v", err)
				}
			})
		}
		all.Wait()
		<-ended // the request went with its callers
	})
	t.Run("BeforeTheRequest", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, func(w http.ResponseWriter, _ *http.Request, c call) { say(w, echo(c)) })
		p := provider(t, s, menu.Description, batches(3))
		requests := menuOf(4)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.Answer(ctx, requests[3]); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		got, errs := together(t, p, requests[:3]...)
		checkEcho(t, requests[:3], got, errs)
		if calls := s.seen(); len(calls) != 1 || len(calls[0].dishes) != 3 {
			t.Errorf("%d requests", len(calls))
		}
	})
}

// One failed request fails each of its dishes, and is made once.
func TestFailureOfABatch(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request, _ call) {
		w.Header().Set("Retry-After", "7")
		refuse(w, http.StatusTooManyRequests, "rate_limit_exceeded", "slow down")
	})
	_, errs := together(t, provider(t, s, menu.Description, batches(4)), menuOf(4)...)
	for _, err := range errs {
		if e := failed(t, err); e.Reason != openai.ReasonRateLimited || e.RetryAfter.Seconds() != 7 {
			t.Errorf("%v", e)
		}
	}
	if n := len(s.seen()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// panicking stands for a fault of ours in the goroutine that no caller runs in.
type panicking struct{}

func (panicking) RoundTrip(*http.Request) (*http.Response, error) { panic("boom") }

func TestPanicReachesTheCallers(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	p := provider(t, s, menu.Description, batches(2), func(c *openai.Config) { c.Transport = panicking{} })
	_, errs := together(t, p, menuOf(2)...)
	for _, err := range errs {
		if e := failed(t, err); e.Reason != stage.ReasonPanic {
			t.Errorf("%v", err)
		}
	}
}

func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{1, 8} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			s := newServer(b, func(w http.ResponseWriter, _ *http.Request, c call) { say(w, echo(c)) })
			p := provider(b, s, menu.Description, batches(size))
			requests := menuOf(8)
			for b.Loop() {
				if _, errs := together(b, p, requests...); errors.Join(errs...) != nil {
					b.Fatal(errs)
				}
			}
			b.ReportMetric(float64(len(s.seen()))/float64(b.N)/8, "requests/dish")
		})
	}
}

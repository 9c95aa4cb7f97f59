package external_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/handlers/stage/external"
	"kondate/streams/natstest"
)

func conform(t *testing.T, w worker, timeout time.Duration) external.Report {
	t.Helper()
	server := natstest.New(t)
	if w != nil {
		w.start(t, server.Conn())
	}
	r, err := external.Conform(t.Context(), server.Conn(), external.Options{Stage: menu.Allergen, Tenant: menu.DefaultTenant, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ended returns the names of the checks that ended with a verdict.
func ended(r external.Report, verdict external.Verdict) []string {
	var names []string
	for _, c := range r.Checks {
		if c.Verdict == verdict {
			names = append(names, c.Name)
		}
		if (c.Verdict == external.Failed || c.Verdict == external.Warning) != (len(c.Wrong) > 0 && c.Mend != "") {
			names = append(names, c.Name+" does not say what is wrong")
		}
	}
	return names
}

func TestConformPasses(t *testing.T) {
	t.Parallel()
	workers := map[string]worker{
		"OneReply": func(t task, say func(bool, string)) { say(true, all(t)) },
		"OneByOne": func(t task, say func(bool, string)) {
			for _, item := range t.Items {
				say(false, results(answer(item.MenuID, item.Name)))
			}
			say(true, results())
		},
		"ErrorForAnUnknownLanguage": func(t task, say func(bool, string)) {
			if t.SourceLanguage != "ja" {
				say(true, `{"error":{"reason":"unknown_language","permanent":true}}`)
				return
			}
			say(true, all(t))
		},
	}
	for name, w := range workers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := conform(t, w, 20*time.Second)
			if !r.OK() || r.Err() != nil || len(ended(r, external.Passed)) != 17 {
				t.Errorf("report %+v", r)
			}
		})
	}
}

// Each mistake is named by the check that stands for it, and by no other.
func TestConformNamesTheMistake(t *testing.T) {
	t.Parallel()
	change := func(from, to string) worker {
		return func(t task, say func(bool, string)) { say(true, strings.ReplaceAll(all(t), from, to)) }
	}
	const short = time.Second
	tests := map[string]struct {
		worker worker
		want   []string
		text   string
	}{
		"Schema":       {change(`"completeness":"unknown"`, `"completeness":"all"`), []string{"result_schema"}, "one dish: results[0].result: data.completeness: value must be one of"},
		"AllergenFree": {change(`"completeness"`, `"allergen_free":true,"completeness"`), []string{"result_schema"}, "'allergen_free' not allowed"},
		"Stage":        {change(`"stage":"allergen"`, `"stage":"task7"`), []string{"result_stage"}, `stage: "task7", asked was "allergen"`},
		"OurName":      {change(`"test"`, `"openai"`), []string{"provider_name"}, "Kondate's own"},
		"NoJSON":       {func(_ task, say func(bool, string)) { say(true, "OK") }, []string{"reply_shape"}, "not valid JSON"},
		"Array":        {func(t task, say func(bool, string)) { say(true, "["+answer(t.Items[0].MenuID, "")+"]") }, []string{"reply_shape"}, "the reply: no JSON object"},
		"UnknownDish": {func(t task, say func(bool, string)) {
			say(false, results(answer("0", "x")))
			say(true, all(t))
		}, []string{"known_dishes"}, `"0", which was not asked`},
		"Duplicate": {func(t task, say func(bool, string)) {
			say(false, all(t))
			say(true, all(t))
		}, []string{"one_result_per_dish"}, "got a second result"},
		"NoFinal":    {func(t task, say func(bool, string)) { say(false, all(t)) }, []string{"final_reply"}, "no reply had the header"},
		"AfterFinal": {func(t task, say func(bool, string)) { say(true, all(t)); say(false, results()) }, []string{"nothing_after_final"}, "another reply came after"},
		"FirstOnly":  {func(t task, say func(bool, string)) { say(true, results(answer(t.Items[0].MenuID, "x"))) }, []string{"several_dishes"}, "no result for 3 of 4 dishes"},
		"Refuses":    {func(_ task, say func(bool, string)) { say(true, `{"error":{"reason":"no"}}`) }, []string{"one_dish", "several_dishes", "retries", "two_at_once"}, `the error "no"`},
		"OddSilent": {func(t task, say func(bool, string)) {
			if t.Items[0].Category != "" {
				say(true, all(t))
			}
		}, []string{"odd_dishes"}, "no category and no price: no reply within 1s"},
		"Language": {func(t task, say func(bool, string)) {
			if t.SourceLanguage == "ja" {
				say(true, all(t))
			}
		}, []string{"unknown_language"}, "no reply"},
		"Retry": {func(t task, say func(bool, string)) {
			if t.Attempt == 1 {
				say(true, all(t))
			}
		}, []string{"retries"}, "no reply"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := conform(t, test.worker, short)
			if got := ended(r, external.Failed); !slices.Equal(got, test.want) || r.OK() || !errors.Is(r.Err(), external.ErrContract) {
				t.Errorf("failed are %v, want %v: %+v", got, test.want, r.Checks)
			}
			for _, c := range r.Checks {
				if c.Name == test.want[0] && !strings.Contains(strings.Join(c.Wrong, "\n"), test.text) {
					t.Errorf("%s says %q, want %q", c.Name, c.Wrong, test.text)
				}
			}
		})
	}
}

func TestConformLate(t *testing.T) {
	t.Parallel()
	const timeout = 400 * time.Millisecond
	r := conform(t, func(t task, say func(bool, string)) {
		<-time.After(timeout * 3 / 2)
		say(true, all(t))
	}, timeout)
	if got := ended(r, external.Failed); !slices.Equal(got, []string{"in_time"}) {
		t.Errorf("failed are %v: %+v", got, r.Checks)
	}
}

func TestConformWithoutAnswer(t *testing.T) {
	t.Parallel()
	for want, w := range map[string]worker{"nobody listens on": nil, "said nothing": func(task, func(bool, string)) {}} {
		r := conform(t, w, 200*time.Millisecond)
		if got := ended(r, external.Failed); !slices.Equal(got, []string{"answers"}) || !strings.Contains(r.Checks[0].Wrong[0], want) || r.OK() {
			t.Errorf("failed are %v: %+v", got, r.Checks)
		}
		if got := ended(r, external.Skipped); len(got) != len(r.Checks)-1 {
			t.Errorf("skipped are %v", got)
		}
	}
}

// An empty answer with status ok reads as "safe". It is a warning: nobody can prove that the worker does not know.
func TestConformWarnsOfSafety(t *testing.T) {
	t.Parallel()
	r := conform(t, func(t task, say func(bool, string)) {
		say(true, strings.ReplaceAll(all(t), `"status":"unknown"`, `"status":"ok"`))
	}, 20*time.Second)
	if got := ended(r, external.Warning); !slices.Equal(got, []string{"unknown_is_not_safe"}) || !r.OK() {
		t.Errorf("warnings are %v: %+v", got, r.Checks)
	}
}

func TestConformEndsWithItsContext(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	worker(func(task, func(bool, string)) {}).start(t, server.Conn())
	stop := errors.New("stop")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, stop)
	defer cancel()
	options := external.Options{Stage: menu.Allergen, Tenant: menu.DefaultTenant, Timeout: time.Minute}
	if r, err := external.Conform(ctx, server.Conn(), options); !errors.Is(err, stop) || r.OK() {
		t.Errorf("report %+v, %v", r, err)
	}
	options.Timeout = 0
	if _, err := external.Conform(t.Context(), server.Conn(), options); err == nil {
		t.Error("a run without time is made")
	}
}

package external

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/streams"
)

// Options say which worker a conformance run tries out.
type Options struct {
	Stage   menu.Stage
	Tenant  menu.Tenant
	Timeout time.Duration // for each request
}

// Verdict is how a check ended.
type Verdict string

// The verdicts. A warning fails no run.
const (
	Passed  Verdict = "passed"
	Warning Verdict = "warning"
	Failed  Verdict = "failed"
	Skipped Verdict = "skipped" // an earlier failure left nothing to look at
)

// Check is one rule of the contract, and whether the worker keeps it.
type Check struct {
	Name    string   `json:"name"`
	Rule    string   `json:"rule"` // what the worker has to do
	Verdict Verdict  `json:"verdict"`
	Wrong   []string `json:"wrong,omitempty"` // what it does instead
	Mend    string   `json:"mend,omitempty"`  // what to change; empty if nothing is wrong
}

// Report is the outcome of a conformance run.
type Report struct {
	Stage   menu.Stage  `json:"stage"`
	Tenant  menu.Tenant `json:"tenant"`
	Subject string      `json:"subject"`
	Checks  []Check     `json:"checks"`
}

// OK says whether no check failed.
func (r Report) OK() bool {
	for _, c := range r.Checks {
		if c.Verdict == Failed || c.Verdict == Skipped {
			return false
		}
	}
	return len(r.Checks) > 0
}

// conformance is a run on its way.
type conformance struct {
	Options

	conn    *nats.Conn
	subject string
	past    []*exchange
	wrong   map[string][]string
	silent  bool // nothing came back on the first request
	late    bool // some reply came late
}

// Conform tries out the workers of a stage: it sends them requests as the engine would and holds every reply against the
// contract. It appends nothing. The error says why the run could not be made; what a worker does wrong is in the report.
func Conform(ctx context.Context, conn *nats.Conn, o Options) (Report, error) {
	if o.Timeout <= 0 {
		return Report{}, fmt.Errorf("the time-out is %s, it must be above 0", o.Timeout)
	}
	c := &conformance{Options: o, conn: conn, subject: streams.WorkSubject(o.Tenant, o.Stage), wrong: map[string][]string{}}
	report := Report{Stage: o.Stage, Tenant: o.Tenant, Subject: c.subject}
	if err := c.run(ctx); err != nil {
		return report, fmt.Errorf("try out the worker on %s: %w", c.subject, err)
	}
	for _, x := range c.past {
		for check, faults := range x.wrong {
			c.wrong[check] = append(c.wrong[check], faults...)
		}
	}
	for _, check := range checks(c) {
		check.Wrong, check.Verdict = c.wrong[check.Name], Passed
		switch {
		case len(check.Wrong) == 0 && c.silent:
			check.Verdict, check.Mend = Skipped, ""
		case len(check.Wrong) == 0:
			check.Mend = ""
		case check.Name == checkUnknown:
			check.Verdict = Warning
		default:
			check.Verdict = Failed
		}
		report.Checks = append(report.Checks, check)
	}
	return report, nil
}

// run makes the requests, one after the other but for the two at once: the one that a worker cannot take is then known.
func (c *conformance) run(ctx context.Context) error {
	first := c.exchange("one dish", ramen)
	if err := c.try(ctx, checkOne, first, true); err != nil || c.silent {
		return err
	}
	several := c.exchange("several dishes", "親子丼", "天ぷらそば", "冷奴", "枝豆")
	if err := c.try(ctx, checkSeveral, several, false); err != nil {
		return err
	}
	for _, odd := range oddDishes() {
		x := c.exchange(odd.title, odd.name)
		x.Items[0].Category, x.Items[0].Price = odd.category, odd.price
		if err := c.try(ctx, checkOdd, x, false); err != nil {
			return err
		}
	}
	alive := c.exchange("an ordinary dish after the odd ones", ramen)
	if err := c.try(ctx, checkOdd, alive, false); err != nil {
		return err
	}
	language := c.exchange("source language tlh", "qagh")
	language.SourceLanguage = "tlh"
	if err := c.try(ctx, checkLanguage, language, false); err != nil {
		return err
	}
	again := c.exchange("the first request again, as a retry", ramen)
	again.request = first.request
	again.Epoch, again.Attempt = 2, 3
	if err := c.try(ctx, checkRetry, again, false); err != nil {
		return err
	}
	if err := c.together(ctx); err != nil {
		return err
	}
	return c.nonsense(ctx)
}

// together sends two requests at once, with dishes of the same ids in two sessions.
func (c *conformance) together(ctx context.Context) error {
	both := []*exchange{c.exchange("the first of two requests at once", ramen), c.exchange("the second of two requests at once", "冷奴")}
	both[1].Items[0].ID = both[0].Items[0].ID
	g, inner := errgroup.WithContext(ctx)
	for _, x := range both {
		g.Go(func() error { return x.run(inner, c, c.late) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, x := range both {
		c.judge(checkTwo, x)
	}
	return nil
}

// nonsense asks the allergen stage for a dish that nobody can know.
func (c *conformance) nonsense(ctx context.Context) error {
	if c.Stage != menu.Allergen {
		return nil
	}
	x := c.exchange("a dish that does not exist", "xqzwv brblfx")
	if err := c.try(ctx, checkOdd, x, false); err != nil {
		return err
	}
	for _, r := range x.answers {
		if r.Status == menu.StatusOK && !names(r.Data) {
			x.fault(checkUnknown, "status ok without any allergen: a reader takes that for safe")
		}
	}
	return nil
}

// try makes a request and notes under a check if it got no answer.
func (c *conformance) try(ctx context.Context, check string, x *exchange, first bool) error {
	if err := x.run(ctx, c, first || c.late); err != nil {
		return err
	}
	c.late = c.late || x.late
	if first && x.replies == 0 {
		c.silent = true
		c.wrong[checkAnswers] = []string{fmt.Sprintf("a worker took the request and said nothing for %s", 2*c.Timeout)}
		if x.nobody {
			c.wrong[checkAnswers] = []string{"nobody listens on " + c.subject}
		}
		return nil
	}
	c.judge(check, x)
	return nil
}

// judge notes under a check what a request left open.
func (c *conformance) judge(check string, x *exchange) {
	c.past = append(c.past, x)
	ordinary := check != checkOdd && check != checkLanguage
	switch open := x.unanswered(); {
	case x.nobody:
		x.fault(check, "nobody listens any more: the worker ended")
	case x.replies == 0:
		x.fault(check, "no reply within %s", c.Timeout)
	case x.failure != nil && ordinary:
		x.fault(check, "the worker answers with the error %q", x.failure.reason)
	case x.failure == nil && len(open) > 0 && len(x.wrong[checkShape])+len(x.wrong[checkDishes]) == 0:
		x.fault(check, "no result for %d of %d dishes, the first is %q", len(open), len(x.Items), open[0])
	}
}

// exchange returns a request of its own session for some dishes.
func (c *conformance) exchange(title string, dishes ...string) *exchange {
	session := fmt.Sprintf("conform-%d-%d", time.Now().UnixMilli(), len(c.past))
	x := &exchange{name: title, request: request{SessionID: menu.SessionID(session), SourceLanguage: "ja", TargetLanguage: "en", Attempt: 1}}
	for i, name := range dishes {
		x.Items = append(x.Items, menu.Item{ID: menu.DishID(fmt.Sprintf("%s-%d", session, i)), Position: i, Name: name, Category: "麺類", Price: "850円"})
	}
	return x
}

// ErrContract is matched by the error of [Report.Err].
var ErrContract = errors.New("the worker does not keep the contract")

// Err returns an error if a check failed.
func (r Report) Err() error {
	if r.OK() {
		return nil
	}
	return fmt.Errorf("%w of %s", ErrContract, r.Subject)
}

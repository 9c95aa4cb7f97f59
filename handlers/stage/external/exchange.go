package external

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
	"kondate/handlers/stage"
)

// quiet is how long a conformance run listens after the final reply for one that must not come.
const quiet = 250 * time.Millisecond

// exchange is one request of a conformance run and what came back.
type exchange struct {
	name string
	request

	replies  int
	answers  map[menu.DishID]menu.Result // those that fit
	answered map[menu.DishID]int         // results of each dish, fit or not
	failure  *workerError
	final    bool
	late     bool // a reply came after the limit
	nobody   bool // nobody listens

	wrong map[string][]string // faults by the name of their check
}

// fault notes what a reply does wrong under the check it breaks.
func (x *exchange) fault(check, format string, args ...any) {
	x.wrong[check] = append(x.wrong[check], x.name+": "+fmt.Sprintf(format, args...))
}

// complete says whether every dish has an answer, or the request as a whole an error.
func (x *exchange) complete() bool { return x.failure != nil || len(x.unanswered()) == 0 }

func (x *exchange) unanswered() []string {
	var ids []string
	for _, item := range x.Items {
		if x.answered[item.ID] == 0 {
			ids = append(ids, string(item.ID))
		}
	}
	return ids
}

// run sends the request and reads the replies until the final one and a quiet moment after it, or until the time is up.
// patient: it waits as long again for a final reply that is late, which tells a slow worker from one that says nothing.
func (x *exchange) run(ctx context.Context, c *conformance, patient bool) error {
	x.answers, x.answered, x.wrong = map[menu.DishID]menu.Result{}, map[menu.DishID]int{}, map[string][]string{}
	replies, err := send(ctx, c.conn, c.subject, x.request)
	if err != nil {
		return err
	}
	defer replies.Unsubscribe() //nolint:errcheck // fails only if the connection is closed, which ends it as well
	limit := time.Now().Add(c.Timeout)
	end := limit
	if patient {
		end = limit.Add(c.Timeout)
	}
	for {
		m, err := next(ctx, replies, end)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, nats.ErrNoResponders):
			x.nobody = true
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			x.judge()
			return nil
		default:
			return fmt.Errorf("wait for the worker's reply: %w", err)
		}
		now := time.Now()
		x.replies++
		if x.final {
			x.fault(checkSilence, "another reply came after the one with the header %s: %s", HeaderFinal, excerpt(m.Data))
			continue
		}
		x.read(m, c.Stage)
		if now.After(limit) {
			x.late = true
			x.fault(checkTime, "a reply came %s after the request, the limit is %s", now.Sub(limit.Add(-c.Timeout)).Round(time.Millisecond), c.Timeout)
		}
		if value, there := m.Header[HeaderFinal]; there && !final(m) {
			x.fault(checkFinal, "the header %s is %q, it must be %q", HeaderFinal, strings.Join(value, ","), FinalValue)
		}
		switch {
		case final(m):
			x.final = true
			end = now.Add(quiet)
		case x.complete() && !patient:
			end = now.Add(min(c.Timeout, 4*quiet)) // an earlier request showed whether the final reply comes
		}
	}
}

func next(ctx context.Context, replies *nats.Subscription, end time.Time) (*nats.Msg, error) {
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	return replies.NextMsgWithContext(ctx)
}

// read sorts in what a reply holds.
func (x *exchange) read(m *nats.Msg, s menu.Stage) {
	r, err := decodeReply(m.Data)
	if err != nil {
		x.fault(checkShape, "%v, in %s", err, excerpt(m.Data))
		return
	}
	if r.err != nil {
		x.failure = r.err
		return
	}
	for _, d := range r.results {
		if !slices.ContainsFunc(x.Items, func(i menu.Item) bool { return i.ID == d.id }) {
			x.fault(checkDishes, "%s is for the dish %q, which was not asked", d.path, excerpt([]byte(d.id)))
			continue
		}
		if x.answered[d.id]++; x.answered[d.id] == 2 {
			x.fault(checkOnce, "the dish %q got a second result, at %s", d.id, d.path)
		}
		result, err := d.check(s)
		switch {
		case errors.Is(err, stage.ErrOtherStage):
			x.fault(checkStage, "%v", err)
		case errors.Is(err, errProviderName):
			x.fault(checkProvider, "%v", err)
		case err != nil:
			x.fault(checkSchema, "%v", err)
		default:
			x.answers[d.id] = result
		}
	}
}

// judge notes what is missing when the replies are over.
func (x *exchange) judge() {
	if x.replies == 0 {
		return // the caller knows best what silence means here
	}
	if !x.final {
		x.fault(checkFinal, "no reply had the header %s: %s", HeaderFinal, FinalValue)
	}
}

// excerpt shortens a foreign text for a message.
func excerpt(raw []byte) string {
	const most = 120
	text := strings.ToValidUTF8(string(raw[:min(len(raw), most)]), "")
	if len(raw) > most {
		text += "…"
	}
	return text
}

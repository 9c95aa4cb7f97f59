package stage

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/eventstore/trail"
)

const (
	// maxErrorText bounds the error text of a failure.
	maxErrorText = 2 << 10
	// maxReason bounds the reason of a failure.
	maxReason = 64
	// envelopeBytes is about what a result takes besides what its provider filled in.
	envelopeBytes = 400
	// appendPause is the longest wait before an append that failed is tried again.
	appendPause = 5 * time.Second
	// codeMessageTooLarge is the broker's answer to a message above the stream's limit.
	codeMessageTooLarge jetstream.ErrorCode = 10054
)

// failure is what dishes that failed alike have in common; they share an event.
type failure struct {
	epoch, attempt int
	reason, text   string
	permanent      bool
	retryAfter     time.Duration
}

// batch holds the outcomes that wait to be recorded together.
type batch struct {
	results  []menu.DishResult
	bytes    int       // about the size of results
	failures []failure // in the order of their first dish
	failed   map[failure][]menu.DishID
}

func (b *batch) empty() bool { return len(b.results) == 0 && len(b.failures) == 0 }

func (b *batch) fail(f failure, id menu.DishID) {
	if b.failed == nil {
		b.failed = map[failure][]menu.DishID{}
	}
	if b.failed[f] == nil {
		b.failures = append(b.failures, f)
	}
	b.failed[f] = append(b.failed[f], id)
}

// add sorts an outcome in: a result, or a failure if the provider failed or its result is unfit for the log.
func (b *batch) add(stage menu.Stage, o outcome) {
	err := o.err
	if err == nil {
		err = fit(stage, o.result)
	}
	if err != nil {
		b.fail(describe(o.request, err), o.request.Item.ID)
		return
	}
	b.results = append(b.results, menu.DishResult{ID: o.request.Item.ID, Epoch: o.request.Epoch, Attempt: o.request.Attempt, Result: o.result})
	b.bytes += size(o.result)
}

// fit says why a result cannot be recorded as the stage's.
func fit(stage menu.Stage, r menu.Result) error {
	err := r.Validate()
	switch {
	case err != nil:
	case r.Stage != stage:
		err = fmt.Errorf("a result of stage %s", r.Stage)
	case len(r.Data) > 0 && !json.Valid(r.Data):
		err = errors.New("result data is not valid JSON")
	default:
		return nil
	}
	return &Error{Reason: ReasonInvalidResult, Err: err}
}

func size(r menu.Result) int {
	n := envelopeBytes + len(r.Data)
	for _, text := range r.Warnings {
		n += len(text)
	}
	for _, text := range r.Attribution {
		n += len(text)
	}
	return n
}

func describe(r Request, err error) failure {
	if errors.Is(err, errTimeout) {
		err = &Error{Reason: ReasonTimeout, Err: err}
	}
	e := classify(err)
	f := failure{epoch: r.Epoch, attempt: r.Attempt, reason: clean(e.Reason, maxReason), permanent: e.Permanent, retryAfter: e.RetryAfter}
	if f.reason == "" {
		f.reason = ReasonError
	}
	if e.Err != nil {
		f.text = clean(e.Err.Error(), maxErrorText)
	}
	return f
}

// clean makes a foreign text fit for the log and for a database: valid UTF-8 without NUL, at most limit bytes.
func clean(text string, limit int) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

// record appends what the batch holds. It returns only once that is in the log, or with the error that ended ctx.
func (s *stage) record(ctx context.Context, w *work, b *batch) error {
	if len(b.results) > 0 {
		if err := s.complete(ctx, w, b.results); err != nil {
			return err
		}
	}
	for _, f := range b.failures {
		if err := s.fail(ctx, w, f, b.failed[f]); err != nil {
			return err
		}
	}
	return nil
}

// complete records results as one event; as several if the log takes no event that large.
func (s *stage) complete(ctx context.Context, w *work, results []menu.DishResult) error {
	events, err := menu.Answer(w.session, s.stage, results)
	if err != nil {
		return err
	}
	err = s.append(ctx, w, events)
	switch {
	case err == nil || !tooLarge(err):
		return err
	case len(results) > 1:
		half := len(results) / 2
		if err := s.complete(ctx, w, results[:half]); err != nil {
			return err
		}
		return s.complete(ctx, w, results[half:])
	}
	r := results[0]
	return s.fail(ctx, w, failure{
		epoch: r.Epoch, attempt: r.Attempt, reason: ReasonTooLarge, text: clean(err.Error(), maxErrorText), permanent: true,
	}, []menu.DishID{r.ID})
}

// fail parks dishes whose failure is permanent or whose attempts are used up; the others get another attempt later.
func (s *stage) fail(ctx context.Context, w *work, f failure, ids []menu.DishID) error {
	var (
		events []menu.Event
		err    error
	)
	if f.permanent || f.attempt >= s.cfg.RetryAttempts {
		events, err = menu.Park(w.session, menu.StageFailed{
			Stage: s.stage, IDs: ids, Epoch: f.epoch, Attempts: f.attempt,
			Reason: f.reason, Error: f.text, Provider: s.provider.Name(), Permanent: f.permanent,
		})
	} else {
		at := s.cfg.Clock().Add(s.delay(f)).UTC().Truncate(time.Microsecond)
		events, err = menu.Postpone(w.session, menu.StageAttemptFailed{
			Stage: s.stage, IDs: ids, Epoch: f.epoch, Attempt: f.attempt,
			Reason: f.reason, Error: f.text, Provider: s.provider.Name(), RetryAt: at,
		})
	}
	if err != nil {
		return err
	}
	if err := s.append(ctx, w, events); err != nil {
		return err
	}
	for _, e := range events {
		if _, waits := e.(menu.StageAttemptFailed); waits {
			if err := s.schedule(ctx, w.trigger.Key, s.propose(ctx, w, e)); err != nil {
				return err
			}
		}
	}
	return nil
}

// schedule lets a failed attempt's event come to the stage's retry consumer when the next attempt is due.
func (s *stage) schedule(ctx context.Context, key menu.Key, p eventstore.Proposed) error {
	msg, at, err := retryMessage(key, p)
	if err != nil {
		return err
	}
	return s.insist(ctx, func() error { return s.retries.Schedule(ctx, s.stage, msg, at) })
}

// retryMessage returns the copy of a failed attempt's event that waits, and until when. It has no error text: that may
// quote the menu, and an erasure does not reach what waits.
func retryMessage(key menu.Key, p eventstore.Proposed) (*nats.Msg, time.Time, error) {
	e, is := p.Event.(menu.StageAttemptFailed)
	if !is {
		return nil, time.Time{}, fmt.Errorf("let a %s wait: only a failed attempt has a time", p.Event.Type())
	}
	e.Error = ""
	p.Event = e
	msg, err := eventstore.Encode(key, p)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("let the retry of stage %s in session %s wait: %w", e.Stage, key, err)
	}
	return msg, e.RetryAt, nil
}

// delay returns the wait before the attempt that follows a failed one: it doubles each time, is spread by a fifth
// either way so that dishes that failed together do not come back together, and is never shorter than the provider asked.
func (s *stage) delay(f failure) time.Duration {
	d, limit := s.cfg.RetryDelay, max(s.cfg.RetryDelay, maxRetryDelay)
	for i := 1; i < f.attempt && d < limit; i++ {
		d *= 2
	}
	d = time.Duration(float64(d) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // spreads load, guards nothing
	return min(max(d, f.retryAfter), limit)
}

// append records events of the plan's session, one after the other.
func (s *stage) append(ctx context.Context, w *work, events []menu.Event) error {
	for _, e := range events {
		proposed := s.propose(ctx, w, e)
		err := s.insist(ctx, func() error {
			receipt, err := s.log.Append(ctx, w.trigger.Key, proposed)
			if err == nil && !receipt.Already {
				s.stats.record(e)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("record %s of session %s: %w", e.Type(), w.trigger.Key, err)
		}
	}
	return nil
}

func (s *stage) propose(ctx context.Context, w *work, e menu.Event) eventstore.Proposed {
	return eventstore.Proposed{
		Event: e, Time: s.cfg.Clock(), Causation: w.trigger.ID, Correlation: cmp.Or(w.trigger.Correlation, w.trigger.ID), TraceParent: trail.TraceParent(ctx),
	}
}

// insist repeats a write while the broker takes none (it is away, a stream is full): giving up would throw away answers
// that were paid for. Only an event that can never be taken, a connection that is closed for good, or the end of ctx, is
// an error.
func (s *stage) insist(ctx context.Context, write func() error) error {
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = appendPause
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := write()
		if err != nil && (tooLarge(err) || errors.Is(err, nats.ErrConnectionClosed)) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, wait time.Duration) {
		s.logger.LogAttrs(ctx, slog.LevelWarn, "the log takes no result; it is kept and tried again",
			slog.Duration("wait", wait), slog.Any("error", err))
	}))
	return err
}

func tooLarge(err error) bool {
	if errors.Is(err, eventstore.ErrTooLarge) || errors.Is(err, nats.ErrMaxPayload) {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == codeMessageTooLarge
}

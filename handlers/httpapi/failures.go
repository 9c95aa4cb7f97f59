package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/projections"
)

const (
	defaultFailures = 100
	maxFailures     = 1000
	// retryPage is how many parked stages are taken back to work at once.
	retryPage = 200
)

// Failures reads parked stages.
type Failures interface {
	// Failures returns the parked stages that a filter wants, those that were parked first to begin with.
	Failures(ctx context.Context, filter projections.FailureFilter) ([]projections.Failure, error)
}

// failures answers GET /v1/failures.
func (a *API) failures(c *fiber.Ctx) error {
	query := func(name string) string { return utils.CopyString(c.Query(name)) }
	filter, err := a.failureFilter(c, failureQuery{
		MenuID: query("menu_id"), SessionID: query("session"), Stage: query("stage"), Reason: query("reason"), After: query("after"),
	}, "session")
	if err != nil {
		return err
	}
	limit := defaultFailures
	if raw := query("limit"); raw != "" {
		if limit, err = strconv.Atoi(raw); err != nil || limit < 1 || limit > maxFailures {
			return badParameter("limit", "is not a number from 1 to "+strconv.Itoa(maxFailures))
		}
	}
	filter.Limit = limit + 1
	ctx, cancel := a.deadline(c)
	defer cancel()
	found, err := a.cfg.Failures.Failures(ctx, filter)
	if err != nil {
		return unavailable("the database of rows", err)
	}
	answer := failureList{Failures: []projections.Failure{}} // in JSON that is [], not null
	if len(found) > limit {
		found = found[:limit]
		answer.Next = found[limit-1].Cursor().String()
	}
	answer.Failures = append(answer.Failures, found...)
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(answer)
}

// failureList is the answer to GET /v1/failures.
type failureList struct {
	Failures []projections.Failure `json:"failures"`
	Next     string                `json:"next,omitempty" jsonschema:"There are more: ask with after."`
}

// failureQuery says which parked stages are meant. [decodeFailureQuery] reads it.
type failureQuery struct {
	MenuID    string `json:"menu_id,omitempty" jsonschema:"Of one dish."`
	SessionID string `json:"session_id,omitempty" jsonschema:"Of one session."`
	Stage     string `json:"stage,omitempty" jsonschema:"Of one stage."`
	Reason    string `json:"reason,omitempty" jsonschema:"With this reason, such as timeout."`
	All       bool   `json:"all,omitempty" jsonschema:"Has to be true where nothing else is given."`
	After     string `json:"after,omitempty" jsonschema:"The next of the answer before."`
}

// failureFilter checks a query; session is what the field of the session's id is called.
func (a *API) failureFilter(c *fiber.Ctx, q failureQuery, session string) (f projections.FailureFilter, err error) {
	f.Tenant, f.Reason = a.cfg.Tenant(c), q.Reason
	if q.MenuID != "" {
		if f.MenuID, err = menu.ParseDishID(q.MenuID); err != nil {
			return f, badParameter("menu_id", err.Error())
		}
	}
	if q.SessionID != "" {
		if f.Session, err = menu.ParseSessionID(q.SessionID); err != nil {
			return f, badParameter(session, err.Error())
		}
	}
	if q.Stage != "" {
		stage, err := menu.ParseStage(q.Stage)
		if err != nil {
			return f, badParameter("stage", err.Error())
		}
		f.Stage = &stage
	}
	if strings.ContainsRune(q.Reason, 0) || !utf8.ValidString(q.Reason) {
		return f, badParameter("reason", "holds what no reason has: bytes that are not UTF-8, or NUL")
	}
	if q.After != "" {
		if f.After, err = projections.ParseFailureCursor(q.After); err != nil {
			return f, badParameter("after", err.Error())
		}
	}
	return f, nil
}

// retried is the answer to a request that took parked stages back to work.
type retried struct {
	Retried int    `json:"retried"`
	Skipped int    `json:"skipped,omitempty"` // their sessions were archived or erased, or somebody else was quicker
	Next    string `json:"next,omitempty"`    // the time was up: ask again, after this
}

// retryFailures answers POST /v1/failures/retry: it takes the parked stages that a filter names back to work.
func (a *API) retryFailures(c *fiber.Ctx) error {
	if err := readable(c); err != nil {
		return err
	}
	q, err := decodeFailureQuery(c.BodyRaw())
	if err != nil {
		return err
	}
	if q == (failureQuery{After: q.After}) {
		return badParameter("all", "must be true where the filter is empty: it means every parked stage")
	}
	filter, err := a.failureFilter(c, q, "session_id")
	if err != nil {
		return err
	}
	ctx, cancel := a.deadline(c)
	defer cancel()
	enough := time.Now().Add(a.cfg.RequestTimeout / 2)
	var answer retried
	for filter.Limit = retryPage; ; {
		page, err := a.cfg.Failures.Failures(ctx, filter)
		if err != nil {
			return unavailable("the database of rows", err)
		}
		n, err := a.retryPage(ctx, page)
		if err != nil {
			return err
		}
		answer.Retried += n
		answer.Skipped += len(page) - n
		if len(page) < retryPage {
			return c.Status(http.StatusAccepted).JSON(answer)
		}
		filter.After = page[len(page)-1].Cursor()
		if time.Now().After(enough) {
			answer.Next = filter.After.String()
			return c.Status(http.StatusAccepted).JSON(answer)
		}
	}
}

// decodeFailureQuery reads the body of a retry. A field that the API does not know is refused: a misspelt "stage" would
// otherwise mean all of them.
func decodeFailureQuery(body []byte) (q failureQuery, err error) {
	if err := wellFormed(body, `{"stage":"allergen"} or {"all":true}`); err != nil {
		return q, err
	}
	d := newDocument(body)
	d.object("body", func(key string) {
		switch key {
		case "menu_id":
			q.MenuID, _ = d.string(key)
		case "session_id":
			q.SessionID, _ = d.string(key)
		case "stage":
			q.Stage, _ = d.string(key)
		case "reason":
			q.Reason, _ = d.string(key)
		case "after":
			q.After, _ = d.string(key)
		case "all":
			q.All = d.bool(key)
		default:
			d.unknown(key, key, known[failureQuery]())
		}
	})
	return q, d.err()
}

// retryPage takes parked stages back to work, session by session, and says how many.
func (a *API) retryPage(ctx context.Context, page []projections.Failure) (n int, err error) {
	bySession := map[menu.Key][]projections.Failure{}
	var order []menu.Key
	for _, f := range page {
		key := menu.Key{Tenant: f.Tenant, Session: f.SessionID}
		if bySession[key] == nil {
			order = append(order, key)
		}
		bySession[key] = append(bySession[key], f)
	}
	for _, key := range order {
		session, origin, err := a.load(ctx, key)
		if err != nil {
			return n, err
		}
		if !session.Exists() || session.Status == menu.SessionErased {
			continue
		}
		ids := map[menu.Stage][]menu.DishID{}
		for _, f := range bySession[key] {
			// The rows may be behind: what the log has taken back to work is nobody's failure any more.
			if state := session.Dishes[f.MenuID].Stages[f.Stage]; state.Parked() && state.Epoch == f.Epoch {
				ids[f.Stage] = append(ids[f.Stage], f.MenuID)
			}
		}
		for _, stage := range menu.Stages() {
			for chunk := range slices.Chunk(ids[stage], a.cfg.BatchSize) {
				if err := a.retryDishes(ctx, session, origin, stage, chunk); err != nil {
					return n, err
				}
				n += len(chunk)
			}
		}
	}
	return n, nil
}

// load folds a session from the log and returns the event that started it. The session does not exist if it was archived.
func (a *API) load(ctx context.Context, key menu.Key) (session menu.Session, origin eventstore.Entry, err error) {
	entries, err := a.cfg.Log.Load(ctx, key)
	if err != nil {
		return session, origin, unavailable("the event log", err)
	}
	for _, e := range entries {
		if e.Event == nil {
			continue
		}
		session = menu.Evolve(session, e.Recorded)
		if origin.Event == nil {
			origin = e
		}
	}
	return session, origin, nil
}

// retryDishes takes one stage of parked dishes back to work.
func (a *API) retryDishes(ctx context.Context, session menu.Session, origin eventstore.Entry, stage menu.Stage, ids []menu.DishID) error {
	events, err := menu.Retry(session, stage, ids, retriedBy)
	if err != nil {
		return err
	}
	proposed := make([]eventstore.Proposed, len(events))
	for i, event := range events {
		proposed[i] = eventstore.Proposed{Event: event, Time: a.cfg.Now(), Correlation: origin.Correlation}
	}
	if _, err := a.cfg.Log.Append(from(ctx, origin), session.Key, proposed...); err != nil {
		return ofAppend(err)
	}
	return nil
}

package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/projections"
)

// maxIdempotencyKey is the length of the longest Idempotency-Key.
const maxIdempotencyKey = 255

const headerIdempotencyKey = "Idempotency-Key"

// sessionNamespace is the UUIDv5 namespace of the session ids that follow from an Idempotency-Key:
// 6f0b7c1e-3f0a-5c52-9d0e-1a7c3b9e4d21, the same as of event ids.
var sessionNamespace = uuid.UUID{0x6f, 0x0b, 0x7c, 0x1e, 0x3f, 0x0a, 0x5c, 0x52, 0x9d, 0x0e, 0x1a, 0x7c, 0x3b, 0x9e, 0x4d, 0x21} //nolint:gochecknoglobals // a constant; Go has no constant arrays

// accepted is the answer to a submission.
type accepted struct {
	SessionID menu.SessionID `json:"session_id"`
	StreamURL string         `json:"stream_url"`
	Seq       uint64         `json:"seq"` // of the submission's last event; reads may wait for it with min_seq
	Items     []acceptedItem `json:"items"`
}

type acceptedItem struct {
	ID       menu.DishID `json:"menu_id"`
	Position int         `json:"position"`
}

// submit answers POST /v1/sessions.
func (a *API) submit(c *fiber.Ctx) error {
	if err := readable(c); err != nil {
		return err
	}
	key, repeatable, err := a.newSession(c)
	if err != nil {
		return err
	}
	// BodyRaw, because Body inflates.
	sub, err := decodeSubmission(c.BodyRaw())
	if err != nil {
		return err
	}
	about(c, key)
	cmd, err := a.command(sub)
	if err != nil {
		return err
	}
	events, err := menu.Submit(menu.Session{Key: key}, cmd)
	if err != nil {
		return err
	}
	ctx, cancel := a.deadline(c)
	defer cancel()
	answer, err := a.record(ctx, key, repeatable, sub, events)
	if err != nil {
		return err
	}
	c.Location("/v1/sessions/" + string(key.Session))
	return c.Status(http.StatusAccepted).JSON(answer)
}

// readable refuses a body whose headers say that it is no JSON text. An inflated body has no size that a header tells.
func readable(c *fiber.Ctx) error {
	header := &c.Request().Header
	if encoding := string(header.Peek(fiber.HeaderContentEncoding)); encoding != "" && !strings.EqualFold(strings.TrimSpace(encoding), "identity") {
		return newProblem(http.StatusUnsupportedMediaType, "content-encoding", "The body's encoding is not supported", "send the body as it is, without Content-Encoding")
	}
	if len(c.BodyRaw()) > MaxBodyBytes {
		return tooLarge()
	}
	contentType := string(header.ContentType())
	if contentType == "" {
		return nil
	}
	media, parameters, err := mime.ParseMediaType(contentType)
	if charset := strings.ToLower(parameters["charset"]); err != nil || media != fiber.MIMEApplicationJSON || (charset != "" && charset != "utf-8" && charset != "utf8") {
		return newProblem(http.StatusUnsupportedMediaType, "content-type", "The body's type is not supported", "send Content-Type: application/json, in UTF-8")
	}
	return nil
}

// newSession names the session: after the Idempotency-Key, so that a repeated request finds it again, or freshly.
func (a *API) newSession(c *fiber.Ctx) (key menu.Key, repeatable bool, err error) {
	key.Tenant = a.cfg.Tenant(c)
	values := c.Request().Header.PeekAll(headerIdempotencyKey)
	if len(values) == 0 {
		id, err := uuid.NewV7()
		if err != nil {
			return key, false, fmt.Errorf("name a session: %w", err)
		}
		key.Session = menu.SessionID(id.String())
		return key, false, nil
	}
	value := string(values[0])
	if len(values) > 1 || value == "" || len(value) > maxIdempotencyKey || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
		return key, false, badParameter(headerIdempotencyKey, fmt.Sprintf("is not one value of 1 to %d printable ASCII characters", maxIdempotencyKey))
	}
	name, err := json.Marshal([]string{string(key.Tenant), value})
	if err != nil {
		return key, false, fmt.Errorf("name a session: %w", err)
	}
	key.Session = menu.SessionID(uuid.NewSHA1(sessionNamespace, name).String())
	return key, true, nil
}

// command completes a submission with ids for the dishes that came without.
func (a *API) command(sub submission) (menu.SubmitMenu, error) {
	cmd := menu.SubmitMenu{
		Title: sub.title, SourceLanguage: sub.sourceLanguage, TargetLanguage: sub.targetLanguage,
		Items: slices.Clone(sub.items), ChunkItems: a.cfg.BatchSize,
	}
	for i := range cmd.Items {
		if cmd.Items[i].ID != "" {
			continue
		}
		id, err := uuid.NewV7()
		if err != nil {
			return cmd, fmt.Errorf("name a dish: %w", err)
		}
		cmd.Items[i].ID = menu.DishID(id.String())
	}
	return cmd, nil
}

// record takes the submission into the log, once however often it is repeated under one Idempotency-Key.
func (a *API) record(ctx context.Context, key menu.Key, repeatable bool, sub submission, events []menu.Event) (accepted, error) {
	if repeatable {
		// Before the reservation: a repeat brings new ids, and another body may bring ids that are not its to hold.
		if answer, found, err := a.recorded(ctx, key, sub); found || err != nil {
			return answer, err
		}
	}
	answer, proposed := accepted{SessionID: key.Session, StreamURL: a.streamURL(key)}, make([]eventstore.Proposed, len(events))
	now := a.cfg.Now()
	var ids []menu.DishID
	for i, event := range events {
		proposed[i] = eventstore.Proposed{Event: event, Time: now}
		for _, item := range event.(menu.Submitted).Items { //nolint:forcetypeassert // a submission leads to nothing else
			ids = append(ids, item.ID)
			answer.Items = append(answer.Items, acceptedItem{ID: item.ID, Position: item.Position})
		}
	}
	if err := a.cfg.Reservations.Reserve(ctx, key, ids); err != nil {
		if taken, ok := errors.AsType[*projections.TakenError](err); ok {
			return accepted{}, idsTaken(ids, taken.IDs)
		}
		return accepted{}, unavailable("the register of menu ids", err)
	}
	receipt, err := a.cfg.Log.AppendMenu(ctx, key, 0, proposed...)
	if errors.Is(err, eventstore.ErrConflict) {
		found := false
		if answer, found, err = a.recorded(ctx, key, sub); err == nil && !found {
			err = unavailable("the event log", fmt.Errorf("session %s conflicts with an event that cannot be read", key))
		}
		return answer, err
	}
	if err != nil {
		return accepted{}, ofAppend(err)
	}
	answer.Seq = receipt.Seq
	return answer, nil
}

// recorded returns the answer to a submission that the log holds already, or a 422 if the log holds another one.
func (a *API) recorded(ctx context.Context, key menu.Key, sub submission) (answer accepted, found bool, err error) {
	entries, err := a.cfg.Log.LoadLane(ctx, key, menu.LaneMenu, 0)
	if err != nil {
		return answer, false, unavailable("the event log", err)
	}
	answer = accepted{SessionID: key.Session, StreamURL: a.streamURL(key)}
	var session menu.Session
	for _, e := range entries {
		if e.Event == nil {
			continue
		}
		session = menu.Evolve(session, e.Recorded)
		if _, ok := e.Event.(menu.Submitted); ok {
			answer.Seq = e.Seq
		}
	}
	if len(entries) > 0 && !session.Exists() { // archived: the log has kept only its last menu event
		if session, err = a.past(ctx, key); err != nil {
			return answer, false, err
		}
		answer.Seq = session.LastSeq
	}
	switch {
	case session.Status == menu.SessionErased:
		return answer, false, erased()
	case !session.Exists():
		return answer, false, nil
	}
	recorded := make([]menu.Item, session.ItemCount)
	for _, dish := range session.Dishes {
		if dish.Position < len(recorded) {
			recorded[dish.Position] = dish.Item
		}
	}
	if !sub.same(session, recorded) {
		return answer, false, newProblem(http.StatusUnprocessableEntity, "idempotency-key-reused", "The Idempotency-Key was used for another menu",
			"session "+string(key.Session)+" has this key and another content: use a new key for a new menu")
	}
	for _, item := range recorded {
		answer.Items = append(answer.Items, acceptedItem{ID: item.ID, Position: item.Position})
	}
	return answer, true, nil
}

// past reads a session from history; the zero session is none.
func (a *API) past(ctx context.Context, key menu.Key) (menu.Session, error) {
	session, err := a.cfg.History.Past(ctx, key)
	if err != nil && !errors.Is(err, projections.ErrNotFound) {
		return session, unavailable("the history", err)
	}
	return session, nil
}

// same says whether the log holds this very submission. An id that the caller did not give may be any.
func (s submission) same(session menu.Session, recorded []menu.Item) bool {
	if s.title != session.Title || s.sourceLanguage != session.SourceLanguage || s.targetLanguage != session.TargetLanguage {
		return false
	}
	return slices.EqualFunc(s.items, recorded, func(sent, held menu.Item) bool {
		return (sent.ID == "" || sent.ID == held.ID) && sent.Name == held.Name && sent.Category == held.Category && sent.Price == held.Price
	})
}

// idsTaken names the ids that belong to another session, and where the menu has them.
func idsTaken(ids, taken []menu.DishID) error {
	p := newProblem(http.StatusConflict, "ids-taken", "Menu ids are taken", fmt.Sprintf("%d of the menu ids belong to another session: choose others or leave them out", len(taken)))
	isTaken := make(map[menu.DishID]bool, len(taken))
	for _, id := range taken {
		isTaken[id] = true
	}
	for i, id := range ids {
		if len(p.Errors) < maxProblems && isTaken[id] {
			p.Errors = append(p.Errors, menu.FieldError{Field: fmt.Sprintf("items[%d].id", i), Problem: fmt.Sprintf("%s is taken", id)})
		}
	}
	return p
}

// streamURL is where a session's stream is, for a client that may have no other credential than this address.
func (a *API) streamURL(key menu.Key) string {
	path := "/v1/sessions/" + string(key.Session) + "/events"
	if a.cfg.StreamToken == nil {
		return path
	}
	return path + "?token=" + url.QueryEscape(a.cfg.StreamToken(key))
}

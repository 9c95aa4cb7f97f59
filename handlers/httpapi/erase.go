package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"unicode"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"kondate/domain/menu"
	"kondate/eventstore"
)

const (
	// erasedBy says in the log who asked for an erasure.
	erasedBy = "api"
	// maxErasureReason is the length of the longest reason of an erasure, in characters.
	maxErasureReason = 256
	// maxErasures bounds how often an erasure is decided again because somebody else moved the session meanwhile.
	maxErasures = 10
)

// erasure is the answer to a request for an erasure.
type erasure struct {
	SessionID menu.SessionID `json:"session_id"`
	Seq       uint64         `json:"seq"` // of the tombstone; reads may wait for it with min_seq
}

// erase answers DELETE /v1/sessions/{id}: it appends the tombstone. The projector then takes the content out of rows,
// history and log. Erasing again gives the same answer.
func (a *API) erase(c *fiber.Ctx) error {
	key, err := a.sessionKey(c)
	if err != nil {
		return err
	}
	reason := utils.CopyString(c.Query("reason"))
	if n := utf8.RuneCountInString(reason); n > maxErasureReason {
		return badParameter("reason", fmt.Sprintf("has %d characters, at most %d are allowed", n, maxErasureReason))
	}
	for _, r := range reason {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return badParameter("reason", "is not plain text in UTF-8")
		}
	}
	ctx, cancel := a.deadline(c)
	defer cancel()
	for range maxErasures {
		entries, err := a.cfg.Log.LoadLane(ctx, key, menu.LaneMenu, 0)
		if err != nil {
			return unavailable("the event log", err)
		}
		var (
			session menu.Session
			guard   uint64
		)
		proposed := eventstore.Proposed{Time: a.cfg.Now()}
		for _, e := range entries {
			guard = e.Seq
			if e.Event == nil {
				continue // nobody can read it, and it moves the guard all the same
			}
			session = menu.Evolve(session, e.Recorded)
			if proposed.Correlation == "" {
				proposed.Correlation = e.Correlation
			}
			proposed.Causation = e.ID
		}
		if len(entries) > 0 && !session.Exists() {
			if session, err = a.past(ctx, key); err != nil {
				return err
			}
		}
		events, err := menu.Erase(session, erasedBy, reason)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return c.Status(http.StatusAccepted).JSON(erasure{key.Session, session.LastSeq})
		}
		proposed.Event = events[0]
		receipt, err := a.cfg.Log.AppendMenu(ctx, key, guard, proposed)
		switch {
		case err == nil:
			return c.Status(http.StatusAccepted).JSON(erasure{key.Session, receipt.Seq})
		case !errors.Is(err, eventstore.ErrConflict):
			return ofAppend(err)
		}
	}
	return unavailable("the session", fmt.Errorf("session %s moved on %d times while it was to be erased", key, maxErasures))
}

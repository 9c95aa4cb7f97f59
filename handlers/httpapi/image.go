package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/projections"
	"kondate/streams"
)

const (
	// headerGenerated says whether a picture shows something that was painted, and no real dish.
	headerGenerated = "Kondate-Generated"

	// imagePolicy lets a picture that is opened by itself load nothing and run nothing.
	imagePolicy = "default-src 'none'; img-src data:; sandbox"
)

// Images is what the API needs of the store of pictures. One that is not there is [streams.ErrNoImage].
type Images interface {
	Get(ctx context.Context, image streams.Image) ([]byte, error)
}

// requested is the answer to a request for a picture.
type requested struct {
	ID    menu.DishID `json:"menu_id"`
	Epoch int         `json:"epoch"` // of the image.completed or image.failed that ends the request
}

// requestImage answers POST /v1/menus/{id}/image: it asks for a picture of the dish.
func (a *API) requestImage(c *fiber.Ctx) error {
	id, err := dishID(c)
	if err != nil {
		return err
	}
	ctx, cancel := a.deadline(c)
	defer cancel()
	key, session, origin, err := a.dishSession(ctx, c, id)
	if err != nil {
		return err
	}
	events, err := menu.RequestImage(session, id)
	if err != nil {
		return err
	}
	answer := requested{ID: id}
	for _, event := range events {
		proposed := eventstore.Proposed{Event: event, Time: a.cfg.Now(), Correlation: origin.Correlation}
		if _, err := a.cfg.Log.Append(from(ctx, origin), key, proposed); err != nil {
			return ofAppend(err)
		}
		if request, is := event.(menu.ImageRequested); is {
			answer.Epoch = request.Epoch
		}
	}
	return c.Status(http.StatusAccepted).JSON(answer)
}

// sessionOf returns the key of the session that a dish belongs to, if the request may see it.
func (a *API) sessionOf(ctx context.Context, c *fiber.Ctx, id menu.DishID) (menu.Key, error) {
	tenant := a.cfg.Tenant(c)
	row, err := a.cfg.Rows.Menu(ctx, tenant, id)
	switch {
	case errors.Is(err, projections.ErrNotFound):
		return menu.Key{}, notFound("dish " + string(id))
	case err != nil:
		return menu.Key{}, unavailable("the database of rows", err)
	}
	key := menu.Key{Tenant: tenant, Session: row.SessionID}
	if !a.sees(c, key) {
		return menu.Key{}, notFound("dish " + string(id))
	}
	about(c, key) //nolint:contextcheck // it names the session in the request's own context
	return key, nil
}

// dishSession returns the session of a dish, if the request may see it, and the entry that began it. The row
// says which session to look at; what the session is, only the log says.
func (a *API) dishSession(ctx context.Context, c *fiber.Ctx, id menu.DishID) (key menu.Key, session menu.Session, origin eventstore.Entry, err error) {
	if key, err = a.sessionOf(ctx, c, id); err != nil {
		return key, session, origin, err
	}
	if session, origin, err = a.load(ctx, key); err != nil {
		return key, session, origin, err
	}
	if !session.Exists() && session.Key == key {
		return key, session, origin, archived(key)
	}
	return key, session, origin, nil
}

// imageSVG answers GET /v1/menus/{id}/image.svg.
func (a *API) imageSVG(c *fiber.Ctx) error { return a.image(c, streams.MediaSVG, "svg") }

// imagePNG answers GET /v1/menus/{id}/image.png.
func (a *API) imagePNG(c *fiber.Ctx) error { return a.image(c, streams.MediaPNG, "png") }

// image sends the newest picture of a dish in one of its forms.
func (a *API) image(c *fiber.Ctx, mediaType, extension string) error {
	id, err := dishID(c)
	if err != nil {
		return err
	}
	ctx, cancel := a.deadline(c)
	defer cancel()
	key, err := a.sessionOf(ctx, c, id)
	if err != nil {
		return err
	}
	// A picture may be replaced between the look at the log and the look at the store.
	for range 2 {
		made, err := a.newestImage(ctx, key, id)
		if err != nil {
			return err
		}
		body, err := a.cfg.Images.Get(ctx, streams.Image{Key: key, Dish: id, Epoch: made.Epoch, MediaType: mediaType})
		switch {
		case errors.Is(err, streams.ErrNoImage):
			continue
		case err != nil:
			return unavailable("the store of pictures", err)
		}
		c.Set(headerGenerated, strconv.FormatBool(made.Generated))
		if held(c, strconv.Quote(made.event+"."+extension)) { // the bytes of one event never change
			return c.SendStatus(http.StatusNotModified)
		}
		c.Set(fiber.HeaderContentType, mediaType)
		c.Set(fiber.HeaderContentSecurityPolicy, imagePolicy)
		c.Set(fiber.HeaderContentDisposition, fmt.Sprintf(`inline; filename="dish-%s.%s"`, id, extension)) // an id has no character that means something here
		return c.Send(body)
	}
	return noImage(fmt.Sprintf("the picture of dish %s is not kept any more: ask for another one with POST /v1/menus/%s/image", id, id))
}

func noImage(detail string) *problem {
	return newProblem(http.StatusNotFound, "no-image", "There is no picture", detail)
}

// madeImage is a picture that was made.
type madeImage struct {
	menu.ImageCompleted

	event string // id of the event
}

// newestImage finds the newest picture of a dish in the log; in history, if the session was archived.
func (a *API) newestImage(ctx context.Context, key menu.Key, id menu.DishID) (made madeImage, err error) {
	entries, err := a.cfg.Log.LoadLane(ctx, key, menu.LaneImage, 0)
	if err != nil {
		return made, unavailable("the event log", err)
	}
	asked := 0
	note := func(e menu.ImageCompleted, event string) {
		if e.ID == id && e.Epoch > made.Epoch {
			made = madeImage{e, event}
		}
	}
	for _, entry := range entries {
		switch e := entry.Event.(type) {
		case menu.ImageRequested:
			if e.ID == id {
				asked = max(asked, e.Epoch)
			}
		case menu.ImageCompleted:
			note(e, entry.ID)
		case menu.ImageFailed:
			if e.ID == id && e.Epoch == asked {
				asked = 0
			}
		case menu.Submitted, menu.Completed, menu.Expired, menu.Erased, menu.StageCompleted, menu.StageAttemptFailed, menu.StageFailed, menu.StageRetryRequested:
		}
	}
	if made.Epoch == 0 && len(entries) == 0 {
		const kind = projections.TypePattern("image.completed")
		for envelope, err := range a.cfg.History.Events(ctx, projections.EventFilter{Tenant: key.Tenant, Session: key.Session, Type: kind}) {
			if err != nil {
				return made, unavailable("the history", err)
			}
			var e menu.ImageCompleted
			if json.Unmarshal(envelope.Data, &e) == nil {
				note(e, envelope.ID)
			}
		}
	}
	switch {
	case made.Epoch > 0:
		return made, nil
	case asked > 0:
		return made, noImage(fmt.Sprintf("the picture of dish %s is being made: the session's event image.completed says when it is there", id))
	}
	return made, noImage(fmt.Sprintf("no picture of dish %s was made: ask for one with POST /v1/menus/%s/image", id, id))
}

package projections

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"kondate/domain/menu"
)

// Reasons why a query or a projector fails; matched with errors.Is.
var (
	// ErrNotFound says that there is no row of that session or dish, perhaps because the projection has not reached it.
	ErrNotFound = errors.New("there is no such row")
	// ErrFenced says that somebody else moved the projector's checkpoint. What it was writing was rolled back.
	ErrFenced = errors.New("another projector moved the checkpoint")
	// ErrBusy says that a rebuild, a verification, a restore or a projector is at work on the database.
	ErrBusy = errors.New("somebody else works on the read models")
	// ErrOtherStream says that the rows were made from another stream than the one that is followed.
	ErrOtherStream = errors.New("the rows belong to another stream: connect to the stream they were made from, or bring it back with kondate restore, or start with an empty database")
	// ErrLostInside says that the log has lost events whose sequences it will not give again, so that they cannot be put back.
	ErrLostInside = errors.New("stop every kondate serve, move the folder nats of the data dir away (with a NATS of your own: remove the stream), and run kondate restore, which makes the log anew from history")
	// ErrLostEnd says that the log has lost events at its end.
	ErrLostEnd = errors.New("stop every kondate serve and run kondate restore, which puts them back")
)

// TakenError names the dish ids that other sessions of the tenant hold. Nothing was reserved.
type TakenError struct{ IDs []menu.DishID }

// maxNamed bounds how many ids an error's text names.
const maxNamed = 5

// Error names the first few ids.
func (e *TakenError) Error() string {
	var names strings.Builder
	for i, id := range e.IDs[:min(len(e.IDs), maxNamed)] {
		if i > 0 {
			names.WriteString(", ")
		}
		names.WriteString(string(id))
	}
	if more := len(e.IDs) - maxNamed; more > 0 {
		fmt.Fprintf(&names, " and %d more", more)
	}
	return "menu ids taken by other sessions: " + names.String()
}

// Codes of errors that functions of the schema raise.
const (
	codeFenced  = "KD001" // advance_checkpoint: somebody else moved it
	codeNotLive = "KD002" // assert_live
)

func hasCode(err error, code string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == code
}

// isRefused says whether Postgres cannot hold some value of a page, however often it is tried: a data exception (class
// 22) or a limit of the program (54).
func isRefused(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (strings.HasPrefix(pg.Code, "22") || strings.HasPrefix(pg.Code, "54"))
}

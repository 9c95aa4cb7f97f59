// Package projections keeps Postgres read models in step with the log: the rows menus and sessions, and history, the
// log's second copy.
//
// [Projector] follows the log and writes, [Queries] and [Reservations] answer requests, [Migrate] makes the tables.
// The only fold is [kondate/domain/menu.Evolve]: the projector loads the sessions and dishes that a page of events names, folds the
// page into them and writes back what changed, together with the page's place in the log, in one transaction.
//
// [Operations] rebuild the rows beside the live ones and hold them against the log; [Restore] brings a lost log back from
// history. The projector also erases: a session's tombstone takes its content out of rows, history and log.
//
// A projector leads while its connection holds an advisory lock; the others stand by. What makes it safe is not the
// lock but the checkpoint: each page moves it by compare-and-set, so two projectors can never both commit.
package projections

package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// EventFilter says which events of history are wanted. The zero value wants all.
type EventFilter struct {
	Tenant  menu.Tenant
	Session menu.SessionID
	Type    TypePattern
	Since   time.Time // at this time or later, by the appender's clock
	Until   time.Time // before this time
	From    uint64    // the first sequence
	To      uint64    // the last sequence; 0: the last one that there is
	Limit   int       // how many events at most; 0: no limit
}

// TypePattern is a type of events in which the lane or the event may be *: "allergen.completed", "allergen.*",
// "*.failed". The empty one is every type.
type TypePattern string

// ErrPattern is matched by the errors of [ParseTypePattern].
var ErrPattern = errors.New(`not a type of events: write it like allergen.completed, allergen.* or *.failed`)

// ParseTypePattern checks a pattern. It takes types that this program does not know: a newer one may have recorded them.
func ParseTypePattern(raw string) (TypePattern, error) {
	lane, event, ok := strings.Cut(raw, ".")
	for _, token := range []string{lane, event} {
		if _, err := menu.ParseSessionID(token); err != nil && token != "*" { // a lane and an event follow the rules of an id
			ok = false
		}
	}
	if !ok {
		return "", fmt.Errorf("%q is %w", raw, ErrPattern)
	}
	return TypePattern(raw), nil
}

const (
	// A page of events aims at pageGoal bytes and has at least minEventPage and at most maxEventPage rows.
	pageGoal     = 2 << 20
	minEventPage = 8
	maxEventPage = 2000
	firstPage    = 100
)

// Events returns the events of history that a filter wants, in the order of the log. It reads page by page and holds one
// of them: neither a transaction nor memory grows with what is read. Events that are appended meanwhile are included.
// Messages that are no events, because nobody can read them, are left out.
func (q *Queries) Events(ctx context.Context, filter EventFilter) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		next, limit, left := filter.From, firstPage, filter.Limit
		for {
			page, err := q.eventPage(ctx, filter, next, limit)
			if err != nil {
				yield(eventstore.Envelope{}, err)
				return
			}
			bytes := 0
			for _, row := range page {
				bytes += len(row.Body) + len(row.Headers)
				next = row.Seq + 1
				e, ok := row.Envelope()
				if !ok {
					continue
				}
				if !yield(e, nil) {
					return
				}
				if left--; left == 0 {
					return
				}
			}
			if len(page) < limit {
				return
			}
			limit = min(max(pageGoal*len(page)/max(bytes, 1), minEventPage), maxEventPage)
		}
	}
}

// eventPage returns the first rows, at most limit of them, from a sequence on.
func (q *Queries) eventPage(ctx context.Context, f EventFilter, from uint64, limit int) ([]HistoryRow, error) {
	sql, args := "select "+historyColumns+" from public.history where seq >= $1", []any{toBigint(from)}
	where := func(condition string, value any) {
		args = append(args, value)
		sql += fmt.Sprintf(" and "+condition, len(args))
	}
	if f.Tenant != "" {
		where("tenant = $%d", f.Tenant)
	}
	if f.Session != "" {
		where("session_id = $%d", f.Session)
	}
	if lane, event, ok := strings.Cut(string(f.Type), "."); ok {
		if lane != "*" {
			where("split_part(type, '.', 1) = $%d", lane)
		}
		if event != "*" {
			where("split_part(type, '.', 2) = $%d", event)
		}
	}
	if !f.Since.IsZero() {
		where("time >= $%d", f.Since)
	}
	if !f.Until.IsZero() {
		where("time < $%d", f.Until)
	}
	if f.To > 0 {
		where("seq <= $%d", toBigint(f.To))
	}
	args = append(args, limit)
	rows, err := q.pool.Query(ctx, sql+fmt.Sprintf(" order by seq limit $%d", len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("read the history from %d: %w", from, err)
	}
	page, err := pgx.CollectRows(rows, scanHistory)
	if err != nil {
		return nil, fmt.Errorf("read the history from %d: %w", from, err)
	}
	return page, nil
}

// Envelope returns the row as streams and exports carry it; false for a message that is no event. One of a type or
// version that this program does not know is passed on: its readers may know it.
func (r HistoryRow) Envelope() (eventstore.Envelope, bool) {
	if r.Err != "" && !strings.HasPrefix(r.Err, ignored) {
		e := r.entry()
		if e.Err != nil && (!errors.Is(e.Err, eventstore.ErrUnknownEvent) || !json.Valid(e.Data)) {
			return eventstore.Envelope{}, false
		}
	}
	return eventstore.Envelope{Seq: r.Seq, ID: r.ID, Key: r.Key, Type: r.Type, Version: r.Version, Time: r.Time, Data: r.Data}, true
}

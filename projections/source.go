package projections

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kondate/eventstore"
	"kondate/streams"
)

// Reader is what a rebuild needs of the log.
type Reader interface {
	// Read returns the first entries after a sequence, at most limit of them: none at the log's end.
	Read(ctx context.Context, after uint64, limit int) ([]eventstore.Entry, error)
}

// readPage is how many entries are read at once.
const readPage = 1000

// source is the whole log, from its first event on: the stream, and from history what the stream holds no longer
// because it was archived.
type source struct {
	log  Reader
	pool *pgxpool.Pool
}

// read returns entries after a sequence in order, and the sequence up to which they are all that there is; upTo at most.
func (s source) read(ctx context.Context, after, upTo uint64) (entries []eventstore.Entry, through uint64, err error) {
	entries, held, through, err := s.page(ctx, after, upTo, false)
	return merge(entries, held), through, err
}

// page returns what the log holds after a sequence, and what history does if the log has a gap there, or if both are
// wanted; and the sequence up to which that is all.
func (s source) page(ctx context.Context, after, upTo uint64, both bool) (entries []eventstore.Entry, held []HistoryRow, through uint64, err error) {
	if entries, err = s.log.Read(ctx, after, readPage); err != nil {
		return nil, nil, 0, err
	}
	if through = upTo; len(entries) == readPage {
		through = min(upTo, entries[len(entries)-1].Seq)
	}
	entries = before(entries, through)
	if !both && uint64(len(entries)) == through-after {
		return entries, nil, through, nil
	}
	if held, err = historyRange(ctx, s.pool, after, through, readPage); err != nil {
		return nil, nil, 0, err
	}
	if len(held) == readPage {
		through = held[len(held)-1].Seq
		entries = before(entries, through)
	}
	return entries, held, through, nil
}

// before returns the entries up to a sequence.
func before(entries []eventstore.Entry, through uint64) []eventstore.Entry {
	n := len(entries)
	for n > 0 && entries[n-1].Seq > through {
		n--
	}
	return entries[:n]
}

// merge adds what only history holds. The log wins: it is the first copy.
func merge(entries []eventstore.Entry, held []HistoryRow) []eventstore.Entry {
	all := make([]eventstore.Entry, 0, max(len(entries), len(held)))
	for _, r := range held {
		for len(entries) > 0 && entries[0].Seq < r.Seq {
			all, entries = append(all, entries[0]), entries[1:]
		}
		if len(entries) == 0 || entries[0].Seq != r.Seq {
			all = append(all, r.entry())
		}
	}
	return append(all, entries...)
}

// historyRange returns the first rows of history, at most limit, with a sequence above after and up to through.
func historyRange(ctx context.Context, pool *pgxpool.Pool, after, through uint64, limit int) ([]HistoryRow, error) {
	const sql = `select ` + historyColumns + ` from public.history where seq > $1 and seq <= $2 order by seq limit $3`
	rows, err := pool.Query(ctx, sql, toBigint(after), toBigint(through), limit)
	if err != nil {
		return nil, fmt.Errorf("read the history after %d: %w", after, err)
	}
	held, err := pgx.CollectRows(rows, scanHistory)
	if err != nil {
		return nil, fmt.Errorf("read the history after %d: %w", after, err)
	}
	return held, nil
}

// entry returns the row as the log would.
func (r HistoryRow) entry() eventstore.Entry {
	header, err := r.Header()
	if err != nil {
		header = nil // the entry is malformed then, and says so
	}
	subject := ""
	if r.Type != "" {
		subject = streams.EventSubject(r.Key, r.Type)
	}
	return eventstore.Decode(subject, r.Seq, r.Time, header, r.Body)
}

package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// Difference is one thing that is not as the log says it should be.
type Difference struct {
	Kind    string   `json:"kind"`              // "row missing", "row too many", "row differs", "event missing in history", …
	Where   string   `json:"where"`             // "menus public/dish-1", "event 17 of session public/s1"
	Columns []string `json:"columns,omitempty"` // of a row that differs
}

// String says it in a line.
func (d Difference) String() string {
	if len(d.Columns) == 0 {
		return d.Kind + ": " + d.Where
	}
	return fmt.Sprintf("%s: %s %v", d.Kind, d.Where, d.Columns)
}

// Report is the outcome of a verification.
type Report struct {
	Seq         uint64       `json:"seq"`         // what was compared is the state at this event
	Events      int64        `json:"events"`      // of the log, each compared with its copy in history
	Archived    int64        `json:"archived"`    // events that only history holds, because their sessions were archived
	Sessions    int64        `json:"sessions"`    // rows compared
	Dishes      int64        `json:"dishes"`      // rows compared
	Different   int64        `json:"different"`   // how many differences there are
	Differences []Difference `json:"differences"` // the first of them
}

// maxDifferences bounds the list of a report.
const maxDifferences = 20

func (r *Report) add(d Difference) {
	r.Different++
	if len(r.Differences) < maxDifferences {
		r.Differences = append(r.Differences, d)
	}
}

// Verify folds the log again from its first event on, into tables of its own, and compares every row with the live one
// by hash; on the way it compares every event with its copy in history. The projector goes on meanwhile: what is compared
// is the state at one event. progress may be nil.
func (o *Operations) Verify(ctx context.Context, progress func(Progress)) (report Report, err error) {
	report.Differences = []Difference{}
	w, end, err := o.begin(ctx, func(tx pgx.Tx, live checkpoint) (checkpoint, error) {
		if _, err := tx.Exec(ctx, "select public.drop_version(version) from public.versions where state = 'checking'"); err != nil {
			return live, fmt.Errorf("remove the tables of a verification that was cut off: %w", err)
		}
		return createVersion(ctx, tx, VersionChecking, live.identity)
	})
	if err != nil {
		return report, fmt.Errorf("verify: %w", err)
	}
	defer func() {
		// The tables go, also when ctx has ended: they have no use for anybody.
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pageTimeout)
		defer cancel()
		_, dropErr := o.pool.Exec(stopCtx, "select public.drop_version($1)", w.at.version)
		err = errors.Join(err, end(), dropErr)
	}()
	b := builder{writer: w, source: source{o.log, o.pool}, skipUnknown: true, progress: progress}
	if err := b.follow(ctx, o.pool); err != nil {
		return report, fmt.Errorf("verify: %w", err)
	}
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, o.pool, snapshot, func(tx pgx.Tx) error {
		live, err := liveCheckpoint(ctx, tx)
		if err != nil {
			return err
		}
		if err := b.build(ctx, live.seq); err != nil {
			return err
		}
		report.Seq = live.seq
		c := comparison{live: tx, check: b.conn, liveVersion: live.version, checkVersion: b.at.version, report: &report}
		// Sessions that were erased after the snapshot: it shows their rows, and the log has lost their events.
		if c.erasedTenants, c.erasedSessions, err = erasedAfter(ctx, b.conn, live.seq); err != nil {
			return err
		}
		if report.Sessions, err = c.table(ctx, "sessions", "session_id"); err != nil {
			return err
		}
		report.Dishes, err = c.table(ctx, "menus", "id")
		return err
	})
	if err == nil {
		err = o.compareHistory(ctx, &report)
	}
	if err != nil {
		return report, fmt.Errorf("verify: %w", err)
	}
	return report, nil
}

// comparison compares the tables of two versions: the live one as a transaction sees it, and the one that was just made.
type comparison struct {
	live                      pgx.Tx
	check                     *pgx.Conn
	liveVersion, checkVersion int
	report                    *Report

	erasedTenants, erasedSessions []string // not compared
}

func erasedAfter(ctx context.Context, conn *pgx.Conn, seq uint64) (tenants, sessions []string, err error) {
	const sql = `select coalesce(array_agg(tenant), '{}'), coalesce(array_agg(session_id), '{}') from public.erasures where seq > $1`
	if err := conn.QueryRow(ctx, sql, toBigint(seq)).Scan(&tenants, &sessions); err != nil {
		return nil, nil, fmt.Errorf("read the erased sessions: %w", err)
	}
	return tenants, sessions, nil
}

// hashedRow is a row by its key and hash.
type hashedRow struct{ tenant, id, hash string }

// table walks through both tables in the order of their keys and returns how many rows it compared.
func (c comparison) table(ctx context.Context, table, id string) (compared int64, err error) {
	read := func(q interface {
		Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	}, version int,
	) (rows, error) {
		sql := fmt.Sprintf(`select tenant, %[3]s, md5(t::text) from v%[1]d.%[2]s t
where not exists (select from unnest($1::text[], $2::text[]) e (tenant, session_id) where e.tenant = t.tenant and e.session_id = t.session_id)
order by tenant collate "C", %[3]s collate "C"`, version, table, id)
		r, err := q.Query(ctx, sql, c.erasedTenants, c.erasedSessions)
		return rows{r}, err
	}
	live, err := read(c.live, c.liveVersion)
	if err != nil {
		return 0, fmt.Errorf("read the live rows of %s: %w", table, err)
	}
	defer live.Close()
	check, err := read(c.check, c.checkVersion)
	if err != nil {
		return 0, fmt.Errorf("read the new rows of %s: %w", table, err)
	}
	defer check.Close()
	var different []hashedRow
	l, moreLive := live.next()
	n, moreNew := check.next()
	for moreLive || moreNew {
		switch order := compareKeys(l, n, moreLive, moreNew); {
		case order < 0:
			c.report.add(Difference{Kind: "row too many", Where: table + " " + l.tenant + "/" + l.id})
			l, moreLive = live.next()
		case order > 0:
			c.report.add(Difference{Kind: "row missing", Where: table + " " + n.tenant + "/" + n.id})
			n, moreNew = check.next()
		default:
			compared++
			if l.hash != n.hash {
				if len(different) < maxDifferences {
					different = append(different, l)
				} else {
					c.report.add(Difference{Kind: "row differs", Where: table + " " + l.tenant + "/" + l.id})
				}
			}
			l, moreLive = live.next()
			n, moreNew = check.next()
		}
	}
	live.Close()
	check.Close()
	if err := errors.Join(live.Err(), check.Err()); err != nil {
		return 0, fmt.Errorf("compare the rows of %s: %w", table, err)
	}
	for _, d := range different {
		columns, err := c.columns(ctx, table, id, d)
		if err != nil {
			return 0, err
		}
		c.report.add(Difference{Kind: "row differs", Where: table + " " + d.tenant + "/" + d.id, Columns: columns})
	}
	return compared, nil
}

// compareKeys orders the next rows of two tables; a table that is at its end comes last.
func compareKeys(live, made hashedRow, moreLive, moreMade bool) int {
	switch {
	case !moreMade:
		return -1
	case !moreLive:
		return 1
	}
	return slices.Compare([]string{live.tenant, live.id}, []string{made.tenant, made.id})
}

// rows reads hashed rows one after the other.
type rows struct{ pgx.Rows }

func (r rows) next() (row hashedRow, more bool) {
	if !r.Next() {
		return row, false
	}
	return row, r.Scan(&row.tenant, &row.id, &row.hash) == nil // an error of Scan ends the rows and is their Err
}

// columns names those in which a row of both versions differs.
func (c comparison) columns(ctx context.Context, table, id string, r hashedRow) ([]string, error) {
	read := func(q querier, version int) (map[string]json.RawMessage, error) {
		var row []byte
		sql := fmt.Sprintf(`select to_jsonb(t) from v%d.%s t where tenant = $1 and %s = $2`, version, table, id)
		if err := q.QueryRow(ctx, sql, r.tenant, r.id).Scan(&row); err != nil {
			return nil, fmt.Errorf("read the row %s/%s of %s: %w", r.tenant, r.id, table, err)
		}
		var columns map[string]json.RawMessage
		err := json.Unmarshal(row, &columns)
		return columns, err
	}
	live, err := read(c.live, c.liveVersion)
	if err != nil {
		return nil, err
	}
	made, err := read(c.check, c.checkVersion)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(live, func(name string, value json.RawMessage) bool { return string(made[name]) == string(value) })
	return slices.Sorted(maps.Keys(live)), nil
}

// compareHistory holds every event of the log up to the report's sequence against its copy.
func (o *Operations) compareHistory(ctx context.Context, report *Report) error {
	source := source{o.log, o.pool}
	for at := uint64(0); at < report.Seq; {
		entries, held, through, err := source.page(ctx, at, report.Seq, true)
		if err != nil {
			return err
		}
		if err := o.comparePage(ctx, entries, held, report); err != nil {
			return err
		}
		at = through
	}
	return nil
}

func (o *Operations) comparePage(ctx context.Context, entries []eventstore.Entry, held []HistoryRow, report *Report) error {
	copies := make(map[uint64]HistoryRow, len(held))
	for _, r := range held {
		copies[r.Seq] = r
	}
	var alone []eventstore.Entry // in the log, and not in history
	for _, e := range entries {
		report.Events++
		r, found := copies[e.Seq]
		delete(copies, e.Seq)
		if !found {
			alone = append(alone, e)
			continue
		}
		columns, err := r.differs(e)
		if err != nil {
			return err
		}
		if len(columns) > 0 {
			report.add(Difference{Kind: "event differs in history", Where: eventOf(e.Seq, e.Key), Columns: columns})
		}
	}
	// An erased session's events leave history first, and then the log.
	if err := o.excuse(ctx, "erasures", alone, func(e eventstore.Entry) {
		report.add(Difference{Kind: "event missing in history", Where: eventOf(e.Seq, e.Key)})
	}); err != nil {
		return err
	}
	var left []eventstore.Entry // in history, and not in the log
	for _, seq := range slices.Sorted(maps.Keys(copies)) {
		left = append(left, copies[seq].entry())
	}
	before := report.Different
	err := o.excuse(ctx, "archived_sessions", left, func(e eventstore.Entry) {
		report.add(Difference{Kind: "event missing in the log", Where: eventOf(e.Seq, e.Key)})
	})
	report.Archived += int64(len(left)) - (report.Different - before)
	return err
}

func eventOf(seq uint64, key menu.Key) string { return fmt.Sprintf("event %d of session %s", seq, key) }

// excuse calls fn for those entries whose session is not in a table of sessions.
func (o *Operations) excuse(ctx context.Context, table string, entries []eventstore.Entry, fn func(eventstore.Entry)) error {
	if len(entries) == 0 {
		return nil
	}
	var tenants, sessions []string
	for _, e := range entries {
		tenants, sessions = append(tenants, string(e.Key.Tenant)), append(sessions, string(e.Key.Session))
	}
	sql := fmt.Sprintf(`select tenant, session_id from unnest($1::text[], $2::text[]) k (tenant, session_id) join public.%s t using (tenant, session_id)`, table)
	rows, err := o.pool.Query(ctx, sql, tenants, sessions)
	if err != nil {
		return fmt.Errorf("look for sessions in %s: %w", table, err)
	}
	excused := map[menu.Key]bool{}
	var key menu.Key
	_, err = pgx.ForEachRow(rows, []any{&key.Tenant, &key.Session}, func() error {
		excused[key] = true
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for sessions in %s: %w", table, err)
	}
	for _, e := range entries {
		if !excused[e.Key] {
			fn(e)
		}
	}
	return nil
}

// differs names the columns in which a row of history is not what the log holds.
func (r HistoryRow) differs(e eventstore.Entry) ([]string, error) {
	header, err := json.Marshal(e.Header)
	if err != nil {
		return nil, fmt.Errorf("encode the headers of event %d: %w", e.Seq, err)
	}
	header, _ = cleanJSON(header)
	sameHeaders := string(r.Headers) == string(header)
	if !sameHeaders { // a restore leaves out the broker's own
		held, err := r.Header()
		if err != nil {
			return nil, err
		}
		var recorded map[string][]string
		if err := json.Unmarshal(header, &recorded); err != nil {
			return nil, fmt.Errorf("read the headers of event %d: %w", e.Seq, err)
		}
		sameHeaders = maps.EqualFunc(ofEvent(held), ofEvent(recorded), slices.Equal[[]string])
	}
	var columns []string
	for name, same := range map[string]bool{
		"id": r.ID == cleanText(e.ID), "session_id": r.Key == e.Key, "type": r.Type == e.Type, "version": r.Version == e.Version,
		"time": r.Time.Equal(e.Time), "headers": sameHeaders, "data": string(r.Body) == string(e.Data),
	} {
		if !same {
			columns = append(columns, name)
		}
	}
	slices.Sort(columns)
	return columns, nil
}

// ofEvent drops the headers by which the broker was told how to take a message in.
func ofEvent(header map[string][]string) map[string][]string {
	maps.DeleteFunc(header, func(name string, _ []string) bool { return eventstore.IsBrokerHeader(name) })
	return header
}

package projections_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
)

// The load: sessions that run at once, a menu of 20 dishes each, one event per stage.
const (
	benchSessions = 300
	benchAtOnce   = 50
	benchDishes   = 20
	benchEvents   = benchSessions * (1 + menu.StageCount)
)

// benchLog returns the load: the events of benchAtOnce sessions in turn, then of the next ones.
func benchLog(b *testing.B) *eventstore.Memory {
	b.Helper()
	log := eventstore.NewMemory(0)
	add := func(key menu.Key, event menu.Event) {
		msg, err := eventstore.Encode(key, eventstore.Proposed{Event: event, Time: menutest.Start()})
		if err != nil {
			b.Fatal(err)
		}
		log.Inject(msg)
	}
	for first := 0; first < benchSessions; first += benchAtOnce {
		for step := range 1 + menu.StageCount {
			for i := first; i < first+benchAtOnce; i++ {
				items := menutest.Items(fmt.Sprintf("s%d", i), benchDishes)
				key := menutest.Key(fmt.Sprintf("s%d", i))
				if step == 0 {
					add(key, menutest.Submitted(items))
					continue
				}
				add(key, benchAnswer(menu.Stages()[step-1], items))
			}
		}
	}
	return log
}

// benchAnswer returns results of about 300 bytes.
func benchAnswer(stage menu.Stage, items []menu.Item) menu.Event {
	e := menutest.Completed(stage, menutest.IDs(items)...)
	for i := range e.Results {
		data, err := json.Marshal(map[string]any{
			stage.String(): "鶏の唐揚げ " + string(e.Results[i].ID), "note": strings.Repeat("fried chicken ", 12),
			"list": []string{"soy", "wheat", "egg"}, "n": 0.87,
		})
		if err != nil {
			panic(err) // a map of plain values always marshals
		}
		e.Results[i].Result.Data = data
	}
	return e
}

// BenchmarkProjector reports how fast the projector takes in a log, and beside it the bare writing of the same rows in the
// same run: one upsert per table and page. Their ratio is what the reading, the folding and the care cost.
//
// Pages of 450 hold whole sessions, as when the projector catches up; each row is written once. Pages of 50 hold one
// stage of each session, as when they are watched live; each dish is then written nine times, by both. The fastest round
// of each counts: whatever else the machine does only slows a round down.
func BenchmarkProjector(b *testing.B) {
	for _, size := range []int{benchAtOnce * (1 + menu.StageCount), benchAtOnce} {
		b.Run(fmt.Sprintf("Page=%d", size), func(b *testing.B) {
			log := benchLog(b)
			projected, raw := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
			for b.Loop() {
				b.StopTimer()
				f := newFixture(b)
				f.log = log
				b.StartTimer()
				projected = min(projected, f.benchProjected(size))
				b.StopTimer()
				raw = min(raw, f.benchRaw(size))
				f.pool.Close()
				b.StartTimer()
			}
			b.ReportMetric(benchEvents/projected.Seconds(), "events/s")
			b.ReportMetric(benchEvents/raw.Seconds(), "raw-events/s")
			b.ReportMetric(benchEvents*benchDishes/projected.Seconds(), "results/s")
			b.ReportMetric(100*raw.Seconds()/projected.Seconds(), "%-of-raw")
		})
	}
}

// benchProjected lets a projector take in the log in pages of a size.
func (f *fixture) benchProjected(size int) time.Duration {
	f.Helper()
	entries := make([]eventstore.Entry, 0, benchEvents)
	done := errors.New("done")
	err := f.log.Follow(f.Context(), 0, func(_ context.Context, page []eventstore.Entry) error {
		if entries = append(entries, page...); len(entries) == benchEvents {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		f.Fatal(err)
	}
	begin := time.Now()
	stop := f.project(faulty{store: f.log, follow: func(ctx context.Context, _ uint64, fn func(context.Context, []eventstore.Entry) error) error {
		for page := range slices.Chunk(entries, size) {
			if err := fn(ctx, page); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}, appendMenu: func(context.Context, menu.Key, uint64, ...eventstore.Proposed) (eventstore.Receipt, error) {
		return eventstore.Receipt{}, nil // the log is the same in every round
	}}, config())
	f.waitFor(benchEvents)
	elapsed := time.Since(begin)
	_ = stop()
	return elapsed
}

// benchRaw empties the tables that a projector filled and writes the same rows again, page by page.
func (f *fixture) benchRaw(size int) time.Duration {
	f.Helper()
	ctx := f.Context()
	conn, err := pgx.ConnectConfig(ctx, f.pool.Config().ConnConfig.Copy())
	if err != nil {
		f.Fatal(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // the round is over
	if _, err := conn.Exec(ctx, "set synchronous_commit = off"); err != nil {
		f.Fatal(err)
	}
	const touched = "session_id in (select session_id from public.history where seq > $1 and seq <= $2)"
	tables := []struct{ name, key, rows string }{
		{"v1.menus", "tenant, id", touched},
		{"v1.sessions", "tenant, session_id", touched},
		{"public.menu_ids", "tenant, menu_id", "session_id in (select session_id from public.history where seq > $1 and seq <= $2 and type = 'menu.submitted')"},
		{"public.history", "seq", "seq > $1 and seq <= $2"},
	}
	var batches []*pgx.Batch
	for first := 0; first < benchEvents; first += size {
		batch := &pgx.Batch{}
		for _, t := range tables {
			f.queueRaw(batch, t.name, t.key, t.rows, first, first+size)
		}
		batches = append(batches, batch)
	}
	f.exec(ctx, "truncate v1.menus, v1.sessions, public.menu_ids, public.history")
	begin := time.Now()
	for _, batch := range batches {
		if err := conn.SendBatch(ctx, batch).Close(); err != nil {
			f.Fatal(err)
		}
	}
	elapsed := time.Since(begin)
	if n := f.count("select count(*) from v1.menus"); n != benchSessions*benchDishes {
		f.Fatalf("the bare writing left %d dishes", n)
	}
	return elapsed
}

// queueRaw queues an upsert of the rows that a page touches in a table, column by column as arrays.
func (f *fixture) queueRaw(batch *pgx.Batch, table, key, touched string, after, last int) {
	f.Helper()
	rows, err := f.pool.Query(f.Context(), "select attname, format_type(atttypid, null) from pg_attribute where attrelid = $1::regclass and attnum > 0 order by attnum", table)
	if err != nil {
		f.Fatal(err)
	}
	type column struct{ Name, Type string }
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	if err != nil {
		f.Fatal(err)
	}
	var names, selected, arrays, updates []string
	var params []any
	for i, c := range columns {
		var (
			typ  = c.Type
			cast string
			into any
		)
		switch c.Type {
		case "bigint":
			into = &[]*int64{}
		case "boolean":
			into = &[]*bool{}
		case "timestamp with time zone":
			into = &[]*time.Time{}
		case "bytea":
			into = &[][]byte{}
		default:
			typ, cast, into = "text", "::"+c.Type, &[]*string{}
		}
		query := fmt.Sprintf("select coalesce(array_agg(%s::%s order by %s), '{}') from %s where %s", c.Name, typ, key, table, touched)
		if err := f.pool.QueryRow(f.Context(), query, after, last).Scan(into); err != nil {
			f.Fatal(err)
		}
		names, selected = append(names, c.Name), append(selected, c.Name+cast)
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", i+1, typ))
		updates = append(updates, fmt.Sprintf("%s = excluded.%s", c.Name, c.Name))
		params = append(params, into)
	}
	batch.Queue(fmt.Sprintf("insert into %s (%s) select %s from unnest(%s) u (%s) on conflict (%s) do update set %s", table, strings.Join(names, ", "),
		strings.Join(selected, ", "), strings.Join(arrays, ", "), strings.Join(names, ", "), key, strings.Join(updates, ", ")), params...)
}

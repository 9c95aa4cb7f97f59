package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// bare empties the tables that the projector filled and writes the same rows again, page by page.
func (b *base) bare(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, b.pool.Config().ConnConfig.Copy())
	if err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	defer conn.Close(ctx)                                                     //nolint:errcheck // the round is over
	if _, err := conn.Exec(ctx, "set synchronous_commit = off"); err != nil { // as the projector does
		return fmt.Errorf("prepare the bare writing: %w", err)
	}
	const touched = "session_id in (select session_id from public.history where seq > $1 and seq <= $2)"
	tables := []struct{ name, key, rows string }{
		{"v1.menus", "tenant, id", touched},
		{"v1.sessions", "tenant, session_id", touched},
		{"public.menu_ids", "tenant, menu_id", "session_id in (select session_id from public.history where seq > $1 and seq <= $2 and type = 'menu.submitted')"},
		{"public.history", "seq", "seq > $1 and seq <= $2"},
	}
	var batches []*pgx.Batch
	for first := 0; first < len(b.log.entries); first += b.log.size {
		batch := &pgx.Batch{}
		for _, t := range tables {
			if err := queueBare(ctx, conn, batch, t.name, t.key, t.rows, first, first+b.log.size); err != nil {
				return err
			}
		}
		batches = append(batches, batch)
	}
	if _, err := conn.Exec(ctx, "truncate v1.menus, v1.sessions, public.menu_ids, public.history"); err != nil {
		return fmt.Errorf("empty the tables: %w", err)
	}
	began := time.Now()
	for _, batch := range batches {
		if err := conn.SendBatch(ctx, batch).Close(); err != nil {
			return fmt.Errorf("write a page of rows: %w", err)
		}
	}
	b.raw = b.rate(began)
	var dishes int
	if err := conn.QueryRow(ctx, "select count(*) from v1.menus").Scan(&dishes); err != nil {
		return fmt.Errorf("count what the bare writing left: %w", err)
	}
	if want := b.settings.Menus * Dishes; dishes != want {
		return fmt.Errorf("the bare writing left %d dishes of %d", dishes, want)
	}
	return nil
}

// queueBare queues an upsert of the rows that a page touches in a table, column by column as arrays.
func queueBare(ctx context.Context, conn *pgx.Conn, batch *pgx.Batch, table, key, touched string, after, last int) error {
	rows, err := conn.Query(ctx, "select attname, format_type(atttypid, null) from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum", table)
	if err != nil {
		return fmt.Errorf("look at table %s: %w", table, err)
	}
	type column struct{ Name, Type string }
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	if err != nil {
		return fmt.Errorf("look at table %s: %w", table, err)
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
		if err := conn.QueryRow(ctx, query, after, last).Scan(into); err != nil {
			return fmt.Errorf("read column %s of %s: %w", c.Name, table, err)
		}
		names, selected = append(names, c.Name), append(selected, c.Name+cast)
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", i+1, typ))
		updates = append(updates, fmt.Sprintf("%s = excluded.%s", c.Name, c.Name))
		params = append(params, into)
	}
	batch.Queue(fmt.Sprintf("insert into %s (%s) select %s from unnest(%s) u (%s) on conflict (%s) do update set %s",
		table, strings.Join(names, ", "), strings.Join(selected, ", "), strings.Join(arrays, ", "), strings.Join(names, ", "), key, strings.Join(updates, ", ")), params...)
	return nil
}

package projections_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"kondate/domain/menu/menutest"
)

// A page looks its rows up by key from the first one on: the plans of a projector that began on empty tables do not walk
// all of what has grown since.
func TestPagesReadTheirRowsOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	stop := f.project(f.log, config())
	const sessions, dishes = 80, 20
	for i := range sessions {
		key := menutest.Key(fmt.Sprintf("s%d", i))
		items := f.submit(key, dishes)
		f.settle()
		f.answer(key, items)
		f.settle()
	}
	if err := stop(); !errors.Is(err, context.Canceled) { // a connection that ends has told what it read
		t.Fatal(err)
	}
	const read = "select sum(seq_tup_read + idx_tup_fetch)::int from pg_stat_user_tables where schemaname = 'v1' and relname in ('menus', 'sessions')"
	// Ten events of a session, each of which loads and writes the rows of its dishes.
	if rows, most := f.count(read), sessions*dishes*30; rows == 0 || rows > most {
		t.Errorf("%d rows of menus and sessions were read for %d sessions of %d dishes, want at most %d", rows, sessions, dishes, most)
	} else {
		t.Logf("%d rows were read", rows)
	}
}

// Postgres does not read the documents of rows for its statistics, in the first version of the tables and in a new one.
func TestDocumentsAreNotAnalyzed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if made := f.count("select public.create_version('building', 'stream')"); made != 2 {
		t.Fatalf("made version %d, want 2", made)
	}
	const columns = "select count(*)::int from pg_attribute where attrelid in ('v1.menus'::regclass, 'v2.menus'::regclass) and atttypid = 'jsonb'::regtype"
	if all, analyzed := f.count(columns), f.count(columns+" and attstattarget is distinct from 0"); all == 0 || analyzed != 0 {
		t.Errorf("%d of %d documents are analyzed", analyzed, all)
	}
}

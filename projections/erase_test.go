package projections_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/projections"
	"kondate/streams"
	"kondate/streams/natstest"
)

// What is erased is gone: from the rows, from history, from the register of ids, from the log and from its files on the
// disk; what is not, stays. An answer that comes late brings nothing back, nor does a rebuild or a restore.
func TestErasureIsComplete(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := newFixture(t)
	broker := natstest.NewWith(t, streams.ServerConfig{StoreDir: dir})
	log, js, cfg := realLog(broker)
	stop := f.project(log, cfg)
	erased, kept := menutest.Key("s-erased"), menutest.Key("s-kept")
	secret := []byte("Suppe-mit-Geheimnis")
	items := menutest.Items(string(erased.Session), 3)
	items[1].Name = string(secret)
	submission, err := log.AppendMenu(t.Context(), erased, 0, propose(menutest.Submitted(items))...)
	if err != nil {
		t.Fatal(err)
	}
	if err := projections.NewReservations(f.pool, log).Reserve(t.Context(), erased, menutest.IDs(items)); err != nil {
		t.Fatal(err)
	}
	answer := func(stage menu.Stage) {
		e := menutest.Completed(stage, menutest.IDs(items)...)
		for i := range e.Results {
			e.Results[i].Result.Data = fmt.Appendf(nil, `{"translation":%q}`, secret)
		}
		p := propose(e)
		p[0].Correlation = submission.IDs[0]
		if _, err := log.Append(t.Context(), erased, p...); err != nil {
			t.Fatal(err)
		}
	}
	answer(menu.Translation)
	runSession(f, log, kept, 2)
	answer(menu.Allergen)
	f.completed(log, kept, 1)
	if !onDisk(t, dir, secret) {
		t.Fatal("the text is not on the disk before the erasure: this test finds nothing")
	}
	tombstone, err := log.AppendMenu(t.Context(), erased, submission.Seq, propose(menu.Erased{By: "guest", Reason: "asked for"})...)
	if err != nil {
		t.Fatal(err)
	}
	answer(menu.Task6) // of a stage that was at work
	f.waitFor(f.last(log))
	f.purged()

	gone := func(when string) {
		t.Helper()
		entries, err := log.Load(t.Context(), erased)
		if err != nil || len(entries) != 1 || entries[0].Type != (menu.Erased{}).Type() {
			t.Errorf("%s the log holds %d events of the session, want its tombstone: %v", when, len(entries), err)
		}
		if n := f.count("select count(*) from public.menu_ids where session_id = $1", erased.Session); n != 0 {
			t.Errorf("%s %d ids are taken", when, n)
		}
		for _, where := range f.find(string(secret)) {
			t.Errorf("%s the text stands in %s", when, where)
		}
		if onDisk(t, dir, secret) {
			t.Errorf("%s the text stands in the log's files", when)
		}
		if row := f.session(erased); row.Status != menu.SessionErased || len(f.rows(erased)) != 0 {
			t.Errorf("%s the session is %+v", when, row)
		}
		f.equalsFold(log, kept)
		report, err := projections.NewOperations(f.pool, log, cfg).Verify(t.Context(), nil)
		if err != nil || report.Different > 0 {
			t.Errorf("%s verify finds %v, %v", when, report.Differences, err)
		}
	}
	gone("after the erasure")
	answer(menu.Task7) // long after
	f.waitFor(f.last(log))
	f.purged()
	gone("after a late answer")
	if _, err := projections.NewOperations(f.pool, log, cfg).Rebuild(t.Context(), projections.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	gone("after a rebuild")
	if got, err := log.AppendMenu(t.Context(), erased, 0, propose(menutest.Submitted(items))...); err == nil && !got.Already {
		t.Errorf("the session was submitted again: %+v", got)
	}

	_ = stop()
	if err := js.DeleteStream(t.Context(), streams.EventStream); err != nil {
		t.Fatal(err)
	}
	if err := streams.Ensure(t.Context(), js, broker.Topology()); err != nil {
		t.Fatal(err)
	}
	if _, err := projections.Restore(t.Context(), f.pool, log, cfg, nil); err != nil {
		t.Fatal(err)
	}
	if err := projections.Settle(t.Context(), f.pool, log, cfg); err != nil {
		t.Fatal(err)
	}
	if entries, err := log.Load(t.Context(), erased); err != nil || len(entries) != 1 || entries[0].ID != tombstone.IDs[0] {
		t.Errorf("after a restore the log holds %d events of the session: %v", len(entries), err)
	}
	gone("after a restore")
}

// purged waits until the log has lost what was erased.
func (f *fixture) purged() {
	f.Helper()
	f.eventually("what was erased to leave the log", func() bool {
		return f.count("select count(*) from public.erasures where purged < through") == 0
	})
}

// find names every column of the database that holds a text.
func (f *fixture) find(text string) []string {
	f.Helper()
	rows, err := f.pool.Query(f.Context(), `select format('%I.%I', table_schema, table_name), column_name from information_schema.columns
where table_schema not in ('pg_catalog', 'information_schema')`)
	if err != nil {
		f.Fatal(err)
	}
	type column struct{ table, name string }
	var columns []column
	for rows.Next() {
		var c column
		if err := rows.Scan(&c.table, &c.name); err != nil {
			f.Fatal(err)
		}
		columns = append(columns, c)
	}
	var found []string
	for _, c := range columns {
		if f.count(fmt.Sprintf(`select count(*) from %s where strpos("%s"::text, $1) > 0`, c.table, c.name), text) > 0 {
			found = append(found, c.table+"."+c.name)
		}
	}
	return found
}

// onDisk says whether a text stands in a file of a folder.
func onDisk(t *testing.T, dir string, text []byte) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil // the broker replaced it
		}
		found = found || bytes.Contains(raw, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A crash between the erasure of the rows and that of the log is repaired at the next start.
func TestErasureIsRepairedAfterCrash(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	key := menutest.Key("s1")
	stop := f.project(faulty{store: f.log, erase: func() error { return fmt.Errorf("the broker is away: %w", jetstream.ErrNoStreamResponse) }}, config())
	f.submit(key, 2)
	f.menuEvent(key, menu.Erased{By: "me"})
	f.settle()
	if n := f.count("select count(*) from public.history where session_id = 's1'"); n != 1 {
		t.Errorf("history holds %d events of the erased session", n)
	}
	_ = stop()
	if entries := mustLoad(f, f.log, key); len(entries) != 2 {
		t.Fatalf("the log holds %d events, want both: the test shows nothing", len(entries))
	}
	f.project(f.log, config())
	f.purged()
	if entries := mustLoad(f, f.log, key); len(entries) != 1 || entries[0].Type != (menu.Erased{}).Type() {
		t.Errorf("the log holds %d events of the erased session", len(entries))
	}
}

// What comes to an erased session is removed, whatever it is: also what nobody can read.
func TestLatePoisonIsErased(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	key := menutest.Key("s1")
	f.submit(key, 1)
	f.menuEvent(key, menu.Erased{By: "me"})
	msg, err := eventstore.Encode(key, eventstore.Proposed{Event: menutest.Completed(menu.Allergen, "s1-0"), Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	msg.Data = []byte("{late poison")
	f.log.Inject(msg)
	f.settle()
	f.purged()
	if entries := mustLoad(f, f.log, key); len(entries) != 1 {
		t.Errorf("the log holds %d events of the erased session", len(entries))
	}
	if found := strings.Join(f.find("late poison"), " "); found != "" {
		t.Errorf("the poison stands in %s", found)
	}
}

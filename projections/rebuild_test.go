package projections_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/projections"
)

func (f *fixture) operations(log projections.Reader) *projections.Operations {
	return projections.NewOperations(f.pool, log, config())
}

func (f *fixture) rebuild(options projections.RebuildOptions) int {
	f.Helper()
	version, err := f.operations(f.log).Rebuild(f.Context(), options)
	if err != nil {
		f.Fatal(err)
	}
	return version
}

func (f *fixture) verify() projections.Report {
	f.Helper()
	report, err := f.operations(f.log).Verify(f.Context(), nil)
	if err != nil {
		f.Fatal(err)
	}
	return report
}

// sound checks that rows and history are what the log says.
func (f *fixture) sound() {
	f.Helper()
	if report := f.verify(); report.Different > 0 {
		f.Fatalf("%d differences: %v", report.Different, report.Differences)
	}
}

// versions returns the versions there are, as "1 old at 12".
func (f *fixture) versions() []string {
	f.Helper()
	versions, err := projections.Versions(f.Context(), f.pool)
	if err != nil {
		f.Fatal(err)
	}
	var texts []string
	for _, v := range versions {
		texts = append(texts, fmt.Sprintf("%d %s at %d", v.Version, v.State, v.Seq))
	}
	return texts
}

// many appends n sessions of one dish each, with all answers.
func (f *fixture) many(prefix string, n int) []menu.Key {
	f.Helper()
	var keys []menu.Key
	for i := range n {
		key := menutest.Key(fmt.Sprintf("%s%d", prefix, i))
		f.answer(key, f.submit(key, 1))
		keys = append(keys, key)
	}
	return keys
}

// A rebuild beside a working projector: readers see no gap and no step back, the rows after it are a fold of the log, no
// event was appended twice, and history has no hole.
func TestRebuildUnderLoad(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	stop := f.project(f.log, config())
	keys := f.many("before-", 150)
	f.settle()

	var load, readers errgroup.Group
	quiet := make(chan struct{})
	loud := func() bool {
		select {
		case <-quiet:
			return false
		default:
			return true
		}
	}
	for i := range 3 {
		load.Go(func() error {
			for n := 0; loud(); n++ {
				key := menutest.Key(fmt.Sprintf("load-%d-%d", i, n))
				if _, err := f.log.AppendMenu(t.Context(), key, 0, propose(menutest.Submitted(menutest.Items(string(key.Session), 2)))...); err != nil {
					return err
				}
				for _, stage := range menu.Stages() {
					ids := menutest.IDs(menutest.Items(string(key.Session), 2))
					if _, err := f.log.Append(t.Context(), key, propose(menutest.Completed(stage, ids...))...); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	readers.Go(func() error {
		for at := uint64(0); loud(); {
			rows, seq, err := f.queries.Menus(t.Context(), keys[0])
			if err != nil || len(rows) != 1 || seq < at {
				return fmt.Errorf("a reader saw %d rows at %d, after %d: %w", len(rows), seq, at, err)
			}
			at = seq
		}
		return nil
	})
	for version := 2; version <= 4; version++ {
		if got := f.rebuild(projections.RebuildOptions{}); got != version {
			t.Errorf("rebuilt version %d, want %d", got, version)
		}
	}
	close(quiet)
	if err := errors.Join(load.Wait(), readers.Wait()); err != nil {
		t.Fatal(err)
	}
	f.eventually("every session to be completed", func() bool {
		return f.count("select count(*) from sessions where status <> 'completed'") == 0 && f.last(f.log) == f.checkpoint()
	})
	f.sound()
	last := int(f.last(f.log))
	if n := f.count("select count(*) from public.history"); n != last {
		t.Errorf("history holds %d of %d events", n, last)
	}
	if n := f.count("select count(*) from (select 1 from public.history where type = 'menu.completed' group by session_id having count(*) > 1) twice"); n != 0 {
		t.Errorf("%d sessions were completed twice", n)
	}
	if got := f.versions(); len(got) != 2 || !strings.HasPrefix(got[0], "3 old") || !strings.HasPrefix(got[1], "4 live") {
		t.Errorf("versions are %v, want 3 kept and 4 live", got)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("the projector ended with %v", err)
	}
}

func (f *fixture) checkpoint() uint64 {
	f.Helper()
	seq, err := f.queries.Checkpoint(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	return seq
}

// A rebuild that is stopped changes nothing for readers, and the next one goes on where it was.
func TestRebuildGoesOn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	f.many("s", 250)
	f.eventually("every session to be completed", func() bool {
		return f.count("select count(*) from sessions where status <> 'completed'") == 0 && f.last(f.log) == f.checkpoint()
	})
	last := f.last(f.log)

	stopped := func(fresh bool) uint64 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var first uint64
		_, err := f.operations(f.log).Rebuild(ctx, projections.RebuildOptions{Fresh: fresh, Progress: func(p projections.Progress) {
			if first == 0 {
				first = p.Seq
			}
			cancel()
		}})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("a rebuild that was stopped returned %v", err)
		}
		return first
	}
	first := stopped(false)
	if got, want := f.versions(), []string{fmt.Sprintf("1 live at %d", last), fmt.Sprintf("2 building at %d", first)}; !slices.Equal(got, want) {
		t.Fatalf("versions are %v, want %v", got, want)
	}
	if second := stopped(false); second <= first {
		t.Errorf("the second rebuild was at %d after its first page, want above %d", second, first)
	}
	if again := stopped(true); again != first {
		t.Errorf("a fresh rebuild was at %d after its first page, want %d again", again, first)
	}
	f.sound()
	f.rebuild(projections.RebuildOptions{})
	if got, want := f.versions(), []string{fmt.Sprintf("1 old at %d", last), fmt.Sprintf("2 live at %d", last)}; !slices.Equal(got, want) {
		t.Errorf("versions are %v, want %v", got, want)
	}
	f.sound()
}

// Verify names what differs, and a rebuild mends the rows.
func TestVerifyFindsAndRebuildMends(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	f.many("s", 5)
	f.eventually("every session to be completed", func() bool {
		return f.count("select count(*) from sessions where status <> 'completed'") == 0 && f.last(f.log) == f.checkpoint()
	})
	f.sound()
	f.exec(t.Context(), `update v1.menus set name = 'another', price = null where id = 's1-0'`)
	f.exec(t.Context(), `delete from v1.menus where id = 's2-0'`)
	f.exec(t.Context(), `insert into v1.menus select (jsonb_populate_record(m, '{"id": "invented"}')).* from v1.menus m where id = 's3-0'`)
	f.exec(t.Context(), `update v1.sessions set done = true where session_id = 's4'`)
	report := f.verify()
	var got []string
	for _, d := range report.Differences {
		got = append(got, d.String())
	}
	slices.Sort(got)
	tenant := string(menutest.Key("").Tenant)
	want := []string{
		"row differs: menus " + tenant + "/s1-0 [name price]",
		"row differs: sessions " + tenant + "/s4 [done]",
		"row missing: menus " + tenant + "/s2-0",
		"row too many: menus " + tenant + "/invented",
	}
	if !slices.Equal(got, want) || report.Different != int64(len(want)) {
		t.Fatalf("%d differences:\n%s\nwant\n%s", report.Different, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if report.Sessions != 5 || report.Dishes != 4 || report.Events != int64(f.last(f.log)) {
		t.Errorf("compared %d sessions, %d dishes, %d events", report.Sessions, report.Dishes, report.Events)
	}
	f.rebuild(projections.RebuildOptions{})
	f.sound()
	if n := f.count("select count(*) from public.versions where state = 'checking'"); n != 0 {
		t.Errorf("%d versions are left of verifications", n)
	}
}

func TestVerifyComparesHistory(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	f.many("s", 1)
	f.completed(f.log, menutest.Key("s0"), 1)
	f.settle()
	f.exec(t.Context(), `update public.history set data = '{"stage": "allergen", "results": []}' where seq = 4`)
	f.exec(t.Context(), `delete from public.history where seq = 5`)
	f.exec(t.Context(), `insert into public.history select seq + 5, tenant, session_id, type, version, time, 'x', headers, data, raw, error from public.history where seq = 6`)
	f.exec(t.Context(), `update public.checkpoints set seq = 11`) // a log that lost its end
	report := f.verify()
	var got []string
	for _, d := range report.Differences {
		got = append(got, d.Kind)
	}
	// The event that only history holds counts as one of the log until somebody looks: it changes what a fold says.
	want := []string{"row differs", "event differs in history", "event missing in history", "event missing in the log"}
	if !slices.Equal(got, want) {
		t.Fatalf("differences are %v, want %v", report.Differences, want)
	}
}

func TestRebuildStopsAtAnUnknownEvent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	f.many("s", 1)
	msg, err := eventstore.Encode(menutest.Key("s0"), propose(menutest.Completed(menu.Allergen, "s0-0"))[0])
	if err != nil {
		t.Fatal(err)
	}
	msg.Header.Set(eventstore.HeaderSchema, "99")
	f.log.Inject(msg)
	f.settle()
	_, err = f.operations(f.log).Rebuild(t.Context(), projections.RebuildOptions{})
	if !errors.Is(err, eventstore.ErrUnknownEvent) {
		t.Fatalf("the rebuild ended with %v, want ErrUnknownEvent", err)
	}
	f.rebuild(projections.RebuildOptions{SkipUnknown: true})
	f.sound()
}

// One operation at a time: the second one is told, at once.
func TestOperationsAreAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	f.many("s", 150)
	f.settle()
	var second error
	f.rebuild(projections.RebuildOptions{Progress: func(projections.Progress) {
		_, second = f.operations(f.log).Verify(t.Context(), nil)
	}})
	if !errors.Is(second, projections.ErrBusy) {
		t.Errorf("a verification during a rebuild ended with %v, want ErrBusy", second)
	}
}

func TestRebuildNeedsAProjectedLog(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if _, err := f.operations(f.log).Rebuild(t.Context(), projections.RebuildOptions{}); !errors.Is(err, projections.ErrNotFound) {
		t.Errorf("a rebuild of nothing ended with %v, want ErrNotFound", err)
	}
	stop := f.project(f.log, config())
	f.many("s", 1)
	f.settle()
	_ = stop()
	cfg := config()
	cfg.Identity = func(context.Context) (string, error) { return "stream-2", nil }
	_, err := projections.NewOperations(f.pool, f.log, cfg).Rebuild(t.Context(), projections.RebuildOptions{})
	if !errors.Is(err, projections.ErrOtherStream) {
		t.Errorf("a rebuild from another stream ended with %v, want ErrOtherStream", err)
	}
}

// Whatever the log holds, a rebuild makes the rows that the projector made.
func TestRebuildEqualsLive(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		for i := range rapid.IntRange(1, 40).Draw(t, "events") {
			key := menutest.Key(fmt.Sprintf("r%d-s%d", round, rapid.IntRange(0, 2).Draw(t, "session")))
			msg, err := eventstore.Encode(key, eventstore.Proposed{Event: drawEvent(t, key), Time: menutest.Start(), Causation: fmt.Sprint(i)})
			if err != nil {
				t.Fatal(err)
			}
			f.log.Inject(msg)
		}
		f.settle()
		if round%10 == 0 { // the log grows, and a rebuild reads all of it
			f.rebuild(projections.RebuildOptions{})
			f.sound()
		}
	})
	f.rebuild(projections.RebuildOptions{})
	f.sound()
}

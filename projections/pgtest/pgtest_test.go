package pgtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/projections/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestEachTestHasItsOwn(t *testing.T) {
	t.Parallel()
	var prepared atomic.Int32
	template := pgtest.WithTemplate("dishes", func(ctx context.Context, url string) error {
		prepared.Add(1)
		return execute(ctx, url, "create table dishes as select 'ramen' as name")
	})
	t.Run("group", func(t *testing.T) {
		t.Parallel()
		for i := range 20 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				begin := time.Now()
				url := pgtest.New(t, template)
				t.Logf("a copy took %v", time.Since(begin).Round(time.Millisecond))
				if n := count(t, url); n != 1 {
					t.Fatalf("begins with %d dishes", n)
				}
				if err := execute(t.Context(), url, "insert into dishes values ('udon')"); err != nil {
					t.Fatal(err)
				}
				if n := count(t, url); n != 2 {
					t.Errorf("sees %d dishes, want its own 2", n)
				}
			})
		}
	})
	t.Cleanup(func() {
		if n := prepared.Load(); n != 1 {
			t.Errorf("the template was filled %d times", n)
		}
	})
}

func TestPlainIsEmpty(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var tables int
	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	err = conn.QueryRow(t.Context(), "select count(*) from pg_tables where schemaname = 'public'").Scan(&tables)
	if err := errors.Join(err, conn.Close(t.Context())); err != nil || tables != 0 {
		t.Errorf("%d tables, %v", tables, err)
	}
}

func TestDroppedAtTheEnd(t *testing.T) {
	t.Parallel()
	var db string
	t.Run("Inner", func(t *testing.T) { // the outer test looks at what it leaves
		db = pgtest.New(t)
		conn, err := pgx.Connect(context.WithoutCancel(t.Context()), db) // forgotten, and no hindrance
		if err != nil {
			t.Fatal(err)
		}
		_ = conn
	})
	if err := execute(t.Context(), db, "select 1"); err == nil {
		t.Error("the database is still there")
	}
}

func TestDirIsOpenToEveryone(t *testing.T) {
	t.Parallel()
	if fi, err := os.Stat(pgtest.Dir(t)); err != nil || fi.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

func count(t *testing.T, db string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	err = conn.QueryRow(t.Context(), "select count(*) from dishes").Scan(&n)
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	return n
}

func execute(ctx context.Context, db, sql string) error {
	conn, err := pgx.Connect(ctx, db)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

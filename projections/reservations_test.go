package projections_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/projections"
)

func ids(names ...string) []menu.DishID {
	out := make([]menu.DishID, len(names))
	for i, name := range names {
		out[i] = menu.DishID(name)
	}
	return out
}

func takenIDs(t *testing.T, err error) []menu.DishID {
	t.Helper()
	taken, ok := errors.AsType[*projections.TakenError](err)
	if !ok {
		t.Fatalf("Reserve = %v, want a TakenError", err)
	}
	return taken.IDs
}

// Of two sessions that race for the same ids one gets all of them and the other none.
func TestReserveRaceHasOneWinner(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	reservations := projections.NewReservations(f.pool, f.log)
	const dishes, racers = 50, 4
	for round := range 20 {
		var names []menu.DishID
		for i := range dishes {
			names = append(names, menu.DishID(fmt.Sprintf("r%d-%d", round, i)))
		}
		var (
			g    errgroup.Group
			errs [racers]error
		)
		for racer := range racers {
			mine := slices.Clone(names)
			if racer%2 == 1 {
				slices.Reverse(mine)
			}
			g.Go(func() error {
				errs[racer] = reservations.Reserve(t.Context(), menutest.Key(fmt.Sprintf("r%d-s%d", round, racer)), mine)
				return nil
			})
		}
		_ = g.Wait()
		winner := -1
		for racer, err := range errs {
			switch {
			case err == nil && winner < 0:
				winner = racer
			case err == nil:
				t.Fatalf("racers %d and %d both won", winner, racer)
			default:
				takenIDs(t, err)
			}
		}
		if winner < 0 {
			t.Fatalf("nobody won: %v", errs)
		}
		if n := f.count("select count(*) from public.menu_ids where session_id = $1", fmt.Sprintf("r%d-s%d", round, winner)); n != dishes {
			t.Fatalf("the winner holds %d ids, want %d", n, dishes)
		}
		if n := f.count("select count(distinct session_id) from public.menu_ids where menu_id like $1", fmt.Sprintf("r%d-%%", round)); n != 1 {
			t.Fatalf("%d sessions hold the ids", n)
		}
	}
}

func TestReserve(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	reservations := projections.NewReservations(f.pool, f.log)
	reserve := func(session string, names ...string) error {
		return reservations.Reserve(t.Context(), menutest.Key(session), ids(names...))
	}
	age := func() {
		f.exec(t.Context(), "update public.menu_ids set reserved_at = reserved_at - interval '61 seconds'")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(reserve("s1", "a", "b", "a"))
	must(reserve("s1", "b", "a", "c")) // again, and one more
	must(reservations.Reserve(t.Context(), menu.Key{Tenant: "other", Session: "s9"}, ids("a")))
	must(reserve("s9"))
	if got := takenIDs(t, reserve("s2", "x", "c", "a")); !slices.Equal(got, ids("a", "c")) {
		t.Fatalf("taken = %v, want a and c", got)
	}

	// A minute later, s1 has not reached the log: its ids are free.
	age()
	must(reserve("s2", "x", "a", "b"))
	if got := takenIDs(t, reserve("s1", "a")); !slices.Equal(got, ids("a")) {
		t.Fatalf("taken = %v, want a", got)
	}

	// s2 reaches the log and no projector runs: its ids stay taken however old they are.
	items := []menu.Item{{ID: "x", Name: "n"}, {ID: "a", Position: 1, Name: "n"}, {ID: "b", Position: 2, Name: "n"}}
	f.menuEvent(menutest.Key("s2"), menutest.Submitted(items))
	age()
	if got := takenIDs(t, reserve("s3", "x", "y", "c")); !slices.Equal(got, ids("x")) {
		t.Fatalf("taken = %v, want x: c is abandoned by s1, y was never reserved", got)
	}
	must(reserve("s3", "y", "c"))

	// Confirmed ids stay taken, and belong to whoever submitted them even if somebody else had reserved them.
	f.menuEvent(menutest.Key("s4"), menutest.Submitted([]menu.Item{{ID: "y", Name: "n"}}))
	f.project(f.log, config())
	f.settle()
	age()
	if got := takenIDs(t, reserve("s5", "a", "x", "y", "new")); !slices.Equal(got, ids("a", "x", "y")) {
		t.Fatalf("taken = %v, want a, x, y", got)
	}
	if n := f.count("select count(*) from public.menu_ids where menu_id = 'y' and session_id = 's4' and confirmed"); n != 1 {
		t.Fatal("y is not confirmed for the session that submitted it")
	}
	must(reserve("s2", "a", "x", "b"))
}

// The log decides whether an old reservation still counts; without its answer nothing is given away.
func TestReserveAsksTheLog(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	away := errors.New("the broker is away")
	reservations := projections.NewReservations(f.pool, lastOf(func(context.Context, menu.Key) (uint64, error) { return 0, away }))
	if err := reservations.Reserve(t.Context(), menutest.Key("s1"), ids("a")); err != nil {
		t.Fatal(err)
	}
	f.exec(t.Context(), "update public.menu_ids set reserved_at = reserved_at - interval '61 seconds'")
	if err := reservations.Reserve(t.Context(), menutest.Key("s2"), ids("a")); !errors.Is(err, away) {
		t.Fatalf("Reserve = %v, want the broker's error", err)
	}
}

type lastOf func(context.Context, menu.Key) (uint64, error)

func (fn lastOf) LastOf(ctx context.Context, key menu.Key) (uint64, error) { return fn(ctx, key) }

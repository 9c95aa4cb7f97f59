package projections_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/projections"
)

func TestResultCache(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cache := projections.NewResultCache(f.pool, 1<<20)
	session := menutest.Key("s")
	if _, _, found, err := cache.Lookup(t.Context(), []byte("key")); found || err != nil {
		t.Fatal(found, err)
	}
	want := menutest.Result(menu.Allergen, "d")
	for range 2 {
		if err := cache.Store(t.Context(), session, []byte("key"), want); err != nil {
			t.Fatal(err)
		}
	}
	got, stored, found, err := cache.Lookup(t.Context(), []byte("key"))
	if err != nil || !found || time.Since(stored) > time.Minute {
		t.Fatal(found, stored, err)
	}
	a, errA := json.Marshal(got)
	b, errB := json.Marshal(want)
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
}

// The cache keeps to its size by dropping what was not used for the longest time.
func TestResultCacheIsBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const most = 60 << 10
	cache := projections.NewResultCache(f.pool, most)
	result := menutest.Result(menu.Allergen, "d")
	result.Data = json.RawMessage(fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", 100)))
	for i := range 1000 {
		if err := cache.Store(t.Context(), menutest.Key("s"), fmt.Append(nil, i), result); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.count(`select sum(bytes) from public.result_cache`); got > most {
		t.Errorf("it holds %d bytes, %d are allowed", got, most)
	}
	for i, want := range map[int]bool{0: false, 999: true} {
		if _, _, found, err := cache.Lookup(t.Context(), fmt.Append(nil, i)); found != want || err != nil {
			t.Errorf("result %d: %v, %v", i, found, err)
		}
	}
}

// Whatever is stored while a session is being erased is gone afterwards.
func TestErasureRemovesCachedResults(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project(f.log, config())
	cache := projections.NewResultCache(f.pool, 1<<20)
	erased, kept := menutest.Key("erased"), menutest.Key("kept")
	for _, key := range []menu.Key{erased, kept} {
		f.submit(key, 1)
		if err := cache.Store(t.Context(), key, []byte(key.Session), menutest.Result(menu.Allergen, "d")); err != nil {
			t.Fatal(err)
		}
	}
	f.settle()
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 50 {
				if err := cache.Store(t.Context(), erased, fmt.Appendf(nil, "%d-%d", w, i), menutest.Result(menu.Allergen, "d")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	f.menuEvent(erased, menu.Erased{By: "owner"})
	f.settle()
	writers.Wait()
	if n := f.count(`select count(*) from public.result_cache where session_id = 'erased'`); n > 0 {
		t.Errorf("%d results of the erased session are kept", n)
	}
	if n := f.count(`select count(*) from public.result_cache where session_id = 'kept'`); n != 1 {
		t.Errorf("%d results of the other session are kept", n)
	}
}

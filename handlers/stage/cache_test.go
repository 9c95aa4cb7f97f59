package stage_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
)

// kept is a cache in memory; fails makes it one that is away.
type kept struct {
	mu    sync.Mutex // guards the fields below
	known map[string]menu.Result
	at    time.Time
	fails bool
}

var errAway = errors.New("away")

func (k *kept) Lookup(_ context.Context, key []byte) (menu.Result, time.Time, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fails {
		return menu.Result{}, time.Time{}, false, errAway
	}
	r, found := k.known[string(key)]
	return r, k.at, found, nil
}

func (k *kept) Store(_ context.Context, _ menu.Key, key []byte, result menu.Result) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fails {
		return errAway
	}
	k.known[string(key)] = result
	return nil
}

// menuOf submits one dish and delivers it to a stage.
func (w *workbench) menuOf(tb testing.TB, session menu.SessionID, tenant menu.Tenant, target string, item menu.Item, s menu.Stage) menu.Result {
	tb.Helper()
	key := menu.Key{Tenant: tenant, Session: session}
	item.ID = "d0"
	events, err := menu.Submit(menu.Session{Key: key}, menu.SubmitMenu{SourceLanguage: "ja", TargetLanguage: target, Items: []menu.Item{item}, ChunkItems: 100})
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.log.AppendMenu(context.Background(), key, 0, eventstore.Proposed{Event: events[0], Time: time.Now()}); err != nil {
		tb.Fatal(err)
	}
	entries, err := w.log.Load(context.Background(), key)
	if err != nil {
		tb.Fatal(err)
	}
	w.queue.deliver(s, entries[0], 1).settled()
	if entries, err = w.log.Load(context.Background(), key); err != nil {
		tb.Fatal(err)
	}
	for _, e := range ofType[menu.StageCompleted](entries) {
		return e.Results[0].Result
	}
	return menu.Result{}
}

// The same words in the same languages are paid for once. What differs in meaning is asked for; so is what was unknown,
// or failed, before.
func TestCostlyResultsAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{answer: func(_ context.Context, r stage.Request) (menu.Result, error) {
			res := ok(r)
			res.ElapsedMS = 700
			switch r.Item.Name {
			case "unknown":
				res.Status = menu.StatusUnknown
			case "partial":
				res.Status = menu.StatusPartial
			case "refused":
				return res, &stage.Error{Reason: "refused", Permanent: true}
			}
			return res, nil
		}}
		cache := &kept{known: map[string]menu.Result{}, at: time.Now().Add(-time.Hour).UTC()}
		w := setup(t, p, func(cfg *stage.Config) { cfg.Cache, cfg.Cached = cache, []string{"scripted"} })
		defer w.stop()
		public := menu.DefaultTenant
		calls := 0
		for i, c := range []struct {
			name, category, target string
			tenant                 menu.Tenant
			stage                  menu.Stage
			asked                  bool
		}{
			{"親子丼", "丼", "en", public, menu.Allergen, true},
			{"親子丼", "丼", "en", public, menu.Allergen, false},
			{" 親子丼　", "丼", "en", public, menu.Allergen, false},
			{"親子丼", "定食", "en", public, menu.Allergen, true},
			{"親子丼", "丼", "fr", public, menu.Allergen, true},
			{"親子丼", "丼", "en", public, menu.Ingredient, true},
			{"親子丼", "丼", "en", "other", menu.Allergen, true},
			{"ＢＥＥＲ  (L)", "", "en", public, menu.Allergen, true},
			{"beer (l)", "", "en", public, menu.Allergen, false},
			{"beer", "", "en", public, menu.Allergen, true},
			{"unknown", "", "en", public, menu.Allergen, true},
			{"unknown", "", "en", public, menu.Allergen, true},
			{"partial", "", "en", public, menu.Allergen, true},
			{"partial", "", "en", public, menu.Allergen, true},
			{"refused", "", "en", public, menu.Allergen, true},
			{"refused", "", "en", public, menu.Allergen, true},
		} {
			got := w.menuOf(t, menu.SessionID(fmt.Sprintf("s%d", i)), c.tenant, c.target, menu.Item{Name: c.name, Category: c.category}, c.stage)
			if c.asked {
				calls++
			}
			if len(p.asked()) != calls {
				t.Fatalf("%d: %+v: %d calls, want %d", i, c, len(p.asked()), calls)
			}
			if (got.CachedAt == nil) != c.asked || got.CachedAt != nil && (!got.CachedAt.Equal(cache.at) || got.ElapsedMS != 0) {
				t.Errorf("%d: %+v: the result says %v, %d ms", i, c, got.CachedAt, got.ElapsedMS)
			}
		}
		cache.mu.Lock()
		cache.fails = true
		cache.mu.Unlock()
		if got := w.menuOf(t, "away", public, "en", menu.Item{Name: "親子丼", Category: "丼"}, menu.Allergen); got.Status != menu.StatusOK || got.CachedAt != nil {
			t.Errorf("without the cache: %+v", got)
		}
		if got := w.engine.Reports()[menu.Allergen].Cached; got != 3 {
			t.Errorf("%d hits are counted", got)
		}
	})
}

// A provider that is not named pays no look into the cache.
func TestCheapResultsAreNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{answer: answerOK}
		cache := &kept{known: map[string]menu.Result{}}
		w := setup(t, p, func(cfg *stage.Config) { cfg.Cache, cfg.Cached = cache, []string{"other"} })
		defer w.stop()
		for i := range 2 {
			w.menuOf(t, menu.SessionID(fmt.Sprintf("s%d", i)), menu.DefaultTenant, "en", menu.Item{Name: "親子丼"}, menu.Allergen)
		}
		if len(p.asked()) != 2 || len(cache.known) > 0 {
			t.Errorf("%d calls, %d results are kept", len(p.asked()), len(cache.known))
		}
	})
}

package menu_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
)

func TestSubmit(t *testing.T) {
	t.Parallel()
	cmd := func(change func(*menu.SubmitMenu)) menu.SubmitMenu {
		c := menu.SubmitMenu{Title: "t", SourceLanguage: "ja", TargetLanguage: "en", Items: menutest.Items("d", 3), ChunkItems: 100}
		if change != nil {
			change(&c)
		}
		return c
	}
	name := func(s string) func(*menu.SubmitMenu) { return func(c *menu.SubmitMenu) { c.Items[1].Name = s } }
	tests := map[string]struct {
		cmd   menu.SubmitMenu
		field string // of the one problem; empty: accepted
	}{
		"Accepted":         {cmd(nil), ""},
		"LongestName":      {cmd(name(strings.Repeat("鯖", menu.MaxName))), ""},
		"LongestTrimmed":   {cmd(name("　" + strings.Repeat("鯖", menu.MaxName) + "\u200b")), ""},
		"TooLongName":      {cmd(name(strings.Repeat("鯖", menu.MaxName+1))), "items[1].name"},
		"EmptyName":        {cmd(name("")), "items[1].name"},
		"BlankName":        {cmd(name("　\u00a0 \t\n")), "items[1].name"},
		"InvisibleName":    {cmd(name("\u200b\u200d\ufeff\u2060")), "items[1].name"},
		"NUL":              {cmd(name("親子\x00丼")), "items[1].name"},
		"Escape":           {cmd(name("\x1b[31m赤身")), "items[1].name"},
		"NextLine":         {cmd(name("赤身\u0085")), "items[1].name"},
		"NotUTF8":          {cmd(name("\xff\xfe")), "items[1].name"},
		"LineBreaksKept":   {cmd(name("冷奴\r\n\tdata: x")), ""},
		"NoItems":          {cmd(func(c *menu.SubmitMenu) { c.Items = nil }), "items"},
		"TooManyItems":     {cmd(func(c *menu.SubmitMenu) { c.Items = menutest.Items("d", menu.MaxItems+1) }), "items"},
		"MostItems":        {cmd(func(c *menu.SubmitMenu) { c.Items = menutest.Items("d", menu.MaxItems) }), ""},
		"SameID":           {cmd(func(c *menu.SubmitMenu) { c.Items[2].ID = c.Items[0].ID }), "items[2].id"},
		"WildcardID":       {cmd(func(c *menu.SubmitMenu) { c.Items[0].ID = "*" }), "items[0].id"},
		"LongTitle":        {cmd(func(c *menu.SubmitMenu) { c.Title = strings.Repeat("x", menu.MaxTitle+1) }), "title"},
		"LongCategory":     {cmd(func(c *menu.SubmitMenu) { c.Items[0].Category = strings.Repeat("x", menu.MaxCategory+1) }), "items[0].category"},
		"LongPrice":        {cmd(func(c *menu.SubmitMenu) { c.Items[0].Price = strings.Repeat("1", menu.MaxPrice+1) }), "items[0].price"},
		"NothingButAPrice": {cmd(func(c *menu.SubmitMenu) { c.Items[0] = menu.Item{ID: "x", Price: "¥500"} }), "items[0].name"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			events, err := menu.Submit(menu.Session{}, test.cmd)
			if test.field == "" {
				if err != nil || len(events) == 0 {
					t.Fatalf("%d events, %v", len(events), err)
				}
				return
			}
			invalid, ok := errors.AsType[*menu.InvalidError](err)
			if !ok || len(invalid.Fields) != 1 || invalid.Fields[0].Field != test.field {
				t.Fatalf("err = %v, want one problem with %s", err, test.field)
			}
		})
	}
}

func TestSubmitChunks(t *testing.T) {
	t.Parallel()
	items := menutest.Items("d", 250)
	events, err := menu.Submit(menu.Session{}, menu.SubmitMenu{Items: items, ChunkItems: 100})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i, e := range events {
		s, ok := e.(menu.Submitted)
		if !ok || s.Chunk != i+1 || s.Chunks != 3 || s.ItemCount != 250 || len(s.Items) > 100 {
			t.Fatalf("chunk %d: %+v", i, s)
		}
		for _, item := range s.Items {
			if item.Position != len(names) {
				t.Fatalf("dish %d has position %d", len(names), item.Position)
			}
			names = append(names, item.Name)
		}
	}
	if len(names) != 250 || !slices.Equal(names, func() (want []string) {
		for _, item := range items {
			want = append(want, item.Name)
		}
		return want
	}()) {
		t.Fatal("the chunks do not hold the menu")
	}
	for i := range items {
		items[i].Name = strings.Repeat("鯖", menu.MaxName)
		items[i].Category = strings.Repeat("鯖", menu.MaxCategory)
	}
	if events, err = menu.Submit(menu.Session{}, menu.SubmitMenu{Items: items[:200], ChunkItems: 1000}); err != nil || len(events) < 2 {
		t.Fatalf("%d events for 460 KB of text, %v; want a split by size", len(events), err)
	}
	if _, err = menu.Submit(fold(menutest.Submitted(items)), menu.SubmitMenu{Items: items, ChunkItems: 100}); !errors.Is(err, menu.ErrExists) {
		t.Fatalf("a second submission: %v, want ErrExists", err)
	}
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	s := fold(menutest.Submitted(menutest.Items("d", 2)), menutest.Completed(menu.Allergen, "d-0"))
	events, err := menu.Answer(s, menu.Allergen, menutest.Completed(menu.Allergen, "d-0", "d-1").Results)
	if err != nil || len(events) != 1 {
		t.Fatalf("%v, %v", events, err)
	}
	if got := events[0].(menu.StageCompleted).Results; len(got) != 1 || got[0].ID != "d-1" { //nolint:forcetypeassert // a wrong type is a failure
		t.Fatalf("results = %+v, want only the unanswered dish", got)
	}
	if events, err = menu.Answer(s, menu.Allergen, menutest.Completed(menu.Allergen, "d-0").Results); err != nil || events != nil {
		t.Fatalf("a repeated answer: %v, %v; want nothing", events, err)
	}
	if _, err = menu.Answer(s, menu.Allergen, menutest.Completed(menu.Allergen, "nobody").Results); !errors.Is(err, menu.ErrNoDish) {
		t.Fatalf("an update for a dish that does not exist: %v, want ErrNoDish", err)
	}
	if _, err = menu.Answer(menu.Session{}, menu.Allergen, menutest.Completed(menu.Allergen, "d-0").Results); !errors.Is(err, menu.ErrNoSession) {
		t.Fatalf("an answer without a session: %v, want ErrNoSession", err)
	}
	bad := menutest.Completed(menu.Allergen, "d-1").Results
	bad[0].Result.Confidence = 1.7
	if _, err = menu.Answer(s, menu.Allergen, bad); err == nil {
		t.Fatal("a confidence of 1.7 was accepted")
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	s := fold(menutest.Submitted(menutest.Items("d", 3)), parked(menu.Task6, 0, "d-0", "d-1"),
		menu.StageRetryRequested{Stage: menu.Task6, IDs: []menu.DishID{"d-1"}, Epoch: 1}, parked(menu.Task6, 1, "d-1"))
	events, err := menu.Retry(s, menu.Task6, []menu.DishID{"d-0", "d-1"}, "chef")
	if err != nil || len(events) != 2 {
		t.Fatalf("%v, %v; want an event for each epoch", events, err)
	}
	for i, want := range []int{1, 2} {
		if e := events[i].(menu.StageRetryRequested); e.Epoch != want || e.By != "chef" { //nolint:forcetypeassert // a wrong type is a failure
			t.Errorf("event %d = %+v, want epoch %d", i, e, want)
		}
	}
	if _, err = menu.Retry(s, menu.Task6, []menu.DishID{"d-2"}, "chef"); !errors.Is(err, menu.ErrNotParked) {
		t.Fatalf("retry of a dish that is not parked: %v", err)
	}
}

func TestPostponeAndPark(t *testing.T) {
	t.Parallel()
	s := fold(menutest.Submitted(menutest.Items("d", 2)), menutest.Completed(menu.Task6, "d-0"))
	events, err := menu.Postpone(s, menu.StageAttemptFailed{Stage: menu.Task6, IDs: []menu.DishID{"d-0", "d-1"}, Attempt: 1})
	if err != nil || len(events) != 1 || len(events[0].(menu.StageAttemptFailed).IDs) != 1 { //nolint:forcetypeassert // a wrong type is a failure
		t.Fatalf("Postpone = %v, %v; want only the open dish", events, err)
	}
	if events, err = menu.Park(s, parked(menu.Task6, 0, "d-0")); err != nil || events != nil {
		t.Fatalf("Park an answered dish = %v, %v", events, err)
	}
	if _, err = menu.Park(s, parked(menu.Task6, 0, "nobody")); !errors.Is(err, menu.ErrNoDish) {
		t.Fatalf("Park an unknown dish: %v", err)
	}
}

func TestCompleteExpireErase(t *testing.T) {
	t.Parallel()
	submitted := menutest.Submitted(menutest.Items("d", 1))
	running := fold(submitted)
	if _, err := menu.Complete(running, menutest.Start()); !errors.Is(err, menu.ErrNotAnswered) {
		t.Fatalf("Complete a running session: %v", err)
	}
	done := fold(append([]menu.Event{submitted}, append(allStages("d-0")[:7], parked(menu.Task8, 0, "d-0"))...)...)
	events, err := menu.Complete(done, menutest.Start().Add(90*time.Second))
	if err != nil || len(events) != 1 {
		t.Fatalf("Complete = %v, %v", events, err)
	}
	c := events[0].(menu.Completed) //nolint:forcetypeassert // a wrong type is a failure
	if c.Round != 1 || c.Items != 1 || c.Failed != 1 || c.Completed != 0 || c.DurationMS != 90_000 || !slices.Equal(c.FailedMenuIDs, []menu.DishID{"d-0"}) {
		t.Fatalf("completed = %+v", c)
	}
	closed := fold(append([]menu.Event{submitted}, append(allStages("d-0"), c)...)...)
	if events, err = menu.Complete(closed, menutest.Start()); err != nil || events != nil {
		t.Fatalf("a second completion of one round = %v, %v", events, err)
	}
	if _, err = menu.Expire(closed); !errors.Is(err, menu.ErrClosed) {
		t.Fatalf("Expire a completed session: %v", err)
	}
	if events, err = menu.Expire(running); err != nil || events[0] != (menu.Expired{Unanswered: 8}) {
		t.Fatalf("Expire = %v, %v", events, err)
	}
	if events, err = menu.Erase(running, "guest", "asked"); err != nil || len(events) != 1 {
		t.Fatalf("Erase = %v, %v", events, err)
	}
	erased := fold(submitted, menu.Erased{})
	if events, err = menu.Erase(erased, "guest", "asked"); err != nil || events != nil {
		t.Fatalf("Erase twice = %v, %v", events, err)
	}
	if _, err = menu.Complete(erased, menutest.Start()); !errors.Is(err, menu.ErrErased) {
		t.Fatalf("Complete an erased session: %v", err)
	}
}

func TestRequestImage(t *testing.T) {
	t.Parallel()
	submitted := menutest.Submitted(menutest.Items("d", 1))
	events, err := menu.RequestImage(fold(submitted), "d-0")
	if err != nil || events[0] != (menu.ImageRequested{ID: "d-0", Epoch: 1}) {
		t.Fatalf("RequestImage = %v, %v", events, err)
	}
	if _, err = menu.RequestImage(fold(submitted, events[0]), "d-0"); !errors.Is(err, menu.ErrImageOpen) {
		t.Fatalf("a second request while one is open: %v", err)
	}
}

func FuzzParseID(f *testing.F) {
	for _, seed := range []string{"", "a", "*", "a.b", ">", "a b", "é", strings.Repeat("x", 65), "A-Z_09", "a\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		id, err := menu.ParseSessionID(raw)
		if err != nil {
			if !errors.Is(err, menu.ErrInvalidToken) {
				t.Fatalf("%q: %v is not ErrInvalidToken", raw, err)
			}
			return
		}
		if string(id) != raw || raw == "" || len(raw) > menu.MaxTokenLength || strings.ContainsFunc(raw, func(r rune) bool {
			return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", r)
		}) {
			t.Fatalf("%q was accepted", raw)
		}
	})
}

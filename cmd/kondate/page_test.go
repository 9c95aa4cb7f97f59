package main

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/handlers/stage"
	"kondate/handlers/stage/local"
)

// kitchen is behind every stage of the system that the page is tested on.
type kitchen struct {
	mu   sync.Mutex               // guards the two below
	held map[string]chan struct{} // dishes whose taste waits until the channel is closed
	lost map[string]bool          // dishes whose diet fails for good
}

// hold lets the taste of a dish wait for the function that it returns.
func (k *kitchen) hold(name string) (release func()) {
	gate := make(chan struct{})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held[name] = gate
	return sync.OnceFunc(func() { close(gate) })
}

// lose lets the diet of a dish fail, or not any more.
func (k *kitchen) lose(name string, lost bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lost[name] = lost
}

// cook answers one stage as the local provider does, unless a test wants it otherwise.
type cook struct {
	stage.Provider
	kitchen *kitchen
	stage   menu.Stage
}

// poison marks the dishes whose answers are full of markup.
const poison = "毒"

func (c cook) Answer(ctx context.Context, r stage.Request) (menu.Result, error) {
	c.kitchen.mu.Lock()
	gate, lost := c.kitchen.held[r.Item.Name], c.kitchen.lost[r.Item.Name]
	c.kitchen.mu.Unlock()
	if gate != nil && c.stage == menu.Task8 {
		select {
		case <-gate:
		case <-ctx.Done():
			return menu.Result{}, ctx.Err()
		}
	}
	if lost && c.stage == menu.Task6 {
		return menu.Result{}, &stage.Error{Reason: "refused", Permanent: true}
	}
	result, err := c.Provider.Answer(ctx, r)
	if err == nil && strings.Contains(r.Item.Name, poison) {
		result = poisoned(result)
	}
	return result, err
}

// markup is what no string of an answer may become.
const markup = `"><img src=x onerror="window.injected=1"><script>window.injected=1</script><a href="javascript:window.injected=1">`

// poisoned adds markup to every text of a result, and pictures and links that run scripts.
func poisoned(r menu.Result) menu.Result {
	var data map[string]any
	if err := json.Unmarshal(r.Data, &data); err != nil {
		panic(err) // unreachable: the local provider wrote it
	}
	if _, ok := data["images"]; ok {
		image := map[string]any{
			"url": "javascript:window.injected=1", "thumbnail_url": "https://upload.wikimedia.org.example/x.png", "page_url": "javascript:window.injected=1",
			"title": markup, "creator": markup, "license": markup, "license_url": "data:text/html," + markup, "attribution": markup, "width": 1, "height": 1, "source": markup,
		}
		data["images"] = []any{image}
		data["search_links"] = []any{map[string]any{"engine": markup, "url": "javascript:window.injected=1"}}
	} else {
		data, _ = poisonedValue(data).(map[string]any)
	}
	r.Warnings, r.Attribution = menu.Strings{markup}, menu.Strings{markup}
	r.Data, _ = json.Marshal(data) // maps of strings and numbers
	return r
}

func poisonedValue(value any) any {
	switch v := value.(type) {
	case string:
		return v + markup
	case []any:
		for i := range v {
			v[i] = poisonedValue(v[i])
		}
	case map[string]any:
		for key := range v {
			if key != "level" && key != "kind" { // the list sorts by it
				v[key] = poisonedValue(v[key])
			}
		}
	}
	return value
}

// place is where the page is tested.
type place struct {
	*system
	kitchen *kitchen
	browser context.Context //nolint:containedctx // chromedp's handle of the browser
	base    string          // address of the page
}

// The page, in a real browser, on the whole system.
func TestPage(t *testing.T) {
	t.Parallel()
	knowledge, err := cuisine.Load()
	if err != nil {
		t.Fatal(err)
	}
	k := &kitchen{held: map[string]chan struct{}{}, lost: map[string]bool{}}
	providers := map[menu.Stage]stage.Provider{}
	for _, s := range menu.Stages() {
		providers[s] = cook{local.New(knowledge, s), k, s}
	}
	s := startSystem(t, providers, "--sse-reconnect-interval", "500ms")
	p := place{s, k, startBrowser(t), s.running.HTTPURL}
	for name, test := range map[string]func(*testing.T, place){
		"Fills":         testFills,
		"SaysWhatWrong": testSaysWhatIsWrong,
		"Card":          testCard,
		"PrintableCard": testPrintableCard,
		"Allergens":     testAllergens,
		"Reconnects":    testReconnects,
		"Timeline":      testTimeline,
		"Failures":      testFailures,
		"Prints":        testPrints,
		"Fits":          testFits,
		"Keyboard":      testKeyboard,
		"Markup":        testMarkup,
		"Accessible":    testAccessible,
		"Key":           testKey,
		"Gone":          testGone,
		"Languages":     testLanguages,
		"Screenshots":   testScreenshots,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, p) })
	}
}

func testFills(t *testing.T, where place) {
	release := where.kitchen.hold("天丼")
	defer release()
	p := where.open(t, where.base, "/", look{})
	p.submit("【丼もの】\n親子丼 850円\n天丼 ¥1,200\n\n# 一品\n冷奴")
	p.until(`document.querySelector("#numbers").textContent === "23 of 24 answers"`)
	if got := p.text("#connection"); !strings.Contains(got, "Connected, live") {
		t.Errorf("the connection is said to be %q", got)
	}
	for _, want := range []string{"Rice bowls", "Chicken and egg", "850円", "Contains", "egg", "7 of 8 answered"} {
		if got := p.text("#dishes"); !strings.Contains(got, want) {
			t.Errorf("the list lacks %q:\n%s", want, got)
		}
	}
	if n := eval[int](p, `document.querySelectorAll(".dish .cell").length`); n != 24 {
		t.Errorf("%d cells, want 24", n)
	}
	if got := eval[string](p, `document.querySelector(".dish .cell.pending").title`); got != "Taste: waiting" {
		t.Errorf("the cell that waits says %q", got)
	}
	release()
	p.done()
	p.until(`document.querySelector("#news").textContent === "All 24 answers are there."`)
	if got := p.text("#dishes"); strings.Count(got, "All 8 answered") != 3 {
		t.Errorf("not all is answered:\n%s", got)
	}
	// The address is the menu: another guest sees the same, also by an address of former times.
	session := strings.TrimPrefix(eval[string](p, "location.hash"), "#/s/")
	again := where.open(t, where.base, "/?session="+session, look{})
	again.done()
	if got := again.text("#dishes"); got != p.text("#dishes") {
		t.Errorf("the second guest sees\n%s", got)
	}
}

func testSaysWhatIsWrong(t *testing.T, where place) {
	p := where.open(t, where.base, "/", look{})
	for text, want := range map[string]string{
		"":           "Write at least one dish.",
		`{"items":[`: "cannot be read",
		"親子丼\n\n" + strings.Repeat("長", 600):     "Line 3, “長長",
		`{"items":[{"name":"a"},{"name":""}]}`:   "Dish 2: name",
		`{"items":[{"name":"a","sauce":"hot"}]}`: "Dish 1: sauce",
	} {
		p.write("#text", text)
		p.click("#send")
		p.until(`document.querySelector("#text-problem").innerText.includes(%s)`, quoted(want))
		if !eval[bool](p, `document.querySelector("#text").getAttribute("aria-invalid") === "true" && document.activeElement.id === "text"`) {
			t.Errorf("%q: the field is not marked", text)
		}
	}
	p.write("#title", strings.Repeat("x", 600))
	p.write("#text", "親子丼")
	p.click("#send")
	p.until(`document.querySelector("#title-problem").innerText !== ""`)
	p.write("#title", "")
	p.submit(`{"title":"おしながき","source_language":"ja","target_language":"en","items":[{"name":"親子丼","price":850}]}`)
	p.done()
	if got := p.text("#session"); !strings.Contains(got, "おしながき") || !strings.Contains(got, "850") {
		t.Errorf("the menu given as JSON is shown as\n%s", got)
	}
}

func testLanguages(t *testing.T, where place) {
	p := where.open(t, where.base, "/", look{})
	p.submit("親子丼")
	p.done()
	p.click("#language")
	p.until(`document.documentElement.lang === "ja" && document.querySelector("#dishes").innerText.includes("卵")`)
	if got := p.text("#session"); !strings.Contains(got, "8件の回答がそろいました") && !strings.Contains(got, "8件すべての回答がそろいました") {
		t.Errorf("in Japanese the page says\n%s", got)
	}
	p.do(reload)
	p.until(`document.documentElement.lang === "ja" && document.querySelector("#outcome").innerText.includes("そろいました")`)
	p = where.open(t, where.base, "/", look{language: "ja"})
	for _, want := range []string{"お品書きを読む", "居酒屋", "説明を見る"} {
		if got := p.text("#compose"); !strings.Contains(got, want) {
			t.Errorf("the form in Japanese lacks %q:\n%s", want, got)
		}
	}
	if got := eval[string](p, `document.querySelector("#source").selectedOptions[0].textContent`); got != "日本語" {
		t.Errorf("the language of the menu is called %q", got)
	}
}

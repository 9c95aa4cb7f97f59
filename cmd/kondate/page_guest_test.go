package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// reload loads the page anew, as it is addressed.
var reload = chromedp.Reload()

// row is the place of a dish in the list, as an expression.
func rowOf(name string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(".dish")].find((e) => e.querySelector(".name").textContent === %s)`, quoted(name))
}

func testCard(t *testing.T, where place) {
	p := where.open(t, where.base, "/", look{})
	session := p.submit("鶏の唐揚げ 680円\nお通し")
	p.done()
	eval[bool](p, rowOf("鶏の唐揚げ")+`.querySelector(".name").click() ?? true`)
	p.until(`document.querySelector("#card").open`)
	card := p.text("#card")
	for _, want := range []string{
		"鶏の唐揚げ", "とりのからあげ", "tori no karaage", "toh-ree noh", "Japanese fried chicken", "鶏の唐揚げをください。", "680円", "served hot",
		"Contains", "wheat (soy sauce)", "May contain", "Anything not listed here may still be in the dish.",
		"この料理に小麦・鶏肉・大豆・卵は入っていますか？", "Does this dish contain wheat", "Vegetarian: no", "hidden · usually", "marinated", "crisp", "Goes with beer",
	} {
		if !strings.Contains(card, want) {
			t.Errorf("the card lacks %q:\n%s", want, card)
		}
	}
	p.click(`#card [data-f="law-open"]`)
	p.until(`document.querySelector("#card").innerText.includes("cereals with gluten")`)
	p.press(kb.Escape)
	p.until(`!document.querySelector("#card").open && location.hash === "#/s/%s"`, session)
	if !eval[bool](p, `document.activeElement === `+rowOf("鶏の唐揚げ")+`.querySelector(".name")`) {
		t.Error("the focus is not back at the dish")
	}

	// A dish has an address of its own; what is not known is said to be unknown.
	eval[bool](p, rowOf("お通し")+`.querySelector(".name").click() ?? true`)
	p.until(`document.querySelector("#card-title")?.textContent === "お通し"`)
	path := "/" + eval[string](p, "location.hash")
	p = where.open(t, where.base, path, look{})
	p.until(`document.querySelector("#card").open`)
	p.done()
	if got := p.text("#card"); !strings.Contains(got, "Nothing is known about allergens") || !strings.Contains(got, "この料理の材料とアレルゲンを教えてください。") {
		t.Errorf("the card of a dish without known allergens says\n%s", got)
	}
	p.click(".close")
	p.until(`!document.querySelector("#card").open && location.hash === "#/s/%s"`, session)
}

func testPrintableCard(t *testing.T, where place) {
	p := where.open(t, where.base, "/", look{})
	p.submit("冷奴")
	p.done()
	p.click(".dish .name")
	p.until(`document.querySelector("#card").open`)
	p.click(`#card [data-f="image"]`)
	p.until(`document.querySelector('#card [data-f="png"]')`)
	for _, kind := range []string{"png", "svg"} {
		address := eval[string](p, fmt.Sprintf(`document.querySelector('#card [data-f=%q]').href`, kind))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := where.client().http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close() // only its head matters
		if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "image/"+kind) {
			t.Errorf("%s is %d %s", address, res.StatusCode, res.Header.Get("Content-Type"))
		}
	}
}

// A filter hides what contains an allergen, and never what nobody knows.
func testAllergens(t *testing.T, where place) {
	p := where.open(t, where.base, "/", look{})
	p.submit("だし巻き卵\n鶏の唐揚げ\nお通し\n枝豆\n謎の一皿XYZ")
	p.done()
	shown := func() map[string]string {
		t.Helper()
		raw := eval[string](p, `JSON.stringify(Object.fromEntries([...document.querySelectorAll(".dish")].filter((e) => e.checkVisibility()).map((e) => [e.querySelector(".name").textContent, e.querySelector(".verdict").textContent])))`)
		found := map[string]string{}
		if err := json.Unmarshal([]byte(raw), &found); err != nil {
			t.Fatal(err)
		}
		return found
	}
	p.click("#filter-open")
	p.click(`#filter [value="egg"]`)
	p.until(`!document.querySelector("#filter-note").hidden`)
	check := func() {
		t.Helper()
		p.until(`document.querySelectorAll(".dish.avoid").length === 1`)
		got := shown()
		for name, want := range map[string]string{"鶏の唐揚げ": "May contain: egg", "お通し": "Not known", "謎の一皿XYZ": "Not known", "枝豆": "no clearance"} {
			if !strings.Contains(got[name], want) {
				t.Errorf("%s: %q, want %q", name, got[name], want)
			}
		}
		if _, ok := got["だし巻き卵"]; ok {
			t.Error("a dish with egg is shown")
		}
		note := p.text("#filter-note")
		for _, want := range []string{"1 dish is hidden", "1 may contain it.", "2 not known.", "The rest is no clearance"} {
			if !strings.Contains(note, want) {
				t.Errorf("the note lacks %q: %s", want, note)
			}
		}
	}
	check()
	p.do(reload) // it is remembered
	p.done()
	check()
	p.click("#filter-note button")
	p.until(`%s.checkVisibility()`, rowOf("だし巻き卵"))
	if got := shown()["だし巻き卵"]; !strings.Contains(got, "Contains or likely contains: egg") {
		t.Errorf("a dish that is crossed out says %q", got)
	}
	if body := strings.ToLower(p.text("body")); strings.Contains(body, "safe") || strings.Contains(body, "free of") {
		t.Errorf("the page says that something is safe:\n%s", body)
	}
	p.click("#filter-open")
	p.click("#filter button")
	p.until(`document.querySelector("#filter-note").hidden && document.querySelectorAll(".dish.avoid").length === 0`)
}

// The list shows the menu as it was after each of its events.
func testTimeline(t *testing.T, where place) {
	p := where.open(t, where.base, "/", look{})
	p.submit("親子丼\n天ぷら")
	p.done()
	events := eval[int](p, `(document.querySelector("#timeline-open").click(), Number(document.querySelector("#timeline input").max))`)
	if events < 10 {
		t.Fatalf("%d events on the line", events)
	}
	p.do(chromedp.Focus(chromedp.CSS("#timeline input")))
	p.press(kb.Home)
	p.until(`document.querySelector(".event").textContent.startsWith("Event 1 of %d · +0.0 s · The menu came in, 2 dishes")`, events)
	p.until(`document.querySelectorAll(".dish .cell.pending").length === 16 && document.querySelector(".past").checkVisibility()`)
	p.press(kb.ArrowRight)
	p.until(`document.querySelectorAll(".dish .cell.pending").length < 16 && document.querySelector("#timeline input").getAttribute("aria-valuetext").startsWith("Event 2 of")`)
	p.press(kb.ArrowLeft)
	p.until(`document.querySelectorAll(".dish .cell.pending").length === 16`)
	p.click("#timeline .play")
	p.until(`document.querySelectorAll(".dish .cell.pending").length === 0 && !document.querySelector(".past").checkVisibility()`)
	p.press(kb.Tab)
	p.do(chromedp.Focus(chromedp.CSS("#timeline input")))
	p.press(kb.Home)
	p.until(`document.querySelectorAll(".dish .cell.pending").length === 16`)
	p.click("#timeline-open") // closing it goes back to now
	p.until(`document.querySelectorAll(".dish .cell.pending").length === 0`)
}

func testFailures(t *testing.T, where place) {
	names := []string{"壊れた丼", "割れた丼", "欠けた丼", "折れた丼"}
	for _, name := range names {
		where.kitchen.lose(name, true)
	}
	p := where.open(t, where.base, "/", look{})
	session := p.submit(strings.Join(names, "\n"))
	p.until(`document.querySelector("#outcome").innerText === "Finished; 4 answers failed."`)
	if got := p.text("#dishes"); strings.Count(got, "failed: Diet") != 4 {
		t.Errorf("the list does not say what failed:\n%s", got)
	}
	for _, name := range names {
		where.kitchen.lose(name, false)
	}
	left := func(n int) {
		t.Helper()
		p.until(`document.querySelector("#outcome").innerText === "Finished; %d answer%s failed."`, n, map[bool]string{true: "s"}[n > 1])
		p.until(`fetch("/v1/failures?session=%s").then((r) => r.json()).then((a) => a.failures.length === %d)`, session, n)
	}
	// One from the card, one from the list of failures, one from that of all menus, the rest at once.
	p.click(".dish .name")
	p.until(`document.querySelector("#card").open`)
	p.click(`#card [data-f="retry-task6"]`)
	p.until(`!document.querySelector('#card [data-f="retry-task6"]')`)
	p.press(kb.Escape)
	p.until(`!document.querySelector("#card").open`)
	left(3)
	p.click("#failures-open")
	p.until(`document.querySelectorAll(".failures li").length === 3`)
	if got := p.text("#failures"); !strings.Contains(got, "割れた丼") || !strings.Contains(got, "Diet") || !strings.Contains(got, "refused · 1 attempt") {
		t.Errorf("the failures are\n%s", got)
	}
	p.click(`.failures button[aria-label*="割れた丼"]`)
	p.until(`document.querySelector("#failures [role=status]").innerText === "1 answer is being worked on again."`)
	left(2)
	p.click(`#failures .which label:nth-of-type(2)`)
	p.until(`document.querySelector('.failures button[aria-label*="折れた丼"]')`)
	p.click(`.failures button[aria-label*="折れた丼"]`)
	left(1)
	p.click(`#failures .which label:nth-of-type(1)`)
	p.until(`document.querySelectorAll(".failures li").length === 1`)
	p.click("#failures .main")
	p.until(`document.querySelector("#outcome").innerText === "All 32 answers are there."`)
}

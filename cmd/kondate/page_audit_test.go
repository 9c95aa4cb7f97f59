package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"kondate/domain/menu"
)

// mixed is a menu with answers of every kind.
const mixed = "【揚げ物】\n鶏の唐揚げ 680円\nカキフライ ¥780\n【その他】\nお通し\n謎の一皿XYZ 時価\n長い名前の料理長い名前の料理長い名前の料理長い名前の料理長い名前の料理AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA 1,000円(税込1,100円)"

func testPrints(t *testing.T, where place) {
	p := where.open(t, where.base, "/", look{dark: true})
	p.submit(mixed)
	p.done()
	p.media("print")
	for selector, visible := range map[string]bool{
		".top": false, ".tools": false, ".state": false, "#connection": false, ".legend": false,
		"#session-title": true, ".name": true, ".translation": true, ".price": true, ".allergens": true, ".clearance": true,
	} {
		if got := eval[bool](p, fmt.Sprintf(`document.querySelector(%s).checkVisibility()`, quoted(selector))); got != visible {
			t.Errorf("printed, %s is visible: %v", selector, got)
		}
	}
	if got := eval[string](p, `getComputedStyle(document.querySelector(".level.contains b"), "::before").content`); !strings.Contains(got, "■") {
		t.Errorf("the mark of what a dish contains is %s", got)
	}
	if got := eval[string](p, `getComputedStyle(document.body).color`); got != "rgb(0, 0, 0)" {
		t.Errorf("the ink is %s", got)
	}
	pdf, err := chromedp.Run(p.ctx, chromedp.PrintToPDF(chromedp.PDFPreferCSSPageSize()))
	if err != nil || len(pdf) < 10_000 {
		t.Errorf("%d bytes are printed: %v", len(pdf), err)
	}
}

// Nothing is wider than the window, on a telephone as on a desk.
func testFits(t *testing.T, where place) {
	p := where.open(t, where.base, "/", look{})
	fits := func(what string) {
		t.Helper()
		for _, width := range []int64{360, 768, 1280} {
			p.do(chromedp.EmulateViewport(width, 800))
			wide := eval[string](p, `[document.scrollingElement, ...document.querySelectorAll("dialog[open]")].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.localName + " " + e.scrollWidth).join()`)
			if wide != "" {
				t.Errorf("%s at %d pixels: %s scrolls sideways", what, width, wide)
			}
		}
		p.do(chromedp.EmulateViewport(1280, 900))
	}
	fits("the form")
	p.submit(mixed)
	p.done()
	fits("the list")
	eval[bool](p, `(document.querySelector("#filter-open").click(), document.querySelector("#timeline-open").click(), document.querySelector('#filter [value="egg"]').click(), true)`)
	p.until(`document.querySelector("#filter-note").checkVisibility() && document.querySelector("#timeline input")`)
	fits("the panels")
	for i := range 5 {
		eval[bool](p, fmt.Sprintf(`(document.querySelectorAll(".dish .name")[%d].click(), true)`, i))
		p.until(`document.querySelector("#card").open`)
		eval[bool](p, `(document.querySelectorAll("#card details").forEach((d) => { d.open = true; }), true)`)
		fits("a card")
		eval[bool](p, `(document.querySelector("#card").close(), true)`)
		p.until(`!location.hash.includes("/d/")`)
	}
}

// Everything can be done without a mouse.
func testKeyboard(t *testing.T, where place) {
	p := where.open(t, where.base, "/", look{})
	// tab goes on until the focus is where it is wanted.
	tab := func(selector string) {
		t.Helper()
		for range 60 {
			p.press(kb.Tab)
			if eval[bool](p, fmt.Sprintf(`document.activeElement.matches(%s)`, quoted(selector))) {
				if !eval[bool](p, `document.activeElement.matches(":focus-visible")`) {
					t.Errorf("the focus at %s is not shown", selector)
				}
				return
			}
		}
		t.Fatalf("no tab leads to %s", selector)
	}
	tab(".skip")
	p.press(kb.Enter)
	p.until(`document.activeElement.id === "main"`)
	tab(`[data-sample="soba"]`)
	p.press(kb.Enter)
	p.until(`document.activeElement.id === "send"`)
	p.press(kb.Enter)
	p.done()
	tab("#filter-open")
	p.press(kb.Enter)
	p.until(`document.activeElement.matches("#filter input")`)
	p.press(" ")
	p.until(`!document.querySelector("#filter-note").hidden`)
	tab(".dish .name")
	p.press(kb.Enter)
	p.until(`document.querySelector("#card").open && document.querySelector("#card").contains(document.activeElement)`)
	tab("#card .close")
	p.press(kb.Enter)
	p.until(`!document.querySelector("#card").open && document.activeElement.matches(".dish .name")`)
}

// Whatever stands in a menu or in an answer is text on the page.
func testMarkup(t *testing.T, where place) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "handlers", "httpapi", "testdata", "nasty_inputs.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Inputs []struct {
			Input string `json:"input"`
		} `json:"inputs"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	names := []string{poison + "丼 " + markup, poison + "唐揚げ", "鶏の唐揚げ" + poison}
	for _, input := range file.Inputs {
		if validName(input.Input) {
			names = append(names, input.Input)
		}
	}
	if len(names) < 50 {
		t.Fatalf("only %d names", len(names))
	}
	type item struct {
		Name     string `json:"name"`
		Category string `json:"category"`
	}
	submission := struct {
		Title string `json:"title"`
		Items []item `json:"items"`
	}{Title: markup}
	for _, name := range names {
		submission.Items = append(submission.Items, item{name, markup})
	}
	body, err := json.Marshal(submission)
	if err != nil {
		t.Fatal(err)
	}
	p := where.open(t, where.base, "/", look{})
	p.submit(string(body))
	p.done()
	found := eval[string](p, `(async () => {
		const tags = new Set(["ARTICLE", "HEADER", "SECTION", "DIV", "SPAN", "P", "UL", "LI", "DL", "DT", "DD", "H1", "H2", "H3", "B", "STRONG", "MARK", "BUTTON", "DETAILS", "SUMMARY", "FIGURE", "FIGCAPTION", "A"]);
		const guilty = (root) => [...document.querySelectorAll(root + " *")].filter((e) => !tags.has(e.tagName) || (e.tagName === "A" && !/^https?:/.test(e.href)) || [...e.attributes].some((a) => a.name.startsWith("on")));
		const until = async (fn) => { while (!fn()) await new Promise((go) => setTimeout(go, 5)); };
		const found = [...guilty("#session-title"), ...guilty("#dishes")];
		const names = [...document.querySelectorAll(".dish .name")];
		for (const name of names) {
			name.click();
			await until(() => document.querySelector("#card").open && document.querySelector("#card-title").textContent === name.textContent);
			found.push(...guilty("#card"));
			document.querySelector("#card").close();
			await until(() => !location.hash.includes("/d/"));
		}
		return names.length + " cards" + found.map((e) => "\n" + e.outerHTML.slice(0, 200)).join("");
	})()`)
	if found != fmt.Sprintf("%d cards", len(names)) {
		t.Errorf("on the page are %s", found)
	}
	if eval[bool](p, `"injected" in window`) {
		t.Error("a script of the menu ran")
	}
	bad := eval[string](p, fmt.Sprintf(`(() => {
		const plain = (text) => text.replace(/[\u202a-\u202e\u2066-\u2069]/gu, "").trim();
		const shown = [...document.querySelectorAll(".dish .name")].map((e) => e.textContent.trim());
		return %s.map(plain).filter((name, i) => shown[i] !== name).map((name) => JSON.stringify(name)).join("\n");
	})()`, string(must(json.Marshal(names)))))
	if bad != "" {
		t.Errorf("these names are not shown as they are:\n%s", bad)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// validName tells whether the API takes a name.
func validName(name string) bool {
	control := strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\t\r\n", r) })
	return menu.Trim(name) != "" && utf8.RuneCountInString(name) <= 512 && utf8.ValidString(name) && !control && !strings.ContainsRune(name, utf8.RuneError)
}

// axe-core finds nothing serious, in light and dark, wide and narrow.
func testAccessible(t *testing.T, where place) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/axe")); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), "npm", "install", "--no-package-lock", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm (.ci/need node installs it): %v\n%s", err, out)
	}
	axe, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	where.kitchen.lose("割れた皿", true)
	for _, l := range []look{{}, {dark: true}, {dark: true, width: 360, height: 780, language: "ja"}} {
		p := where.open(t, where.base, "/", l)
		audit := func(what string) {
			t.Helper()
			found := eval[string](p, `axe.run(document).then((r) => r.passes.length < 10 ? "only " + r.passes.length + " rules applied" : r.violations.filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => v.id + ": " + v.help + "\n" + v.nodes.slice(0, 4).map((n) => n.html.slice(0, 300) + "\n" + n.failureSummary).join("\n")).join("\n"))`)
			if found != "" {
				t.Errorf("%s, %+v:\n%s", what, l, found)
			}
		}
		eval[any](p, string(axe)+";null")
		audit("the form")
		p.submit(mixed + "\n割れた皿")
		p.until(`document.querySelector("#connection").classList.contains("ended")`)
		audit("the list")
		eval[bool](p, `(document.querySelector("#filter-open").click(), document.querySelector("#timeline-open").click(), document.querySelector('#filter [value="egg"]').click(), true)`)
		p.until(`document.querySelector("#filter-note").checkVisibility()`)
		eval[bool](p, `(document.querySelector("#filter-note button").click(), document.querySelector(".legend").open = true)`)
		audit("the panels")
		for _, i := range []int{0, 5} {
			eval[bool](p, fmt.Sprintf(`(document.querySelectorAll(".dish .name")[%d].click(), true)`, i))
			p.until(`document.querySelector("#card").open`)
			eval[bool](p, `(document.querySelectorAll("#card details").forEach((d) => { d.open = true; }), true)`)
			audit("a card")
			eval[bool](p, `(document.querySelector("#card").close(), true)`)
			p.until(`!location.hash.includes("/d/")`)
		}
		eval[bool](p, `(document.querySelector("#failures-open").click(), true)`)
		p.until(`document.querySelector(".failures li")`)
		audit("the failures")
	}
}

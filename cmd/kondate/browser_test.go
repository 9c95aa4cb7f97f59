package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// pagePatience is how long a test waits for what the page must show.
const pagePatience = 40 * time.Second

// startBrowser starts one headless Chromium, in which every test has a window and a storage of its own.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("Chromium is not installed here: .ci/need chromium, which make test calls, installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(pagePatience), chromedp.DisableGPU)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's own sandbox does not work for root
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("Chromium did not end in order: %v", err)
		}
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// tab is a window of the browser, as a guest has it.
type tab struct {
	t    *testing.T
	ctx  context.Context //nolint:containedctx // chromedp's handle of the window
	base string

	mu       sync.Mutex // guards the two below
	problems []string   // what the browser complained about
	opened   int        // dialogs of scripts
}

// look is how a guest looks at the page.
type look struct {
	width, height int64
	dark          bool
	language      string // en or ja
	scale         float64
}

// open opens a path of the page in a window of its own. A test fails if the browser complains of anything but answers of the server.
func (where place) open(t *testing.T, base, path string, l look) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(where.browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: ctx, base: base}
	if err := chromedp.Listen(ctx, p.listen); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, problem := range p.problems {
			t.Errorf("the browser says: %s", problem)
		}
		if p.opened > 0 {
			t.Errorf("%d dialogs of scripts opened", p.opened)
		}
	})
	if l.width == 0 {
		l.width, l.height = 1280, 900
	}
	if l.language == "" {
		l.language = "en"
	}
	if l.scale == 0 {
		l.scale = 1
	}
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	p.do(chromedp.EmulateViewport(l.width, l.height, chromedp.EmulateScale(l.scale)))
	p.media("", &emulation.MediaFeature{Name: "prefers-color-scheme", Value: scheme}, &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"})
	if _, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: fmt.Sprintf(`if (!localStorage.getItem("kondate.language")) localStorage.setItem("kondate.language", %q)`, l.language),
	}); err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.Navigate(base + path))
	return p
}

func (p *tab) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		p.problems = append(p.problems, text)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			p.problems = append(p.problems, e.Entry.Text)
		}
	case *page.EventJavascriptDialogOpening:
		p.opened++
	}
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, pagePatience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *tab) media(kind string, features ...*emulation.MediaFeature) {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: kind, Features: features}); err != nil {
		p.t.Fatal(err)
	}
}

// eval returns what an expression of JavaScript yields.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, pagePatience)
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return got
}

// until waits for an expression to be true.
func (p *tab) until(format string, args ...any) {
	p.t.Helper()
	expression := fmt.Sprintf(format, args...)
	ctx, cancel := context.WithTimeout(p.ctx, pagePatience+time.Second)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool]("Promise.resolve("+expression+").then(Boolean)", chromedp.WithPollingInterval(30*time.Millisecond), chromedp.WithPollingTimeout(pagePatience))); err != nil {
		p.t.Fatalf("%s does not become true: %v; the page says:\n%.3000s", expression, err, eval[string](p, "location.href + '\\n' + document.body.innerText"))
	}
}

// text is what an element shows.
func (p *tab) text(selector string) string {
	p.t.Helper()
	return eval[string](p, fmt.Sprintf("document.querySelector(%s)?.innerText ?? ''", quoted(selector)))
}

// click clicks as a hand does, at a place of the window, so that what lies on top of the element gets it.
func (p *tab) click(selector string) {
	p.t.Helper()
	p.until(`document.querySelector(%s)`, quoted(selector))
	at := eval[[]float64](p, fmt.Sprintf(`(() => {
		const element = document.querySelector(%s);
		element.scrollIntoView({ block: "center", behavior: "instant" });
		const box = element.getBoundingClientRect();
		return [box.x + box.width / 2, box.y + box.height / 2];
	})()`, quoted(selector)))
	p.do(chromedp.MouseClickXY(at[0], at[1]))
}

func (p *tab) press(keys string) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(keys))
}

// write puts a text into a field, as if it were pasted.
func (p *tab) write(selector, text string) {
	p.t.Helper()
	eval[bool](p, fmt.Sprintf(`(() => { const e = document.querySelector(%s); e.value = %s; e.dispatchEvent(new Event("input")); return true })()`, quoted(selector), quoted(text)))
}

// submit writes a menu into the form, sends it and returns its session.
func (p *tab) submit(text string) string {
	p.t.Helper()
	p.write("#text", text)
	p.click("#send")
	p.until(`location.hash.startsWith("#/s/")`)
	session, _, _ := strings.Cut(strings.TrimPrefix(eval[string](p, "location.hash"), "#/s/"), "?")
	return session
}

// done waits until every answer is there.
func (p *tab) done() {
	p.t.Helper()
	p.until(`document.querySelector("#connection").classList.contains("ended") && document.querySelector("#outcome").checkVisibility()`)
}

func quoted(text string) string {
	raw, err := json.Marshal(text)
	if err != nil {
		panic(err) // unreachable: it is a string
	}
	return string(raw)
}

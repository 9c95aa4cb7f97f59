package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// wire passes TCP connections on, until it is cut.
type wire struct {
	address, target string

	mu       sync.Mutex // guards the two below
	listener net.Listener
	conns    map[net.Conn]bool
	ended    sync.WaitGroup
}

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	w := &wire{address: "127.0.0.1:0", target: target, conns: map[net.Conn]bool{}}
	w.mend(t)
	t.Cleanup(func() { w.cut(); w.ended.Wait() })
	return w
}

// mend takes connections, at the same address as before.
func (w *wire) mend(t *testing.T) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listener, w.address = listener, listener.Addr().String()
	w.ended.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return // cut
			}
			to, err := new(net.Dialer).DialContext(context.Background(), "tcp", w.target)
			if err != nil {
				_ = from.Close() // the browser sees it
				continue
			}
			w.mu.Lock()
			if w.listener != listener {
				_, _ = from.Close(), to.Close() // cut meanwhile
			}
			w.conns[from], w.conns[to] = true, true
			w.mu.Unlock()
			for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
				w.ended.Go(func() {
					_, _ = io.Copy(pair[0], pair[1]) // ends when either side is closed
					_, _ = pair[0].Close(), pair[1].Close()
				})
			}
		}
	})
}

// cut closes everything.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listener != nil {
		_ = w.listener.Close() // it was only listening
	}
	w.listener = nil
	for conn := range w.conns {
		_ = conn.Close() // as a cut does
	}
	clear(w.conns)
}

// A cut connection is said to be one, resumed where it was, and given up in the end.
func testReconnects(t *testing.T, where place) {
	releaseFirst, releaseSecond := where.kitchen.hold("待ち丼"), where.kitchen.hold("待ち重")
	defer releaseFirst()
	defer releaseSecond()
	w := newWire(t, strings.TrimPrefix(where.base, "http://"))
	p := where.open(t, "http://"+w.address, "/", look{})
	p.submit("待ち丼\n待ち重")
	p.until(`document.querySelector("#numbers").textContent === "14 of 16 answers"`)
	w.cut()
	p.until(`document.querySelector("#connection-text").textContent.startsWith("Connection lost. Reconnecting")`)
	p.until(`document.querySelector("#news").textContent === "Connection lost. Reconnecting now …"`)
	releaseFirst()
	w.mend(t)
	p.until(`document.querySelector("#connection-text").textContent === "Connected, live"`)
	p.until(`document.querySelector("#numbers").textContent === "15 of 16 answers"`)
	w.cut()
	p.until(`document.querySelector("#connection-text").textContent.startsWith("Gave up") && document.querySelector("#again").checkVisibility()`)
	releaseSecond()
	w.mend(t)
	p.click("#again")
	p.done()
	if got := p.text("#outcome"); got != "All 16 answers are there." {
		t.Errorf("after two cuts: %q", got)
	}
}

// front stands before the system and answers some requests itself.
func front(t *testing.T, base string, answer func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.URL
}

func refuse(w http.ResponseWriter, status int) bool {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"type":"about:blank","title":"No","detail":"not with this key"}`) // the browser may be gone
	return true
}

// A server that wants a key gets one, and only where it is asked for.
func testKey(t *testing.T, where place) {
	base := front(t, where.base, func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case !strings.HasPrefix(r.URL.Path, "/v1/") || r.Header.Get("Authorization") == "Bearer good",
			strings.HasSuffix(r.URL.Path, "/events") && r.URL.Query().Get("token") == "fresh":
			return false
		case r.Header.Get("Authorization") == "Bearer weak":
			return refuse(w, http.StatusForbidden)
		default:
			return refuse(w, http.StatusUnauthorized)
		}
	})
	p := where.open(t, base, "/", look{})
	enter := func(key string) {
		t.Helper()
		p.until(`document.querySelector("#key").open`)
		p.write("#key-input", key)
		p.press(kb.Enter)
	}
	p.write("#text", "親子丼")
	p.click("#send")
	p.until(`document.querySelector("#key").open && document.querySelector("#key").innerText.includes("asks for a key")`)
	enter("weak")
	p.until(`document.querySelector("#problem").innerText.includes("This key may not do that")`)
	p.click("#key-open")
	p.until(`document.querySelector("#key").open`)
	p.write("#key-input", "good")
	p.press(kb.Enter)
	p.until(`!document.querySelector("#key").open`)
	p.click("#send")
	p.done()
	if got := p.text("#outcome"); got != "All 8 answers are there." {
		t.Errorf("with a key: %q", got)
	}
	hash := eval[string](p, "location.hash")

	p = where.open(t, base, "/"+hash, look{})
	enter("wrong")
	p.until(`document.querySelector("#key").open && document.querySelector("#key").innerText.includes("does not accept this key")`)
	enter("good")
	p.done()

	// A stream's own token opens the menu without a key, and stays in the address.
	p = where.open(t, base, "/"+hash+"?token=fresh", look{})
	p.done()
	p.click(".dish .name")
	p.until(`document.querySelector("#card").open && location.hash.endsWith("?token=fresh")`)
	p.press(kb.Escape)
	p.until(`location.hash === %s`, quoted(hash+"?token=fresh"))
	p = where.open(t, base, "/"+hash+"?token=old", look{})
	enter("good")
	p.done()
}

// Where the stream is no more, the history tells the same, its past included.
func testGone(t *testing.T, where place) {
	first := where.open(t, where.base, "/", look{})
	session := first.submit("親子丼\n冷奴")
	first.done()
	base := front(t, where.base, func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, "/events") && strings.HasPrefix(r.URL.Path, "/v1/sessions/") && refuse(w, http.StatusGone)
	})
	p := where.open(t, base, "/#/s/"+session, look{})
	p.until(`document.querySelector("#outcome").innerText === "All 16 answers are there."`)
	if got := p.text("#dishes"); got != first.text("#dishes") {
		t.Errorf("from the history:\n%s", got)
	}
	if n := eval[int](p, `(document.querySelector("#timeline-open").click(), Number(document.querySelector("#timeline input").max))`); n < 10 {
		t.Errorf("%d events on the line", n)
	}
	// The same where the stream says that it is another one than the reader's.
	base = front(t, where.base, func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/v1/sessions/") && strings.HasSuffix(r.URL.Path, "/events") {
			r.URL.RawQuery = "last_event_id=another.3"
		}
		return false
	})
	p = where.open(t, base, "/#/s/"+session, look{})
	p.done()
	if got := p.text("#dishes"); got != first.text("#dishes") {
		t.Errorf("after a reset:\n%s", got)
	}
	missing := where.open(t, where.base, "/#/s/01a218d5-0000-7000-8000-000000000000", look{})
	missing.until(`document.querySelector("#connection").innerText.includes("There is no such menu")`)
}

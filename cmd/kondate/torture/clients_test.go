package torture_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// clientsConfig says how many clients there are and what they do. The zero value of a field means its default.
type clientsConfig struct {
	Seed       uint64        // what each client does follows from it; when it happens does not
	Submitters int           // clients that submit menus, 2
	Followers  int           // SSE clients, 4
	Operators  int           // clients that ask for retries, pictures and erasures, 0
	Erasures   float64       // share of erasures among an operator's requests, 0
	MaxMenus   int           // menus in all; 0: until calm
	MaxDishes  int           // of a menu, 150: above 100 a menu is an atomic batch
	Pause      time.Duration // of submitters and operators between two requests, 300ms on average
	Idle       time.Duration // a stream that brings nothing for so long is given up, 35s; more than sse.keepalive_interval
	Ledger     *ledger       // where everything is written down; a new one
}

// clients are everybody outside.
type clients struct {
	cfg    clientsConfig
	ledger *ledger
	urls   func() []string
	http   *http.Client

	load   context.Context //nolint:containedctx // of new menus, requests and sessions to follow: two ends for many goroutines
	calmed context.CancelFunc
	all    context.Context //nolint:containedctx // of everything
	stop   context.CancelFunc
	group  sync.WaitGroup

	mu       sync.Mutex // guards the rest
	accepted []accepted
	menus    int
	more     chan struct{} // closed and made anew when accepted grows
}

// startClients lets clients loose on whatever urls returns at the time. They bear refused and broken connections and the
// answers 429, 500, 503, 504 and 507, try again with a bounded pause, and stop when ctx ends or the test does.
func startClients(ctx context.Context, t testing.TB, urls func() []string, cfg clientsConfig) *clients {
	t.Helper()
	cfg.Submitters, cfg.Followers = cmp.Or(cfg.Submitters, 2), cmp.Or(cfg.Followers, 4)
	cfg.MaxDishes, cfg.Pause, cfg.Idle = cmp.Or(cfg.MaxDishes, 150), cmp.Or(cfg.Pause, 300*time.Millisecond), cmp.Or(cfg.Idle, 35*time.Second)
	c := &clients{cfg: cfg, ledger: cmp.Or(cfg.Ledger, newLedger(nil)), urls: urls, more: make(chan struct{})}
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		ResponseHeaderTimeout: 15 * time.Second, DisableCompression: true, DisableKeepAlives: true, // a process may have gone
	}
	c.http = &http.Client{Transport: transport}
	c.all, c.stop = context.WithCancel(ctx)
	c.load, c.calmed = context.WithCancel(c.all)
	for i := range cfg.Submitters {
		c.group.Go(func() { c.submitter(c.random('s', i), i) })
	}
	for i := range cfg.Followers {
		c.group.Go(func() { c.follower(c.random('f', i), i) })
	}
	for i := range cfg.Operators {
		c.group.Go(func() { c.operator(c.random('o', i), i) })
	}
	t.Cleanup(func() {
		c.stop()
		c.group.Wait()
		transport.CloseIdleConnections()
	})
	return c
}

// random is the source of one client's decisions.
func (c *clients) random(kind rune, i int) *rand.Rand {
	return rand.New(rand.NewPCG(c.cfg.Seed, uint64(kind)<<32|uint64(i)))
}

// calm ends the load: no new menu, no new request, no further session to follow. What runs goes on.
func (c *clients) calm() { c.calmed() }

// wait calms, and returns when every SSE client has seen the end of its session, or says who has not when ctx ends.
// Everything has stopped then.
func (c *clients) wait(ctx context.Context) error {
	c.calm()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.group.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		c.stop()
		<-done
	}
	if missing := c.ledger.missing(); len(missing) > 0 {
		return fmt.Errorf("%d clients did not see the end: %s", len(missing), strings.Join(missing, ", "))
	}
	return nil
}

// sleep waits for about d, less if ctx ends.
func sleep(ctx context.Context, r *rand.Rand, d time.Duration) {
	timer := time.NewTimer(d/2 + time.Duration(r.Int64N(int64(d)+1)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// backoff is the pause before try n+1.
func backoff(n int) time.Duration { return min(50*time.Millisecond<<min(n, 6), 2*time.Second) }

func (c *clients) url(r *rand.Rand) string {
	urls := c.urls()
	if len(urls) == 0 {
		return "http://127.0.0.1:1" // nobody is there at the moment
	}
	return urls[r.IntN(len(urls))]
}

// answer is a response that was read whole.
type answer struct {
	status int
	body   []byte
}

// errNotSent is matched by failures after which the server cannot have seen the request.
var errNotSent = errors.New("the request was not sent")

// do sends one request. An error that does not match errNotSent leaves open whether the server took it.
func (c *clients) do(ctx context.Context, method, url string, body []byte, header http.Header) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, errors.Join(errNotSent, err)
	}
	req.Header = header.Clone()
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if op, is := errors.AsType[*net.OpError](err); is && op.Op == "dial" {
			return answer{}, errors.Join(errNotSent, err)
		}
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read, or broke
	raw, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, raw}, err
}

// passing says of a status that the same request may be answered in another way later, and unclear that the server may have
// recorded it all the same.
func passing(status int) (again, unclear bool) {
	switch status {
	case http.StatusTooManyRequests:
		return true, false
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusInsufficientStorage:
		return true, true
	}
	return false, false
}

// dishNames are what the menus offer; the server need not know them all.
var dishNames = []string{
	"親子丼", "冷奴", "枝豆", "鶏の唐揚げ", "海老天ぷら", "ざるそば", "味噌ラーメン", "餃子", "だし巻き卵", "鯖の味噌煮",
	"焼き鳥(塩)", "豚汁", "茶碗蒸し", "お好み焼き", "抹茶アイス", "生ビール", "本日のおすすめ", "謎の一品", "Fish & chips", "ポテトサラダ",
}

// menuOf makes a menu. Its ref is its title.
func (c *clients) menuOf(r *rand.Rand, ref string) *submission {
	s := &submission{Ref: ref}
	if r.Float64() < 0.6 {
		s.Key = "key-" + ref
	}
	n := 1 + r.IntN(min(c.cfg.MaxDishes, 12))
	switch p := r.Float64(); {
	case p < 0.15:
		n = 1 + r.IntN(c.cfg.MaxDishes)
	case p < 0.25:
		n = c.cfg.MaxDishes - r.IntN(max(c.cfg.MaxDishes/4, 1))
	}
	own := r.Float64() < 0.3
	for i := range n {
		d := dish{Name: dishNames[r.IntN(len(dishNames))], Price: fmt.Sprintf("%d円", 100+10*r.IntN(200))}
		if r.IntN(3) > 0 {
			d.Category = "一品"
		}
		if own {
			d.ID = fmt.Sprintf("own-%s-%d", ref, i)
		}
		s.Items = append(s.Items, d)
	}
	return s
}

// submitter submits one menu after the other.
func (c *clients) submitter(r *rand.Rand, i int) {
	for n := 0; c.load.Err() == nil && c.takeMenu(); n++ {
		s := c.menuOf(r, fmt.Sprintf("t%d-s%d-%d", c.cfg.Seed, i, n))
		c.ledger.add(s)
		// Once it is asked, a menu is asked to its end: half of the interesting answers come late.
		if c.submit(c.all, r, s, s.Items, func(a answer) {
			switch {
			case a.status == http.StatusAccepted:
				c.accept(s, a.body)
			default:
				c.ledger.note(s, func() { s.Refused, s.Problem = a.status, string(a.body) })
			}
		}) && s.Key != "" && s.Refused == 0 {
			c.repeat(r, s)
		}
		sleep(c.load, r, c.cfg.Pause)
	}
}

func (c *clients) takeMenu() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.menus++
	return c.cfg.MaxMenus == 0 || c.menus <= c.cfg.MaxMenus
}

// submit sends a menu until it has an answer that stands, and says whether it came to that.
func (c *clients) submit(ctx context.Context, r *rand.Rand, s *submission, items []dish, told func(answer)) bool {
	body, err := json.Marshal(map[string]any{"title": s.Ref, "items": items})
	if err != nil {
		panic(err) // it is made of strings
	}
	header := http.Header{}
	if s.Key != "" {
		header.Set("Idempotency-Key", s.Key)
	}
	for n := 0; ctx.Err() == nil; n++ {
		c.ledger.note(s, func() { s.Attempts++ }) // written down before it is sent
		a, err := c.do(ctx, http.MethodPost, c.url(r)+"/v1/sessions", body, header)
		again, unclear := passing(a.status)
		if err != nil {
			again, unclear = true, !errors.Is(err, errNotSent)
		}
		if !again {
			told(a)
			return true
		}
		if unclear {
			c.ledger.note(s, func() { s.Unclear++ })
			if s.Key == "" {
				return false // another attempt could be another session
			}
		}
		sleep(ctx, r, backoff(n))
	}
	return false
}

// accept takes the answer 202 down and lets the others know of the session.
func (c *clients) accept(s *submission, body []byte) {
	var told struct {
		Session string `json:"session_id"`
		Seq     uint64 `json:"seq"`
		Items   []struct {
			ID       string `json:"menu_id"`
			Position int    `json:"position"`
		} `json:"items"`
	}
	a := accepted{}
	if err := json.Unmarshal(body, &told); err == nil {
		a.Session, a.Seq, a.IDs = told.Session, told.Seq, make([]string, len(told.Items))
		for _, item := range told.Items {
			if item.Position >= 0 && item.Position < len(a.IDs) {
				a.IDs[item.Position] = item.ID
			}
		}
	}
	first := false
	c.ledger.note(s, func() { first, s.Accepted = len(s.Accepted) == 0, append(s.Accepted, a) })
	if !first {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted = append(c.accepted, a)
	close(c.more)
	c.more = make(chan struct{})
}

// repeat sends a menu again under its key, as it was and as another one.
func (c *clients) repeat(r *rand.Rand, s *submission) {
	if r.Float64() < 0.5 {
		c.submit(c.load, r, s, s.Items, func(a answer) {
			if a.status == http.StatusAccepted {
				c.accept(s, a.body)
				return
			}
			c.ledger.note(s, func() { s.Repeats = append(s.Repeats, a.status) })
		})
	}
	if r.Float64() < 0.3 {
		other := append([]dish{{Name: "別の料理"}}, s.Items...)
		c.submit(c.load, r, s, other, func(a answer) {
			c.ledger.note(s, func() { s.Reuse = append(s.Reuse, a.status) })
		})
	}
}

// some returns one of the accepted sessions, a newer one rather than an older one; ok is false when the load ends first.
func (c *clients) some(r *rand.Rand) (a accepted, ok bool) {
	for {
		c.mu.Lock()
		n, more := len(c.accepted), c.more
		if n > 0 {
			a, ok = c.accepted[n-1-r.IntN(min(n, 8))], true
		}
		c.mu.Unlock()
		if ok {
			return a, c.load.Err() == nil
		}
		select {
		case <-more:
		case <-c.load.Done():
			return a, false
		}
	}
}

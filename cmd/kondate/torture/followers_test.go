package torture_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// follower follows one session after the other, each to its end.
func (c *clients) follower(r *rand.Rand, i int) {
	for n := 0; ; n++ {
		a, ok := c.some(r)
		if !ok {
			return
		}
		t := &transcript{Ref: fmt.Sprintf("f%d-%d", i, n), Session: a.Session, From: "start"}
		if r.Float64() < 0.25 {
			t.From = "live"
		}
		c.ledger.add(t)
		c.follow(c.all, r, t)
		sleep(c.load, r, c.cfg.Pause)
	}
}

// follow keeps a session's stream, over as many connections as it takes.
func (c *clients) follow(ctx context.Context, r *rand.Rand, t *transcript) {
	last, failures := "", 0
	for ctx.Err() == nil && !t.Done {
		n := &connection{Began: time.Now().UTC(), Ref: t.Ref, URL: c.url(r), Sent: last}
		if len(t.Connections) == 0 {
			n.URL = cmp.Or(t.on, n.URL)
		}
		c.ledger.change(func() { t.Connections = append(t.Connections, n) })
		last = c.connect(ctx, r, t, n)
		c.ledger.note(n, func() {
			t.Done = n.Ended == endedEnd || n.Ended == endedNone || n.Status == http.StatusGone
		})
		if failures++; n.Status == http.StatusOK {
			failures = 0
		}
		if !t.Done {
			sleep(ctx, r, backoff(failures))
		}
	}
	if t.Done {
		if at := lastSeq(t); at > 0 {
			c.readRows(ctx, r, t.Session, at)
		}
	}
	c.ledger.note(t, func() {})
}

func lastSeq(t *transcript) uint64 {
	var seq uint64
	for _, n := range t.Connections {
		for _, f := range n.Frames {
			seq = max(seq, f.Seq)
		}
	}
	return seq
}

// connect opens one stream and reads it until it ends. It returns the id to go on from.
func (c *clients) connect(ctx context.Context, r *rand.Rand, t *transcript, n *connection) (last string) {
	last = n.Sent
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	idle := time.AfterFunc(c.cfg.Idle, cancel)
	defer idle.Stop()
	ended := func(how string, err error) string {
		c.ledger.change(func() {
			if n.Ended, n.Over = how, time.Now().UTC(); err != nil {
				n.Why = err.Error()
			}
		})
		return last
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL+"/v1/sessions/"+t.Session+"/events", nil)
	if err != nil {
		return ended(endedRefused, err)
	}
	query := url.Values{}
	if t.From == "live" {
		query.Set("from", "live") // as a page does: it comes back with the query that it began with
	}
	switch {
	case last != "" && r.IntN(3) == 0:
		query.Set("last_event_id", last)
	case last != "":
		req.Header.Set("Last-Event-ID", last)
	}
	req.URL.RawQuery = query.Encode()
	resp, err := c.http.Do(req)
	if err != nil {
		return ended(endedRefused, err)
	}
	defer func() { _ = resp.Body.Close() }() // cut, or at its end
	c.ledger.change(func() {
		if n.Status = resp.StatusCode; n.Status == http.StatusOK || n.Status == http.StatusNoContent {
			n.Answered = time.Now().UTC()
		}
	})
	if resp.StatusCode == http.StatusNoContent {
		return ended(endedNone, nil)
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // for people
		return ended(endedRefused, fmt.Errorf("status %d: %s", resp.StatusCode, body))
	}
	stream := newBlocks(c.temper(r, t, &tap{ctx: ctx, in: resp.Body, left: -1, idle: func() { idle.Reset(c.cfg.Idle) }}))
	for {
		b, err := stream.next()
		switch {
		case errors.Is(err, errCut):
			return ended(endedCut, nil)
		case err != nil:
			return ended(endedBroken, err)
		}
		if b.HasID {
			last = b.ID
		}
		if done, how, err := c.take(n, b); done {
			return ended(how, err)
		}
		if b.Data != "" && b.HasID && r.IntN(40) == 0 {
			idle.Stop() // to ask for rows takes as long as it takes
			c.readRows(ctx, r, t.Session, n.Frames[len(n.Frames)-1].Seq)
			idle.Reset(c.cfg.Idle)
		}
	}
}

// take writes a block down; done says that the stream is over.
func (c *clients) take(n *connection, b block) (done bool, how string, err error) {
	c.ledger.change(func() {
		switch {
		case b.HasID && b.Data == "" && b.Event == "":
			n.Primed = b.ID
		case b.HasID:
			var f frame
			if f, err = b.stored(); err != nil {
				done, how = true, endedBroken
			}
			f.Reset = len(n.Resets)
			n.Frames = append(n.Frames, f)
		case b.Event == "end":
			done, how, n.End = true, endedEnd, b.Data
		case b.Event == "closing":
			done, how = true, endedClosing
		case b.Event == "reset":
			n.Resets = append(n.Resets, b.Data)
		case b.Event == "caught-up":
		default:
			n.Live = append(n.Live, b.Event)
		}
	})
	return done, how, err
}

// errCut says that a client cut its own connection.
var errCut = errors.New("cut by the client")

// tap is what a client's temper does to the bytes that it reads.
type tap struct {
	ctx   context.Context //nolint:containedctx // of the one connection that it reads
	in    io.Reader
	left  int           // bytes until the client cuts; below 0: it does not
	size  int           // of a read while it is slow
	pause time.Duration // before each
	slow  int           // bytes for which it is slow
	idle  func()        // told that bytes came
}

// Read reads as slowly as the client does.
func (t *tap) Read(p []byte) (int, error) {
	if t.left == 0 {
		return 0, errCut
	}
	if t.left > 0 {
		p = p[:min(len(p), t.left)]
	}
	if t.slow > 0 {
		timer := time.NewTimer(t.pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-t.ctx.Done():
		}
		p = p[:min(len(p), t.size)]
	}
	got, err := t.in.Read(p)
	if t.left > 0 {
		t.left -= got
	}
	t.slow -= got
	t.idle()
	return got, err
}

// temper decides how a client reads one stream: in one go or slowly, to its end or up to a byte of its choice, which may
// lie in the middle of an event.
func (c *clients) temper(r *rand.Rand, of *transcript, t *tap) io.Reader {
	if of.on != "" {
		return t
	}
	if r.Float64() < 0.4 {
		t.left = 1 + r.IntN(1<<(8+r.IntN(10)))
	}
	if r.Float64() < 0.2 {
		t.size, t.pause, t.slow = 1<<(8+r.IntN(5)), time.Duration(1+r.IntN(20))*time.Millisecond, 1<<(12+r.IntN(5))
	}
	return t
}

// readRows reads a session's rows, not older than an event, and writes down what they are.
func (c *clients) readRows(ctx context.Context, r *rand.Rand, session string, minSeq uint64) {
	a, err := c.do(ctx, http.MethodGet, c.url(r)+"/v1/sessions/"+session+"/menus?min_seq="+strconv.FormatUint(minSeq, 10), nil, nil)
	if err != nil {
		return
	}
	read := &rowsRead{Session: session, MinSeq: minSeq, Status: a.status}
	var body struct {
		Menus []map[string]any `json:"menus"`
		Seq   uint64           `json:"seq"`
	}
	if a.status == http.StatusOK {
		if err := json.Unmarshal(a.body, &body); err != nil {
			return // cut off on its way
		}
		read.Seq, read.Rows = body.Seq, map[string]rowSeen{}
		for _, row := range body.Menus {
			id, _ := row["id"].(string)
			last, _ := row["last_seq"].(float64)
			read.Rows[id] = rowSeen{uint64(last), rowHash(row)}
		}
	}
	c.ledger.add(read)
}

// operator asks for pictures, retries of what is parked, and erasures.
func (c *clients) operator(r *rand.Rand, i int) {
	for n := 0; c.load.Err() == nil; n++ {
		if a, ok := c.some(r); ok {
			q := &request{Ref: fmt.Sprintf("o%d-%d", i, n), Session: a.Session, At: time.Now().UTC()}
			switch p := r.Float64(); {
			case p < c.cfg.Erasures:
				q.Kind = askErase
			case p < (1+c.cfg.Erasures)/2:
				q.Kind, q.Dish = askImage, a.IDs[r.IntN(len(a.IDs))]
			default:
				q.Kind = askRetry
			}
			if q.Kind != askRetry || c.parked(r, q) {
				c.ledger.add(q)
				c.ask(r, q)
			}
		}
		sleep(c.load, r, c.cfg.Pause)
	}
}

// parked picks something to retry.
func (c *clients) parked(r *rand.Rand, q *request) bool {
	a, err := c.do(c.load, http.MethodGet, c.url(r)+"/v1/failures?limit=50", nil, nil)
	var list struct {
		Failures []struct {
			Dish    string `json:"menu_id"`
			Session string `json:"session_id"`
			Stage   string `json:"stage"`
		} `json:"failures"`
	}
	if err != nil || a.status != http.StatusOK || json.Unmarshal(a.body, &list) != nil || len(list.Failures) == 0 {
		return false
	}
	f := list.Failures[r.IntN(len(list.Failures))]
	q.Session, q.Dish, q.Stage = f.Session, f.Dish, f.Stage
	return true
}

// ask sends a request until it has an answer that stands.
func (c *clients) ask(r *rand.Rand, q *request) {
	method, path := http.MethodPost, "/v1/menus/"+q.Dish+"/image"
	switch q.Kind {
	case askErase:
		method, path = http.MethodDelete, "/v1/sessions/"+q.Session+"?reason=torture"
	case askRetry:
		path = "/v1/menus/" + q.Dish + "/stages/" + q.Stage + "/retry"
	}
	for n := 0; c.all.Err() == nil; n++ {
		a, err := c.do(c.all, method, c.url(r)+path, nil, nil)
		again, unclear := passing(a.status)
		if err != nil {
			again, unclear = true, !errors.Is(err, errNotSent)
		}
		var told struct {
			Epoch int    `json:"epoch"`
			Seq   uint64 `json:"seq"`
		}
		_ = json.Unmarshal(a.body, &told) // the checker misses what was not told
		c.ledger.note(q, func() {
			if q.Status = a.status; unclear {
				q.Unclear++
			}
			q.Epoch, q.Seq = told.Epoch, told.Seq
		})
		if !again {
			return
		}
		sleep(c.all, r, backoff(n))
	}
}

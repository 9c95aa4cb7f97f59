//go:build linux

package torture_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// link is a proxy between two parts of the fleet, the only way from the one to the other. It does what a network does: while it
// is a hole nothing passes, and what TCP would have sent again passes afterwards, on connections that nobody closed. (A library
// for this, toxiproxy 2.5.0, deadlocks when it is healed under traffic.)
type link struct {
	name, addr, upstream string

	mu       sync.Mutex // guards the rest
	listener net.Listener
	pairs    map[*pair]struct{}
	open     chan struct{} // closed while bytes pass
	delay    time.Duration
}

// pair is one connection through a link.
type pair struct {
	near net.Conn
	far  net.Conn // nil until the other end has answered
	gone chan struct{}
	once sync.Once
}

func (p *pair) close() {
	p.once.Do(func() {
		close(p.gone)
		_ = p.near.Close()
		if p.far != nil {
			_ = p.far.Close()
		}
	})
}

// newLink makes a link to an address; it begins whole and ends with the test.
func newLink(tb testing.TB, name, upstream string) *link {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it returns at once
	if err != nil {
		tb.Fatal(err)
	}
	l := &link{
		name: name, addr: listener.Addr().String(), upstream: upstream,
		listener: listener, pairs: map[*pair]struct{}{}, open: make(chan struct{}),
	}
	close(l.open)
	go l.serve(listener)
	tb.Cleanup(l.cut)
	return l
}

// heal makes the link whole.
func (l *link) heal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pass(0)
	if l.listener != nil {
		return nil
	}
	listener, err := net.Listen("tcp", l.addr) //nolint:noctx // it returns at once
	if err != nil {
		return err
	}
	l.listener = listener
	go l.serve(listener)
	return nil
}

// cut closes what is open and takes nothing more.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil {
		_ = l.listener.Close()
		l.listener = nil
	}
	for p := range l.pairs {
		p.close()
	}
}

// hole lets nothing through, and tells nobody.
func (l *link) hole() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
		l.open = make(chan struct{})
	default:
	}
}

// slow holds everything up, both ways, by about delay.
func (l *link) slow(delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pass(delay)
}

// pass is called with mu held.
func (l *link) pass(delay time.Duration) {
	l.delay = delay
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}

func (l *link) serve(listener net.Listener) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return // it was cut
		}
		go func() {
			p := &pair{near: near, gone: make(chan struct{})}
			l.mu.Lock()
			l.pairs[p] = struct{}{}
			if l.listener != listener {
				p.close() // it was cut meanwhile
			}
			l.mu.Unlock()
			if l.join(p) {
				var ways sync.WaitGroup
				ways.Go(func() { l.pump(p, p.near, p.far) })
				ways.Go(func() { l.pump(p, p.far, p.near) })
				ways.Wait()
			}
			l.mu.Lock()
			delete(l.pairs, p)
			l.mu.Unlock()
		}()
	}
}

// join connects a pair with its other end, as soon as that may answer or refuse.
func (l *link) join(p *pair) bool {
	if !l.admit(p) {
		return false
	}
	far, err := net.Dial("tcp", l.upstream) //nolint:noctx // loopback answers or refuses
	if err != nil {
		p.close()
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-p.gone: // it was cut meanwhile
		_ = far.Close()
		return false
	default:
		p.far = far
		return true
	}
}

// pump carries bytes one way, and at last that there are no more, as they may pass, until either end is closed.
func (l *link) pump(p *pair, from, to net.Conn) {
	defer p.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if !l.admit(p) {
			return
		}
		if _, failed := to.Write(buf[:n]); err != nil || failed != nil {
			return
		}
	}
}

// admit waits until bytes may pass; false: the connection was closed.
func (l *link) admit(p *pair) bool {
	l.mu.Lock()
	open, delay := l.open, l.delay
	l.mu.Unlock()
	select {
	case <-open:
	case <-p.gone:
		return false
	}
	if delay == 0 {
		return true
	}
	select {
	case <-time.After(delay/2 + rand.N(delay)):
		return true
	case <-p.gone:
		return false
	}
}

// TestLink: a link carries, holds back without closing, goes on with what was held back, and is cut.
func TestLink(t *testing.T) {
	t.Parallel()
	upstream, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close() //nolint:errcheck // the test is over
	ends := make(chan net.Conn, 3)
	go func() {
		for {
			c, err := upstream.Accept()
			if err != nil {
				return
			}
			ends <- c
			go func() {
				buf := make([]byte, 1)
				for {
					if _, err := c.Read(buf); err != nil {
						_ = c.Close()
						return
					}
					_, _ = c.Write(buf) // it may have gone
				}
			}()
		}
	}()
	l := newLink(t, "a → b", upstream.Addr().String())
	c := dialLink(t, l)
	echo := func(wait time.Duration) bool {
		_ = c.SetReadDeadline(time.Now().Add(wait))
		n, _ := c.Read(make([]byte, 1))
		return n == 1
	}
	send := func() {
		t.Helper()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if send(); !echo(patience) {
		t.Error("a whole link carries nothing")
	}
	l.hole()
	if send(); echo(200 * time.Millisecond) {
		t.Error("a hole carries something")
	}
	if err := l.heal(); err != nil || !echo(patience) {
		t.Errorf("what was held back does not come: %v", err)
	}
	l.slow(200 * time.Millisecond)
	begin := time.Now()
	if send(); !echo(patience) || time.Since(begin) < 200*time.Millisecond {
		t.Errorf("a slow link needs %s", time.Since(begin))
	}
	l.cut()
	if echo(patience) {
		t.Error("a link that is cut carries something")
	}
	if err := l.heal(); err != nil {
		t.Fatal(err)
	}
	c = dialLink(t, l)
	if send(); !echo(patience) {
		t.Error("a healed link carries nothing")
	}
	l.hole()
	<-ends
	_ = (<-ends).Close()
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a hole tells that the other end is gone: %v", err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if err := l.heal(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a healed link does not tell it: %v", err)
	}
}

func dialLink(t *testing.T, l *link) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(context.WithoutCancel(t.Context()), "tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

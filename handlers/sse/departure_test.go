package sse_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/handlers/sse"
)

// With nothing to write and a long keepalive, only the connection itself tells that its client left.
func TestDepartureFreesThePlace(t *testing.T) {
	t.Parallel()
	const clients = 100
	for name, leave := range map[string]func(*net.TCPConn){
		"FIN":       func(c *net.TCPConn) { _ = c.Close() },
		"RST":       func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
		"HalfClose": func(c *net.TCPConn) { _ = c.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, configured(func(c *sse.Config) { c.MaxConnections = clients }))
			s.submit("s1", 1)
			s.wait("no stream is left of the start", func() bool { return s.hub.Stats().Open == 0 })
			for range 2 { // the second time, the server would be full of the first ones
				conns := make([]*client, clients)
				for i := range conns {
					conns[i] = s.get(eventsPath("s1"))
					conns[i].until("caught-up")
				}
				began := time.Now()
				for _, c := range conns {
					leave(c.conn.(*net.TCPConn)) //nolint:forcetypeassert // it was dialled as one
				}
				s.wait("the places are free", func() bool { return s.hub.Stats().Open == 0 })
				if took := time.Since(began); took > time.Second {
					t.Errorf("the places were free after %s, want at most 1s", took)
				}
			}
		})
	}
}

// A client may say something on its connection: it is no departure.
func TestTalkingClientStays(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.submit("s1", 1)
	c := s.get(eventsPath("s1"))
	c.until("caught-up")
	if _, err := c.conn.Write([]byte(strings.Repeat("GET / HTTP/1.1\r\n\r\n", 1000))); err != nil {
		t.Fatal(err)
	}
	s.tell("s1", 1)
	if e := c.mustNext(); e.typ != "task6.attempt_failed" {
		t.Errorf("got %+v", e)
	}
}

func TestStalledClientIsCut(t *testing.T) {
	t.Parallel()
	const events, timeout = 10, 2 * time.Second
	s := start(t, configured(func(c *sse.Config) { c.WriteTimeout = timeout }))
	s.submit("s1", 1)
	s.wait("no stream is left of the start", func() bool { return s.hub.Stats().Open == 0 })
	stalled := s.getNarrow(eventsPath("s1"))
	stalled.mustNext()
	first := stalled.lastID
	healthy := s.get(eventsPath("s1"))
	healthy.until("caught-up")

	for i := range events {
		s.bigEvent("s1", i)
		healthy.mustNext()
	}
	if n := s.hub.Stats().Stalled; n != 0 {
		t.Errorf("a healthy client got its events only when %d other one was cut", n)
	}
	s.wait("the stalled client is cut", func() bool { return s.hub.Stats().Stalled == 1 && s.hub.Stats().Open == 1 })
	// What it missed is still there for it.
	back := s.get(eventsPath("s1"), "Last-Event-ID: "+first)
	if got, want := stored(back.until("caught-up")), s.logged("s1")[1:]; !slices.Equal(got, want) {
		t.Errorf("after it came back it got %d events, want %d", len(got), len(want))
	}
}

// embedding is a listener whose connections are more than TCP connections, as the program's are.
type embedding struct{ net.Listener }

func (l embedding) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		return struct{ *net.TCPConn }{tcp}, nil
	}
	return conn, err
}

// Left alone, the kernel would take four megabytes for each client that takes nothing, and the cut would come that much
// later.
func TestStalledClientTakesLittle(t *testing.T) {
	t.Parallel()
	for name, listen := range map[string]func(net.Listener) net.Listener{
		"TCP":      func(l net.Listener) net.Listener { return l },
		"Embedded": func(l net.Listener) net.Listener { return embedding{l} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, configured(func(c *sse.Config) { c.WriteTimeout = 500 * time.Millisecond }), func(set *setup) { set.listen = listen })
			s.submit("s1", 1)
			s.wait("no stream is left of the start", func() bool { return s.hub.Stats().Open == 0 })
			before := s.hub.Stats().Bytes
			s.getNarrow(eventsPath("s1")).mustNext()
			for i := range 80 {
				s.bigEvent("s1", i)
			}
			s.wait("the stalled client is cut", func() bool { return s.hub.Stats().Stalled == 1 && s.hub.Stats().Open == 0 })
			if took := s.hub.Stats().Bytes - before; took > 1<<20 {
				t.Errorf("a client that took nothing was given %d bytes", took)
			}
		})
	}
}

// A big event reaches a client that takes longer for it than the write timeout, as long as it takes something.
func TestSlowClientGetsABigEvent(t *testing.T) {
	t.Parallel()
	const timeout = 500 * time.Millisecond
	s := start(t, configured(func(c *sse.Config) { c.WriteTimeout = timeout }))
	s.submit("s1", 1)
	c := s.getNarrow(eventsPath("s1"))
	c.until("caught-up")
	const size = 4 << 20 // more than the buffers of both sides
	s.stageEvent("s1", menu.StageAttemptFailed{Stage: menu.Task6, IDs: []menu.DishID{"s1-0"}, Reason: strings.Repeat("x", size)})
	began := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	piece := make([]byte, 16<<10)
	for got := 0; got < size; {
		<-tick.C
		c.patient()
		n, err := c.r.Read(piece)
		if err != nil {
			t.Fatalf("cut after %d bytes and %s: %v", got, time.Since(began), err)
		}
		got += n
	}
	if took := time.Since(began); took < timeout {
		t.Errorf("it took %s only: the test shows nothing", took)
	}
}

func TestPanicEndsOnlyItsStream(t *testing.T) {
	t.Parallel()
	s := start(t, configured(func(c *sse.Config) { c.Window = sse.Window{Events: 1} }))
	s.submit("s1", 1)
	last := s.tell("s1", 1)
	s.wait("the hub follows", func() bool { return s.hub.Stats().Head == last })
	other := s.get(eventsPath("s1", "from=live"))
	other.until("caught-up")
	s.history.set(func(h *logHistory) { h.read = func() { panic("a defect") } })
	doomed := s.get(eventsPath("s1"))
	if _, err := doomed.next(); err == nil {
		t.Fatal("a stream went on after a panic")
	}
	s.wait("its place is free", func() bool { return s.hub.Stats().Open == 1 && s.hub.Stats().Failed == 1 })
	s.tell("s1", 2)
	if e := other.mustNext(); e.typ != "task6.attempt_failed" {
		t.Errorf("the other stream got %+v", e)
	}
}

func TestPanicOfTheRowsEndsNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.submit("s1", 1)
	c := s.get(eventsPath("s1"))
	c.until("caught-up")
	s.sessions.set(func(f *foldedSessions) { f.wait = func() { panic("a defect") } })
	s.finish("s1")
	c.until("menu.completed")
	s.wait("somebody has asked", func() bool { return s.sessions.asked() > 0 })
	s.sessions.set(func(f *foldedSessions) { f.wait = nil })
	c.until("end")
}

// Neither goroutines nor anything of the hub stays behind.
func TestNothingIsLeftOfManyConnections(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.submit("busy", 1)
	s.wait("no stream is left of the start", func() bool { return s.hub.Stats().Open == 0 })
	var clients sync.WaitGroup
	for worker := range 10 {
		clients.Go(func() {
			for i := range 50 {
				session := "busy"
				if i%2 == 0 {
					session = fmt.Sprintf("s-%d-%d", worker, i)
					s.submit(session, 1)
				}
				c := s.get(eventsPath(session))
				if i%3 > 0 {
					c.until("caught-up")
				}
				if tcp, ok := c.conn.(*net.TCPConn); ok && i%5 == 0 {
					_ = tcp.SetLinger(0)
				}
				_ = c.conn.Close()
			}
		})
	}
	clients.Wait()
	s.wait("every place is free", func() bool { return s.hub.Stats().Open == 0 })
	if readers := s.hub.Readers(); readers != 0 {
		t.Errorf("%d readers are left", readers)
	}
	if opened := s.hub.Stats().Opened; opened < 500 {
		t.Errorf("%d streams were opened, want 500", opened)
	}
}

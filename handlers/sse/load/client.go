package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
)

const (
	// dialsAtOnce is how many clients connect at the same time.
	dialsAtOnce = 50
	// readBytes is what a client reads at once.
	readBytes = 16 << 10
	// patience is how long clients wait for what has to come before it counts as missing.
	patience = 20 * time.Second
)

// tick is the type of the events that clients are measured with.
var tick = []byte(menu.StageAttemptFailed{Stage: menu.Task6}.Type()) //nolint:gochecknoglobals // it never changes

// client is one connection to a stream. It knows what has to come: events 0, 1, 2… and one that says it is the last.
type client struct {
	address string
	path    string
	due     func(n int) time.Time // when event n is; nil: no latencies

	conn net.Conn
	buf  []byte
	held int // bytes of buf that were not taken yet

	live   bool   // history was sent
	last   []byte // Last-Event-ID
	next   int
	over   bool
	gaps   map[int]bool // events that did not come when they should have
	faults faults
	took   []time.Duration
}

// faults are what a client must not see.
type faults struct{ missing, doubled, reordered int }

// errEnded says that a stream told of something else than events.
var errEnded = errors.New("the stream is not what it should be")

// connect opens a stream, at the client's cursor if it has one.
func (c *client) connect(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.address)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", c.address, err)
	}
	c.conn, c.held, c.live = conn, 0, false
	if c.buf == nil {
		c.buf = make([]byte, readBytes)
	}
	request := "GET " + c.path + " HTTP/1.1\r\nHost: " + c.address + "\r\nAccept: text/event-stream\r\n"
	if len(c.last) > 0 {
		request += "Last-Event-ID: " + string(c.last) + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		return fmt.Errorf("ask %s for %s: %w", c.address, c.path, err)
	}
	return c.answer()
}

// answer reads the head of the response.
func (c *client) answer() error {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience)) // the read tells if the connection is gone
	for {
		if end := bytes.Index(c.buf[:c.held], []byte("\r\n\r\n")); end >= 0 {
			status := c.buf[:bytes.IndexByte(c.buf, '\r')]
			if !bytes.HasPrefix(status, []byte("HTTP/1.1 200")) {
				return fmt.Errorf("%s answers %s to %s", c.address, status, c.path)
			}
			c.held = copy(c.buf, c.buf[end+4:c.held])
			return nil
		}
		if err := c.fill(); err != nil {
			return fmt.Errorf("read the answer to %s: %w", c.path, err)
		}
	}
}

// fill reads what is there, and waits if nothing is.
func (c *client) fill() error {
	if c.held == len(c.buf) {
		c.buf = append(c.buf, make([]byte, len(c.buf))...)
	}
	n, err := c.conn.Read(c.buf[c.held:])
	c.held += n
	if n > 0 {
		return nil
	}
	return err
}

// read takes events until enough says so, or the last one came.
func (c *client) read(enough func() bool) error {
	for {
		if err := c.take(time.Now()); err != nil {
			return err
		}
		if c.over || enough() {
			return nil
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

// take works off the whole blocks that were read.
func (c *client) take(now time.Time) error {
	rest := c.buf[:c.held]
	for {
		end := bytes.Index(rest, []byte("\n\n"))
		if end < 0 {
			break
		}
		if err := c.block(rest[:end], now); err != nil {
			return err
		}
		rest = rest[end+2:]
	}
	c.held = copy(c.buf, rest)
	return nil
}

func (c *client) block(block []byte, now time.Time) error {
	var name, data []byte
	for line := range bytes.SplitSeq(block, []byte("\n")) {
		field, value, _ := bytes.Cut(line, []byte(": "))
		switch string(field) {
		case "id":
			c.last = append(c.last[:0], value...)
		case "event":
			name = value
		case "data":
			data = value
		}
	}
	switch {
	case bytes.Equal(name, tick):
		return c.event(data, now)
	case string(name) == "caught-up":
		c.live = true
	case string(name) == "reset", string(name) == "closing", string(name) == "end":
		return fmt.Errorf("%s of %s: %s: %w", name, c.path, data, errEnded)
	}
	return nil
}

// event holds an event against what should have come.
func (c *client) event(data []byte, now time.Time) error {
	n, err := numberOf(data)
	if err != nil {
		return err
	}
	switch {
	case n >= c.next:
		for gap := c.next; gap < n; gap++ {
			if c.gaps == nil {
				c.gaps = map[int]bool{}
			}
			c.gaps[gap] = true
			c.faults.missing++
		}
		c.next = n + 1
	case c.gaps[n]:
		delete(c.gaps, n)
		c.faults.missing--
		c.faults.reordered++
	default:
		c.faults.doubled++
		return nil
	}
	if bytes.Contains(data, []byte(`["`+lastDish+`"]`)) {
		c.over = true
	} else if c.due != nil {
		c.took = append(c.took, now.Sub(c.due(n)))
	}
	return nil
}

// numberOf reads the attempt of an event, which is its number.
func numberOf(data []byte) (int, error) {
	_, digits, found := bytes.Cut(data, []byte(`"attempt":`))
	end := bytes.IndexAny(digits, ",}")
	if !found || end < 0 {
		return 0, fmt.Errorf("an event without a number: %.200s: %w", data, errEnded)
	}
	n, err := strconv.Atoi(string(digits[:end]))
	if err != nil {
		return 0, fmt.Errorf("the number of an event: %w", err)
	}
	return n, nil
}

// reset cuts the connection as a client that vanishes does.
func (c *client) reset() {
	if c.conn == nil {
		return
	}
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the connection ends in order, which is as good
	}
	_ = c.conn.Close()
}

// fleet are the clients of a run.
type fleet []*client

// connect opens all streams and returns when each has its history.
func (f fleet) connect(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(dialsAtOnce)
	for _, c := range f {
		g.Go(func() error {
			if err := c.connect(ctx); err != nil {
				return err
			}
			err := c.read(func() bool { return c.live })
			_ = c.conn.SetReadDeadline(time.Time{}) // as above
			return err
		})
	}
	return g.Wait()
}

// close cuts all connections.
func (f fleet) close() {
	for _, c := range f {
		c.reset()
	}
}

// interrupt ends the reads that wait.
func (f fleet) interrupt() {
	for _, c := range f {
		_ = c.conn.SetReadDeadline(time.Unix(1, 0)) // one that is gone reads nothing anyway
	}
}

// collect lets all clients read to their last event. What has not come when ctx ends is missing.
func (f fleet) collect(ctx context.Context, ends []int, of func(client int) int) error {
	stop := context.AfterFunc(ctx, f.interrupt)
	defer stop()
	var g errgroup.Group
	for i, c := range f {
		g.Go(func() error {
			err := c.read(func() bool { return false })
			if ctx.Err() != nil {
				c.faults.missing += max(0, ends[of(i)]-c.next)
				return nil //nolint:nilerr // the clients that wait are counted, not reported
			}
			return err
		})
	}
	return g.Wait()
}

func (f fleet) faults() (sum faults) {
	for _, c := range f {
		sum.missing += c.faults.missing
		sum.doubled += c.faults.doubled
		sum.reordered += c.faults.reordered
	}
	return sum
}

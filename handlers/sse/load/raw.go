package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// plan is what a raw stream does once it is told to begin. A client sends it as the query of its request.
type plan struct {
	session  int
	sessions int
	rate     float64 // 0: as quickly as it goes
	payload  int
	events   int // 0: until the time is over
	together int // frames in one write
}

func (p plan) path() string {
	return fmt.Sprintf("/raw?session=%d&sessions=%d&rate=%g&payload=%d&events=%d&together=%d",
		p.session, p.sessions, p.rate, p.payload, p.events, max(1, p.together))
}

func parsePlan(u *url.URL) (p plan, err error) {
	q := u.Query()
	for name, into := range map[string]*int{
		"session": &p.session, "sessions": &p.sessions, "payload": &p.payload, "events": &p.events, "together": &p.together,
	} {
		n, atoi := strconv.Atoi(q.Get(name))
		err = errors.Join(err, atoi)
		*into = n
	}
	rate, parse := strconv.ParseFloat(q.Get("rate"), 64)
	p.rate = rate
	return p, errors.Join(err, parse)
}

// begin tells the raw streams of a fleet to begin, and when to end.
func (f fleet) begin(began, ends time.Time) error {
	for _, c := range f {
		if _, err := fmt.Fprintf(c.conn, "%d %d\n", began.UnixNano(), ends.UnixNano()); err != nil {
			return fmt.Errorf("begin a raw stream: %w", err)
		}
	}
	return nil
}

// ServeRaw serves the limit that streams are measured against until ctx ends: the frames of a run, made up in place,
// written to the sockets of its clients and nothing else.
func ServeRaw(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	var streams sync.WaitGroup
	defer streams.Wait()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept raw streams: %w", err)
		}
		streams.Go(func() {
			closing := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer closing()
			defer conn.Close()      //nolint:errcheck // its client is gone or has all
			_ = serveRaw(ctx, conn) // it ends when its client leaves
		})
	}
}

func serveRaw(ctx context.Context, conn net.Conn) error {
	r := bufio.NewReaderSize(conn, 512)
	req, err := http.ReadRequest(r)
	if err != nil {
		return err
	}
	p, err := parsePlan(req.URL)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: connected\n\nevent: caught-up\ndata: {}\n\n"); err != nil {
		return err
	}
	var began, ends int64
	if _, err := fmt.Fscanf(r, "%d %d\n", &began, &ends); err != nil {
		return err
	}
	frames, err := newFrames(p)
	if err != nil {
		return err
	}
	return p.write(ctx, conn, frames, time.Unix(0, began), time.Unix(0, ends))
}

func (p plan) write(ctx context.Context, conn net.Conn, frames *frames, began, ends time.Time) error {
	sched := schedule{began: began, sessions: p.sessions, rate: p.rate}
	timer := time.NewTimer(time.Until(began))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var b []byte
	n := 0
	for ; ; n++ {
		if p.rate > 0 {
			due := sched.due(p.session, n)
			if due.After(ends) {
				break
			}
			timer.Reset(time.Until(due))
			select {
			case <-timer.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if p.events > 0 && n == p.events-1 || p.events == 0 && p.rate == 0 && time.Now().After(ends) {
			break
		}
		if b = frames.append(b, n); (n+1)%p.together == 0 {
			if _, err := conn.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	return frames.last(conn, b, n)
}

// frames makes frames of a run as the server does, cut at their numbers.
type frames struct{ tick, end [2][]byte }

func newFrames(p plan) (*frames, error) {
	var f frames
	for dish, into := range map[menu.DishID]*[2][]byte{tickDish: &f.tick, lastDish: &f.end} {
		key := menu.Key{Tenant: menu.DefaultTenant, Session: menu.SessionID(fmt.Sprintf("bench-%d", p.session))}
		msg, err := eventstore.Encode(key, eventstore.Proposed{Event: numbered(0, p.payload, dish), Time: time.Now()})
		if err != nil {
			return nil, err
		}
		e := eventstore.Decode(msg.Subject, 1_000_000, time.Now(), msg.Header, msg.Data)
		b := append([]byte("id: 0123456789abcdef.1000000\nevent: "), tick...)
		b = append(b, "\ndata: "...)
		b = eventstore.Envelope{Seq: e.Seq, ID: e.ID, Key: e.Key, Type: e.Type, Version: e.Version, Time: e.Time, Data: e.Data}.Append(b)
		before, after, found := bytes.Cut(append(b, "\n\n"...), []byte(`"attempt":0`))
		if !found {
			return nil, fmt.Errorf("a frame has no number: %s", b)
		}
		*into = [2][]byte{append(before, `"attempt":`...), bytes.Clone(after)}
	}
	return &f, nil
}

func (f *frames) append(b []byte, n int) []byte {
	return append(strconv.AppendInt(append(b, f.tick[0]...), int64(n), 10), f.tick[1]...)
}

func (f *frames) last(conn net.Conn, b []byte, n int) error {
	_, err := conn.Write(append(strconv.AppendInt(append(b, f.end[0]...), int64(n), 10), f.end[1]...))
	return err
}

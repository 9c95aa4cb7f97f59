package sse_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what has to come at once.
const patience = 10 * time.Second

// event is what an EventSource would dispatch.
type event struct {
	id   string // the last id when it was dispatched
	typ  string
	data string
}

// parser reads a stream as the WHATWG says (HTML standard, 9.2.6), written without a look at the encoder.
type parser struct {
	r        *bufio.Reader
	started  bool
	skipLF   bool
	lastID   string
	idBuffer string
	retry    string
	comments []string
}

func newParser(r io.Reader) *parser { return &parser{r: bufio.NewReader(r)} }

// line returns the next line; the end of the stream in the middle of one is an error.
func (p *parser) line() (string, error) {
	if !p.started {
		p.started = true
		if bom, err := p.r.Peek(3); err == nil && string(bom) == "\xef\xbb\xbf" {
			_, _ = p.r.Discard(3)
		}
	}
	var b strings.Builder
	for {
		c, err := p.r.ReadByte()
		if err != nil {
			return "", err
		}
		if p.skipLF {
			p.skipLF = false
			if c == '\n' {
				continue
			}
		}
		switch c {
		case '\r':
			p.skipLF = true
			return b.String(), nil
		case '\n':
			return b.String(), nil
		}
		b.WriteByte(c)
	}
}

// next returns the next event that is dispatched.
func (p *parser) next() (event, error) {
	var data strings.Builder
	typ, hasData := "", false
	for {
		line, err := p.line()
		if err != nil {
			return event{}, err
		}
		if line == "" {
			p.lastID = p.idBuffer
			if !hasData {
				typ = ""
				continue
			}
			if typ == "" {
				typ = "message"
			}
			return event{id: p.lastID, typ: typ, data: strings.TrimSuffix(data.String(), "\n")}, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "":
			p.comments = append(p.comments, value)
		case "event":
			typ = value
		case "data":
			hasData = true
			data.WriteString(value + "\n")
		case "id":
			if !strings.ContainsRune(value, 0) {
				p.idBuffer = value
			}
		case "retry":
			if value != "" && strings.Trim(value, "0123456789") == "" {
				p.retry = value
			}
		}
	}
}

// client is one connection to a stream.
type client struct {
	tb     testing.TB
	conn   net.Conn
	status int
	header http.Header
	body   []byte // of an answer that is no stream
	*parser
}

// get sends a request for a path, with headers given as "Name: value".
func get(tb testing.TB, address, path string, headers ...string) *client {
	tb.Helper()
	conn := dial(tb, address)
	tb.Cleanup(func() { _ = conn.Close() })
	return ask(tb, conn, path, headers...)
}

func dial(tb testing.TB, address string) net.Conn {
	tb.Helper()
	conn, err := (&net.Dialer{}).DialContext(context.WithoutCancel(tb.Context()), "tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	return conn
}

func ask(tb testing.TB, conn net.Conn, path string, headers ...string) *client {
	tb.Helper()
	c := &client{tb: tb, conn: conn}
	c.patient()
	request := "GET " + path + " HTTP/1.1\r\nHost: test\r\n"
	for _, h := range headers {
		request += h + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		tb.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		tb.Fatalf("GET %s: %v", path, err)
	}
	c.status, c.header = resp.StatusCode, resp.Header
	if resp.Header.Get("Content-Type") == "text/event-stream" {
		c.parser = newParser(resp.Body)
		return c
	}
	if c.body, err = io.ReadAll(resp.Body); err != nil {
		tb.Fatal(err)
	}
	_ = resp.Body.Close()
	return c
}

// patient bounds what follows on the connection.
func (c *client) patient() { _ = c.conn.SetDeadline(time.Now().Add(patience)) }

// mustNext returns the next event.
func (c *client) mustNext() event {
	c.tb.Helper()
	if c.parser == nil {
		c.tb.Fatalf("no stream: %d %s", c.status, c.body)
	}
	c.patient()
	e, err := c.next()
	if err != nil {
		c.tb.Fatalf("next event: %v", err)
	}
	return e
}

// until returns the events up to and with one of a type.
func (c *client) until(typ string) []event {
	c.tb.Helper()
	var events []event
	for {
		e := c.mustNext()
		if events = append(events, e); e.typ == typ {
			return events
		}
	}
}

// wantEOF fails unless the server has ended the stream.
func (c *client) wantEOF() {
	c.tb.Helper()
	c.patient()
	if e, err := c.next(); !errors.Is(err, io.EOF) {
		c.tb.Fatalf("after the end came %v, %v", e, err)
	}
}

// stored are the ids of the stored events among these, which are those with a dot in their type.
func stored(events []event) []string {
	var ids []string
	for _, e := range events {
		if strings.Contains(e.typ, ".") {
			ids = append(ids, e.id)
		}
	}
	return ids
}

// body reads an event's data.
func body[T any](tb testing.TB, e event) T {
	tb.Helper()
	var v T
	if err := json.Unmarshal([]byte(e.data), &v); err != nil {
		tb.Fatalf("data of %s: %v\n%s", e.typ, err, e.data)
	}
	return v
}

func eventsPath(session string, query ...string) string {
	path := fmt.Sprintf("/v1/sessions/%s/events", session)
	if len(query) > 0 {
		path += "?" + strings.Join(query, "&")
	}
	return path
}

// parseOne reads bytes that have to be exactly one event.
func parseOne(tb testing.TB, wire []byte) event {
	tb.Helper()
	p := newParser(strings.NewReader(string(wire)))
	e, err := p.next()
	if err != nil {
		tb.Fatalf("%q is no event: %v", wire, err)
	}
	if another, err := p.next(); !errors.Is(err, io.EOF) {
		tb.Fatalf("%q holds another event %+v, %v", wire, another, err)
	}
	if p.retry != "" || len(p.comments) > 0 {
		tb.Fatalf("%q forges a retry or a comment", wire)
	}
	return e
}

// sameJSON says whether raw is the JSON of v.
func sameJSON(tb testing.TB, v any, raw []byte) bool {
	tb.Helper()
	var want any
	if err := json.Unmarshal(raw, &want); err != nil {
		tb.Fatal(err)
	}
	return reflect.DeepEqual(v, want)
}

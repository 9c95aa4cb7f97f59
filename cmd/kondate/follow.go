package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"kondate/domain/menu"
)

// frame is one event of a session's stream.
type frame struct {
	id    string // of the last id: line; empty until the server sent one
	event string
	data  string
}

// storedEvent is the data of a frame that carries an event of the log.
type storedEvent struct {
	ID        string          `json:"id"`
	Type      menu.Type       `json:"type"`
	Seq       uint64          `json:"seq"`
	Time      time.Time       `json:"time"`
	SessionID string          `json:"session_id"`
	Data      json.RawMessage `json:"data"`
}

// stored reads the event of the log that the frame carries; ok is false for the stream's own events.
func (f frame) stored() (e storedEvent, ok bool, err error) {
	if !strings.Contains(f.event, ".") {
		return e, false, nil
	}
	if err := json.Unmarshal([]byte(f.data), &e); err != nil {
		return e, false, fmt.Errorf("read the event %s of the stream: %w", f.event, err)
	}
	return e, true, nil
}

// errEnd says that the stream was read to its end.
var errEnd = errors.New("the session's stream has ended")

// follower reads a session's stream and connects again where it was cut.
type follower struct {
	client   *client
	url      string
	last     string        // Last-Event-ID of the next connection
	pause    time.Duration // before a new connection
	attempts int           // to connect again in a row
	out      func(format string, args ...any)
}

// run hands every frame to fn until the stream ends, fn fails, or the attempts to connect again are used up.
func (f *follower) run(ctx context.Context, fn func(frame) error) error {
	failures := 0
	for {
		got, err := f.read(ctx, fn)
		if got {
			failures = 0
		}
		var p *problem
		switch {
		case errors.Is(err, errEnd):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &p) && p.Status < http.StatusInternalServerError && p.Status != http.StatusTooManyRequests:
			return err
		case errors.Is(err, errHandler):
			return err
		}
		if failures++; failures > f.attempts {
			return fmt.Errorf("gave up after %d attempts to connect again: %w", f.attempts, err)
		}
		f.out("connection lost (%v), attempt %d of %d in %s", err, failures, f.attempts, f.pause)
		select {
		case <-time.After(f.pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// errHandler marks an error of the function that takes the frames: connecting again would not help.
var errHandler = errors.New("the event could not be handled")

// read is one connection; got says whether anything came.
func (f *follower) read(ctx context.Context, fn func(frame) error) (got bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.client.base+f.url, nil)
	if err != nil {
		return false, fmt.Errorf("%w: %w", errHandler, err)
	}
	req.Header.Set("Accept", "text/event-stream")
	if f.last != "" {
		req.Header.Set("Last-Event-ID", f.last)
	}
	f.client.authorize(req)
	resp, err := f.client.http.Do(req)
	if err != nil {
		if sent, ok := errors.AsType[*url.Error](err); ok {
			err = sent.Err // without the address, which may carry a token
		}
		return false, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	switch {
	case resp.StatusCode == http.StatusNoContent:
		return true, errEnd
	case resp.StatusCode != http.StatusOK:
		return false, problemOf(resp)
	}
	for fr, err := range frames(resp.Body) {
		if err != nil {
			return got, err
		}
		got = true
		if fr.retry > 0 {
			f.pause = fr.retry
		}
		if fr.id != "" {
			f.last = fr.id
		}
		if fr.data == "" {
			continue
		}
		if err := fn(fr.frame); err != nil {
			return got, fmt.Errorf("%w: %w", errHandler, err)
		}
		if fr.event == "end" {
			return got, errEnd
		}
	}
	return got, io.ErrUnexpectedEOF
}

// block is one block of an event stream: a frame, or only an id or a retry.
type block struct {
	frame

	retry time.Duration
}

// frames reads an event stream by the rules of the HTML standard, section 9.2, as far as our server uses them: lines
// end with LF, and the end of the stream discards an unfinished block.
func frames(r io.Reader) func(yield func(block, error) bool) {
	return func(yield func(block, error) bool) {
		br := bufio.NewReaderSize(r, 64<<10)
		var b block
		var data []string
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield(block{}, err)
				}
				return
			}
			line = strings.TrimSuffix(line, "\n")
			if line == "" {
				b.data = strings.Join(data, "\n")
				if !yield(b, nil) {
					return
				}
				b, data = block{}, nil
				continue
			}
			field, value, _ := strings.Cut(line, ":")
			value = strings.TrimPrefix(value, " ")
			switch field {
			case "id":
				b.id = value
			case "event":
				b.event = value
			case "data":
				data = append(data, value)
			case "retry":
				if ms, err := strconv.Atoi(value); err == nil {
					b.retry = time.Duration(ms) * time.Millisecond
				}
			}
		}
	}
}

package sse_test

import (
	"fmt"
	"strings"
	"testing"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/handlers/sse"
	"kondate/streams"
	"kondate/streams/natstest"
)

func TestLiveMessages(t *testing.T) {
	t.Parallel()
	broker := natstest.New(t)
	channel := streams.NewChannel(broker.Conn(), "sse")
	s := start(t, func(set *setup) { set.channel = channel })
	s.submit("s1", 1)
	key := menutest.Key("s1")
	c := s.get(eventsPath("s1"))
	c.until("caught-up")
	last := c.lastID

	say := func(name, body string) {
		t.Helper()
		if err := channel.Publish(key, name, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ body, want string }{
		{`{"done":3}`, `{"done":3}`},
		{" {\"a\":\r\n\"b\\nc\"}\n", `{"a":"b\nc"}`},
		{"not json", `{"raw_message":"not json"}`},
		{"", `{"raw_message":""}`},
		{"[1]", `{"raw_message":"[1]"}`},
		{`"text"`, `{"raw_message":"\"text\""}`},
		{"{broken", `{"raw_message":"{broken"}`},
		{"one\ntwo\r\n\r\nid: inc1.99\nevent: end\n\n", `{"raw_message":"one\ntwo\r\n\r\nid: inc1.99\nevent: end\n\n"}`},
	} {
		say("progress", test.body)
		if e := c.mustNext(); e.typ != "progress" || e.data != test.want || e.id != last {
			t.Errorf("%q came as %+v, want %s", test.body, e, test.want)
		}
	}

	// Names that mean something else are refused, and messages of other sessions reach nobody here.
	refused := []string{"reset", "caught-up", "end", "closing", "retry", "open", "error", "completed", "submitted", "failed"}
	for _, name := range refused {
		say(name, `{}`)
	}
	if err := channel.Publish(menutest.Key("s2"), "progress", []byte(`{"foreign":true}`)); err != nil {
		t.Fatal(err)
	}
	if err := channel.Publish(menu.Key{Tenant: "other", Session: "s1"}, "progress", []byte(`{"foreign":true}`)); err != nil {
		t.Fatal(err)
	}
	say("note", strings.Repeat("x", 1<<20+1))
	say("note", `{"last":true}`)
	if e := c.mustNext(); e.typ != "note" || e.data != `{"last":true}` {
		t.Errorf("got %+v, want the message after those that are refused", e)
	}
	if got, want := s.hub.Stats().LiveRefused, int64(len(refused)+1); got != want {
		t.Errorf("%d messages were refused, want %d", got, want)
	}

	// A message stands between stored events and moves no cursor.
	s.tell("s1", 1)
	if e := c.mustNext(); e.id == last || e.typ != "task6.attempt_failed" {
		t.Errorf("got %+v", e)
	}
}

func TestLiveMessagesAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.submit("s1", 1)
	key := menutest.Key("s1")
	stalled := s.getNarrow(eventsPath("s1"))
	stalled.until("caught-up")
	for i := range 3000 {
		s.channel.say(key, "note", fmt.Sprintf(`{"n":%d,"pad":%q}`, i, strings.Repeat("x", 1000)))
	}
	lost := s.hub.Stats().LiveLost
	if lost == 0 {
		t.Fatal("a reader that stands still keeps every message in memory")
	}
	seq := s.tell("s1", 1)
	got, last := 0, -1
	for {
		e := stalled.mustNext()
		if e.typ == "task6.attempt_failed" {
			if e.id != at(seq) {
				t.Errorf("got %+v", e)
			}
			break
		}
		n := body[struct {
			N int `json:"n"`
		}](t, e).N
		if n <= last {
			t.Fatalf("message %d came after %d", n, last)
		}
		got, last = got+1, n
	}
	if got == 0 {
		t.Error("no message came at all")
	}
}

func FuzzLiveMessage(f *testing.F) {
	for _, seed := range []string{"", "{}", "{\"a\":\r\n1}", "\xef\xbb\xbf{}", "a\rb\nc\r\nd", "\x00", "{\"x\":\"\u2028\"}", "data: x\n\nid: 1\n\n"} {
		f.Add("progress", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if _, err := menu.ParseSessionID(name); err != nil {
			return
		}
		e := parseOne(t, sse.EncodeLive(name, data))
		if e.typ != name || e.id != "" {
			t.Fatalf("came back as %+v", e)
		}
		object := body[map[string]any](t, e)
		if object == nil {
			t.Fatalf("%q became %q, which is no object", data, e.data)
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add("id-1", "public", "s1", "menu.submitted", []byte(`{"title":"a\nb"}`))
	f.Add("\r\nid: 7\n\n", "public", "s1", "translation.completed", []byte("{\r\"a\" :\n[1,\r\n2]}"))
	f.Add("\x00", "public", "s1", "new.kind", []byte("{\"x\":\"\x00\"}"))
	f.Add("\xef\xbb\xbf\"", "t", "s", "a.b", []byte("\"\\u0000\""))
	f.Fuzz(func(t *testing.T, id, tenant, session, typ string, data []byte) {
		key, parsed, err := streams.ParseEventSubject("menu.evt." + tenant + "." + session + "." + typ)
		if err != nil {
			return
		}
		entry := eventstore.Entry{Type: parsed, Data: data, Err: eventstore.ErrUnknownEvent}
		entry.ID, entry.Key, entry.Seq, entry.Time = id, key, 7, menutest.Start()
		wire := sse.EncodeEntry(entry, incarnation)
		if wire == nil {
			return // no JSON: that is no event
		}
		e := parseOne(t, wire)
		if e.id != at(7) || e.typ != typ {
			t.Fatalf("came back as %+v", e)
		}
		got := body[struct {
			Seq       uint64 `json:"seq"`
			Type      string `json:"type"`
			SessionID string `json:"session_id"`
			Data      any    `json:"data"`
		}](t, e)
		if got.Seq != 7 || got.Type != typ || got.SessionID != session || !sameJSON(t, got.Data, data) {
			t.Fatalf("%q came back as %s", data, e.data)
		}
	})
}

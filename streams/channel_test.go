package streams_test

import (
	"errors"
	"testing"

	"kondate/domain/menu"
	"kondate/streams"
	"kondate/streams/natstest"
)

func TestChannel(t *testing.T) {
	t.Parallel()
	broker := natstest.New(t)
	nc := broker.Conn()
	channel := streams.NewChannel(nc, "sse")
	type live struct{ session, name, body string }
	got := make(chan live, 100)
	stop, err := channel.Subscribe(func(key menu.Key, name string, body []byte) {
		got <- live{string(key.Tenant) + "/" + string(key.Session), name, string(body)}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	key := menu.Key{Tenant: menu.DefaultTenant, Session: "s-1"}
	if err := channel.Publish(key, "progress", []byte(`{"done":1}`)); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil { // two connections have no order between them
		t.Fatal(err)
	}
	other := broker.Conn()
	for _, subject := range []string{
		"sse.public.s-1", "sse.public.s-1.progress.more", "elsewhere.public.s-1.progress", // none of the channel's
		"sse.public.s~1.progress", // of its form, but no id
		"sse.public.s-2.note",
	} {
		if err := other.Publish(subject, []byte("not JSON")); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []live{{"public/s-1", "progress", `{"done":1}`}, {"public/s-2", "note", "not JSON"}} {
		if m, _ := receive(t, got, "a live message"); m != want {
			t.Errorf("%+v came, want %+v", m, want)
		}
	}
	for _, name := range []string{"", "a.b", "*", ">", "a b"} {
		if err := channel.Publish(key, name, nil); !errors.Is(err, streams.ErrSubject) {
			t.Errorf("the name %q: %v", name, err)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := channel.Publish(key, "late", nil); err != nil {
		t.Error(err)
	}
	if err := nc.Flush(); err != nil {
		t.Error(err)
	}
	select {
	case m := <-got:
		t.Errorf("%+v came after the end", m)
	default:
	}
	nc.Close()
	if err := channel.Publish(key, "progress", nil); err == nil {
		t.Error("a closed connection took a message")
	}
	if _, err := channel.Subscribe(nil); err == nil {
		t.Error("a closed connection took a subscription")
	}
}

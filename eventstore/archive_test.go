package eventstore_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/streams/natstest"
)

// What comes out of an archive is what went in, byte for byte, whatever the bodies and headers are.
func TestArchiveKeepsEverything(t *testing.T) {
	t.Parallel()
	body := rapid.OneOf(
		rapid.SliceOfN(rapid.Byte(), 0, 40),
		rapid.SampledFrom([][]byte{nil, {}, []byte("null"), []byte(`{"a":1}`), []byte(`{ "a" : 1 }`), []byte(`{"a":"<&>` + "\u2028" + `"}`), []byte("{\n}"), []byte(`"\ud800"`), []byte("{\"a\":\"\xff\"}")}),
	)
	rapid.Check(t, func(t *rapid.T) {
		var out bytes.Buffer
		w, err := eventstore.NewArchiveWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		var want []eventstore.Entry
		for i := range rapid.IntRange(0, 10).Draw(t, "events") {
			header := nats.Header{
				eventstore.HeaderID: rapid.SliceOfN(rapid.StringMatching(`[ -~]{0,9}`), 0, 2).Draw(t, "ids"), "X": {"a", "b"},
				eventstore.HeaderTime: {"2026-11-23T12:00:00.000001Z"}, eventstore.HeaderSchema: {"1"},
			}
			e := eventstore.Decode("menu.evt.public.s1.allergen.completed", uint64(i+1), menutest.Start(), header, body.Draw(t, "body"))
			want = append(want, e)
			if err := w.Write(e); err != nil {
				t.Fatal(err)
			}
		}
		sums, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := eventstore.CheckArchive(bytes.NewReader(out.Bytes()), sums); err != nil {
			t.Fatal(err)
		}
		if err := eventstore.CheckArchive(bytes.NewReader(out.Bytes()[:out.Len()-1]), sums); err == nil {
			t.Fatal("an archive without its last byte passes")
		}
		if err := eventstore.CheckArchive(bytes.NewReader(out.Bytes()), eventstore.ArchiveSums{File: sums.File, Lines: sums.File}); !errors.Is(err, eventstore.ErrArchive) {
			t.Fatalf("an archive of other lines passes: %v", err)
		}
		n := 0
		for e, err := range eventstore.ReadArchive(&out) {
			if err != nil || n == len(want) || !same(e, want[n]) {
				t.Fatalf("entry %d is %+v (%v), it was %+v", n, e, err, want[n])
			}
			n++
		}
		if n != len(want) {
			t.Fatalf("%d entries came back, want %d", n, len(want))
		}
	})
}

// same says whether two entries are one message, byte for byte.
func same(e, other eventstore.Entry) bool {
	return e.Seq == other.Seq && e.Key == other.Key && e.Type == other.Type && e.Time.Equal(other.Time) &&
		bytes.Equal(e.Data, other.Data) && maps.EqualFunc(e.Header, other.Header, slices.Equal[[]string])
}

func FuzzReadArchive(f *testing.F) {
	zip, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(zip.EncodeAll([]byte(`{"seq":1,"subject":"menu.evt.public.s.menu.submitted","time":"2026-11-23T12:00:00Z","header":{},"data":{}}`+"\n"), nil))
	f.Add([]byte("no archive"))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		for _, err := range eventstore.ReadArchive(bytes.NewReader(raw)) {
			if err != nil {
				return
			}
		}
	})
}

// A retired session leaves its last menu event, so that nobody submits it again; one that moves on stays whole.
func TestRetire(t *testing.T) {
	t.Parallel()
	broker := natstest.New(t)
	store := newStore(broker)
	key, other := menutest.Key("s1"), menutest.Key("s2")
	propose := func(events ...menu.Event) []eventstore.Proposed {
		proposed := make([]eventstore.Proposed, len(events))
		for i, e := range events {
			proposed[i] = eventstore.Proposed{Event: e, Time: time.Now()}
		}
		return proposed
	}
	items := menutest.Items("d", 2)
	for _, k := range []menu.Key{key, other} {
		if _, err := store.AppendMenu(t.Context(), k, 0, propose(menutest.Submitted(items))...); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Append(t.Context(), key, propose(menutest.Completed(menu.Allergen, menutest.IDs(items)...))...); err != nil {
		t.Fatal(err)
	}
	entries, err := store.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	done, err := store.AppendMenu(t.Context(), key, entries[0].Seq, propose(menu.Completed{Round: 1})...)
	if err != nil {
		t.Fatal(err)
	}
	late, err := store.Append(t.Context(), key, propose(menutest.Completed(menu.Task6, menutest.IDs(items)...))...)
	if err != nil {
		t.Fatal(err)
	}
	all := []uint64{entries[0].Seq, entries[1].Seq, done.Seq, late.Seq}
	before, _, err := store.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Retire(t.Context(), key, all[:3]); !errors.Is(err, eventstore.ErrMoved) {
		t.Errorf("a session with a newer event: %v, want ErrMoved", err)
	}
	if left, err := store.Load(t.Context(), key); err != nil || len(left) != 4 {
		t.Errorf("%d events are left, want all 4: %v", len(left), err)
	}
	for range 2 { // again changes nothing
		if err := store.Retire(t.Context(), key, all); err != nil {
			t.Fatal(err)
		}
		left, err := store.Load(t.Context(), key)
		if err != nil || len(left) != 1 || left[0].Seq != done.Seq {
			t.Errorf("%d events are left, want the completion: %v", len(left), err)
		}
	}
	if after, limit, err := store.Size(t.Context()); err != nil || after >= before || limit == 0 {
		t.Errorf("the log takes %d bytes of %d, it took %d: %v", after, limit, before, err)
	}
	if _, err := store.AppendMenu(t.Context(), key, 0, propose(menutest.Submitted(menutest.Items("x", 1)))...); !errors.Is(err, eventstore.ErrConflict) {
		t.Errorf("a retired session was submitted again: %v", err)
	}
	if left, err := store.Load(t.Context(), other); err != nil || len(left) != 1 {
		t.Errorf("the other session has %d events: %v", len(left), err)
	}
}

package storetest

import (
	"testing"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
)

func eraseLeavesTheTombstone(t *testing.T, s Store) {
	key, other := menutest.Key("s1"), menutest.Key("s2")
	first := mustAppendMenu(t, s, key, 0, submission("d", 2))
	mustAppendMenu(t, s, other, 0, submission("o", 1))
	tombstone := mustAppendMenu(t, s, key, first.Seq, Propose(menu.Erased{By: "guest"}))
	late, err := s.Append(t.Context(), key, Propose(menutest.Completed(menu.Allergen, "d-0"))...)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Erase(t.Context(), key, tombstone.Seq, tombstone.Seq); err != nil {
		t.Fatal(err)
	}
	if left := mustLoad(t, s, key); len(left) != 2 || left[0].Seq != tombstone.Seq || left[1].Seq != late.Seq {
		t.Fatalf("%d events are left, want the tombstone and the one after it", len(left))
	}
	for range 2 { // again changes nothing
		if err := s.Erase(t.Context(), key, tombstone.Seq, late.Seq); err != nil {
			t.Fatal(err)
		}
		if left := mustLoad(t, s, key); len(left) != 1 || left[0].Seq != tombstone.Seq {
			t.Fatalf("%d events are left, want the tombstone", len(left))
		}
	}
	if left := mustLoad(t, s, other); len(left) != 1 {
		t.Errorf("the other session has %d events", len(left))
	}
	whole, err := s.Read(t.Context(), 0, 10)
	if err != nil || len(whole) != 2 {
		t.Errorf("the log holds %d events, want 2: %v", len(whole), err)
	}
	if last, err := s.Last(t.Context()); err != nil || last != late.Seq {
		t.Errorf("the log ends at %d, want %d: sequences are not given twice: %v", last, late.Seq, err)
	}
	receipt := mustAppendMenu(t, s, menutest.Key("s3"), 0, submission("n", 1))
	if receipt.Seq != late.Seq+1 {
		t.Errorf("the next event is %d, want %d", receipt.Seq, late.Seq+1)
	}
}

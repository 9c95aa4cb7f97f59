package streams_test

import (
	"strings"
	"testing"

	"kondate/domain/menu"
	"kondate/streams"
)

func TestEventSubject(t *testing.T) {
	t.Parallel()
	key := menu.Key{Tenant: "public", Session: "0190a"}
	subject := streams.EventSubject(key, menu.StageCompleted{Stage: menu.Allergen}.Type())
	if subject != "menu.evt.public.0190a.allergen.completed" {
		t.Fatalf("subject = %q", subject)
	}
	gotKey, gotType, err := streams.ParseEventSubject(subject)
	if err != nil || gotKey != key || gotType != "allergen.completed" {
		t.Fatalf("ParseEventSubject = %v, %q, %v", gotKey, gotType, err)
	}
	if got := streams.LaneFilter(key, menu.LaneMenu); got != "menu.evt.public.0190a.menu.*" {
		t.Fatalf("LaneFilter = %q", got)
	}
}

func TestParseEventSubjectRejects(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 65)
	for _, subject := range []string{
		"", "menu.evt", "menu.evt.public.s.menu", "menu.evt.public.s.menu.submitted.x", "menu.evt.public.*.menu.submitted",
		"menu.evt.public.>", "menu.evt..s.menu.submitted", "menu.evt.public. .menu.submitted", "other.evt.public.s.menu.submitted",
		"menu.evt.public." + long + ".menu.submitted", "menu.evt.public.s.me nu.submitted", "menu.evt.public.s.menu.é",
	} {
		if _, _, err := streams.ParseEventSubject(subject); err == nil {
			t.Errorf("ParseEventSubject(%q) accepted", subject)
		}
	}
}

func TestWorkSubject(t *testing.T) {
	t.Parallel()
	if got := streams.WorkSubject("acme", menu.SearchEngine); got != "menu.work.acme.search_engine" {
		t.Errorf("WorkSubject = %q", got)
	}
	if got := streams.WorkFilter(menu.Allergen); got != "menu.work.*.allergen" {
		t.Errorf("WorkFilter = %q", got)
	}
	if got := streams.WorkQueue(menu.Allergen); got != "work-allergen" {
		t.Errorf("WorkQueue = %q", got)
	}
}

func TestChannelSubject(t *testing.T) {
	t.Parallel()
	key := menu.Key{Tenant: "public", Session: "s1"}
	subject, err := streams.ChannelSubject("sse", key, "progress")
	if err != nil || subject != "sse.public.s1.progress" {
		t.Fatalf("ChannelSubject = %q, %v", subject, err)
	}
	gotKey, name, err := streams.ParseChannelSubject("sse", subject)
	if err != nil || gotKey != key || name != "progress" {
		t.Fatalf("ParseChannelSubject = %v, %q, %v", gotKey, name, err)
	}
	if _, err := streams.ChannelSubject("sse", key, "a.b"); err == nil {
		t.Error("a name with a dot was accepted")
	}
}

// Whatever parses is formatted back to the same bytes, and no token of it can widen a filter.
func FuzzParseEventSubject(f *testing.F) {
	for _, seed := range []string{
		"menu.evt.public.s.menu.submitted", "menu.evt.*.s.menu.submitted", "menu.evt.public.>", "menu.evt.a b.s.menu.submitted",
		"menu.evt.public." + strings.Repeat("x", 64) + ".task6.failed", "....", "menu.evt.public.s.menu.sub\tmitted",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		key, typ, err := streams.ParseEventSubject(subject)
		if err != nil {
			return
		}
		if got := streams.EventSubject(key, typ); got != subject {
			t.Fatalf("%q came back as %q", subject, got)
		}
		if strings.ContainsAny(subject, "*> \t\r\n") {
			t.Fatalf("%q was accepted", subject)
		}
	})
}

package streams_test

import (
	"strings"
	"testing"

	"kondate/streams"
)

func TestParseSync(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"always", "default", "100ms", "1ms", "2m0s"} {
		if p, err := streams.ParseSync(good); err != nil || p.String() != good {
			t.Errorf("ParseSync(%q) = %s, %v", good, p, err)
		}
	}
	for _, bad := range []string{"", "Always", "never", "100", "0", "0s", "-1s", "1ns", "999us", "1h1"} {
		if p, err := streams.ParseSync(bad); err == nil {
			t.Errorf("ParseSync(%q) = %s, want an error", bad, p)
		}
	}
}

func TestDurability(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		replicas int
		sync     string
		want     []string
		not      string
	}{
		{1, "always", []string{"one copy", "before an event is acknowledged", "survives a power cut"}, "lose"},
		{3, "always", []string{"3 copies", "survives a power cut"}, "lose"},
		{1, "100ms", []string{"one copy", "every 100ms", "a power cut can lose"}, "survives a power cut"},
		{3, "default", []string{"3 copies", "2 minutes", "a power cut can lose"}, "survives a power cut"},
	} {
		policy, err := streams.ParseSync(c.sync)
		if err != nil {
			t.Fatal(err)
		}
		got := streams.Durability(c.replicas, policy)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%d replicas, sync %s: %q does not say %q", c.replicas, c.sync, got, want)
			}
		}
		if strings.Contains(got, c.not) {
			t.Errorf("%d replicas, sync %s: %q says %q", c.replicas, c.sync, got, c.not)
		}
	}
}

func FuzzParseSync(f *testing.F) {
	for _, seed := range []string{"always", "default", "100ms", "1ns", "", "9999999h", "-1ms", "1h1m1s1ms"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := streams.ParseSync(s)
		if err != nil {
			return
		}
		if again, err := streams.ParseSync(p.String()); err != nil || again != p {
			t.Errorf("ParseSync(%q) = %s, which parses as %s, %v", s, p, again, err)
		}
	})
}

package httpapi_test

import (
	"testing"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// The trace of a request goes into the log with its submission; what is no trace does not, and a later version of the header is read as this one.
func TestTraceParent(t *testing.T) {
	t.Parallel()
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	h := newHarness(t)
	for header, want := range map[string]string{trace: trace, trace + "x": "", "none": "", "ff" + trace[2:]: "", "01" + trace[2:]: trace} {
		posted := h.post(t, oneDish, "traceparent: "+header).accepted(t)
		entries, err := h.log.Load(t.Context(), menu.Key{Tenant: menu.DefaultTenant, Session: posted.SessionID})
		if err != nil {
			t.Fatal(err)
		}
		if got := entries[0].Header.Get(eventstore.HeaderTraceParent); got != want {
			t.Errorf("%q is recorded as %q, want %q", header, got, want)
		}
	}
}

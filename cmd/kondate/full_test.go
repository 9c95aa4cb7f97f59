package main

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"kondate/domain/menu"
	"kondate/streams"
)

// A full log takes no more menus and says so, short ones and those of several chunks alike; the stages hold on to their
// answers. When room is made, everything goes on: nothing is lost, no attempt is used up.
func TestFullLog(t *testing.T) {
	t.Parallel()
	s := startSystem(t, nil, "--nats-max-bytes", "600KB")
	cl := s.client()
	var sessions []accepted
	var refused *problem
	for refused == nil {
		answer, err := cl.submit(t.Context(), body(t, 10))
		if err != nil {
			if !errors.As(err, &refused) {
				t.Fatal(err)
			}
			break
		}
		sessions = append(sessions, answer)
	}
	if refused.Status != http.StatusInsufficientStorage || refused.Title != "The log is full" || refused.Detail == "" {
		t.Fatalf("a full log answers %+v", refused)
	}
	if _, err := cl.submit(t.Context(), body(t, 250)); !errors.As(err, &refused) || refused.Status != http.StatusInsufficientStorage {
		t.Errorf("a full log answers a menu of several chunks with %v", err)
	}
	t.Logf("full after %d menus", len(sessions))

	stream, err := s.js.Stream(t.Context(), streams.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxBytes = 1 << 30
	if _, err := s.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, answer := range sessions {
		if _, err := follow(ctx, cl, answer.StreamURL); err != nil {
			t.Fatal(err)
		}
		var row struct {
			Status menu.SessionStatus `json:"status"`
			Failed int                `json:"failed"`
		}
		if err := cl.call(ctx, http.MethodGet, "/v1/sessions/"+answer.SessionID, nil, &row); err != nil {
			t.Fatal(err)
		}
		if row.Status != menu.SessionCompleted || row.Failed != 0 {
			t.Errorf("session %s is %+v", answer.SessionID, row)
		}
	}
	if _, err := cl.submit(t.Context(), body(t, 250)); err != nil {
		t.Error(err)
	}
}

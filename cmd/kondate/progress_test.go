package main

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/handlers/stage"
)

// A reader of a session that takes its time is told how far it is, without an id: a reconnect does not bring it again.
// A session that takes too long expires, and its stream ends with that.
func TestProgressAndExpiryReachTheStream(t *testing.T) {
	t.Parallel()
	s := startSystem(t, everywhere(always{func(ctx context.Context, r stage.Request) (menu.Result, error) {
		if r.Stage == menu.Task8 {
			<-ctx.Done() // for ever
			return menu.Result{}, ctx.Err()
		}
		return scriptedResult(r), nil
	}}), "--processing-progress-update-interval", "100ms", "--processing-session-ttl", "2s")
	answer, err := s.client().submit(t.Context(), body(t, 4))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f := &follower{client: s.client(), url: answer.StreamURL, pause: 50 * time.Millisecond, attempts: 3, out: t.Logf}
	var (
		told  int
		types = map[string]int{}
		end   struct {
			Reason string `json:"reason"`
		}
	)
	err = f.run(ctx, func(fr frame) error {
		types[fr.event]++
		switch fr.event {
		case "progress":
			var p struct {
				SessionID  string `json:"session_id"`
				Items      int    `json:"items"`
				Unanswered int    `json:"unanswered"`
			}
			if err := json.Unmarshal([]byte(fr.data), &p); err != nil {
				return err
			}
			if p.SessionID == answer.SessionID && p.Items == 4 && p.Unanswered == 4 {
				told++
			}
		case "end":
			return json.Unmarshal([]byte(fr.data), &end)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if told == 0 || types["menu.expired"] != 1 || end.Reason != "expired" {
		t.Errorf("%d right progress messages, the stream ended with %q and had %v", told, end.Reason, types)
	}
}

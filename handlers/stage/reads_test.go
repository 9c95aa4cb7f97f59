package stage_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
	"kondate/streams"
)

// heldLog counts the reads of one lane, and holds them until it is let go.
type heldLog struct {
	*eventstore.JetStream

	lane  menu.Lane
	held  chan struct{}
	reads atomic.Int64
}

func (l *heldLog) LoadLane(ctx context.Context, key menu.Key, lane menu.Lane, after uint64) ([]eventstore.Entry, error) {
	select {
	case <-l.held:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if lane == l.lane {
		l.reads.Add(1)
	}
	return l.JetStream.LoadLane(ctx, key, lane, after)
}

// The chunks of a long menu that come at once, and may have been answered before, share what they read, so
// that a menu of twice the length is not read four times as often. Each dish is asked for once.
func TestChunksShareTheirReads(t *testing.T) {
	t.Parallel()
	const chunks, each = 40, 5
	s := newSite(t)
	key := menu.Key{Tenant: menu.DefaultTenant, Session: "long"}
	events, err := menu.Submit(menu.Session{Key: key}, menu.SubmitMenu{Title: "test", SourceLanguage: "ja", TargetLanguage: "en", Items: items(chunks * each), ChunkItems: each})
	if err != nil {
		t.Fatal(err)
	}
	proposed := make([]eventstore.Proposed, len(events))
	for i, e := range events {
		proposed[i] = eventstore.Proposed{Event: e, Time: time.Now().Add(-time.Hour)} // so old that somebody may have answered
	}
	if _, err := s.store.AppendMenu(t.Context(), key, 0, proposed...); err != nil {
		t.Fatal(err)
	}
	log := &heldLog{JetStream: s.store, lane: menu.Allergen.Lane(), held: make(chan struct{})}
	provider := &scripted{answer: answerOK}
	cfg := config(provider)
	s.patient()(&cfg)
	_, stop := start(t, log, streams.NewRetries(s.js), consumers(s.js), cfg)
	t.Cleanup(stop)
	s.inHand(menu.Allergen, chunks)
	close(log.held)
	s.idle(false)
	if n := log.reads.Load(); n < 1 || n > chunks/2 {
		t.Errorf("%d deliveries of one session read its lane %d times", chunks, n)
	}
	if asked := len(provider.asked()); asked != chunks*each*menu.StageCount {
		t.Errorf("the provider was asked %d times for %d dishes", asked, chunks*each)
	}
}

// inHand waits until a stage has taken a number of deliveries.
func (s *site) inHand(st menu.Stage, n int) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		backlogs, err := streams.Backlogs(ctx, s.js)
		if err != nil {
			s.tb.Fatal(err)
		}
		if backlogs[st].InHand >= n {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.tb.Fatalf("stage %s has %d deliveries in hand, want %d", st, backlogs[st].InHand, n)
		}
	}
}

var _ stage.Log = (*heldLog)(nil)

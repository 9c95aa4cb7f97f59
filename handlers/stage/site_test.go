package stage_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
	"kondate/streams"
	"kondate/streams/natstest"
)

// patience is how long a test waits for what must happen before it fails; beside others it may take its time.
const patience = 3 * time.Minute

// site is a broker with the log and the stages' consumers.
type site struct {
	tb    testing.TB
	srv   *natstest.Server
	js    jetstream.JetStream
	store *eventstore.JetStream
}

func newSite(tb testing.TB) *site {
	tb.Helper()
	return siteOn(tb, natstest.New(tb))
}

func siteOn(tb testing.TB, srv *natstest.Server) *site {
	tb.Helper()
	js := srv.JetStream()
	return &site{tb: tb, srv: srv, js: js, store: eventstore.NewJetStream(js, eventstore.Config{Logger: config(nil).Logger})}
}

// start runs another process of stages: an engine on connections of its own.
func (s *site) start(p stage.Provider, change ...func(*stage.Config)) (engine *stage.Engine, stop func()) {
	s.tb.Helper()
	cfg := config(p)
	cfg.AckWait = natstest.AckWait
	for _, fn := range change {
		fn(&cfg)
	}
	js := s.srv.JetStream()
	engine, stop = start(s.tb, eventstore.NewJetStream(s.srv.JetStream(), eventstore.Config{Logger: cfg.Logger}), streams.NewRetries(js), consumers(js), cfg)
	s.tb.Cleanup(stop)
	return engine, stop
}

func consumers(js jetstream.JetStream) func(context.Context, string) (jetstream.Consumer, error) {
	return func(ctx context.Context, name string) (jetstream.Consumer, error) {
		return streams.OpenConsumer(ctx, js, name)
	}
}

func (s *site) submit(session menu.SessionID, n int) menu.Key {
	s.tb.Helper()
	key := menu.Key{Tenant: menu.DefaultTenant, Session: session}
	if _, err := s.store.AppendMenu(s.tb.Context(), key, 0, submission(s.tb, key, n)...); err != nil {
		s.tb.Fatal(err)
	}
	return key
}

var errEnough = errors.New("enough")

// until follows the log after a sequence and returns what it holds once enough says so of everything folded so far.
func (s *site) until(after uint64, enough func(sessions map[menu.Key]menu.Session) bool) []eventstore.Entry {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), patience)
	defer cancel()
	var history []eventstore.Entry
	sessions := map[menu.Key]menu.Session{}
	err := s.store.Follow(ctx, after, func(_ context.Context, page []eventstore.Entry) error {
		for _, entry := range page {
			history = append(history, entry)
			if entry.Event != nil {
				sessions[entry.Key] = menu.Evolve(sessions[entry.Key], entry.Recorded)
			}
		}
		if enough(sessions) {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		for key, session := range sessions {
			s.tb.Logf("%s: %d answers are missing", key, session.Unanswered())
		}
		s.tb.Fatal(err)
	}
	return history
}

// answered waits until every stage of every dish of a session has its answer.
func (s *site) answered(key menu.Key) []eventstore.Entry {
	s.tb.Helper()
	return s.answeredAfter(0, key)
}

func (s *site) answeredAfter(after uint64, key menu.Key) []eventstore.Entry {
	s.tb.Helper()
	return s.until(after, func(sessions map[menu.Key]menu.Session) bool {
		return sessions[key].Exists() && sessions[key].Unanswered() == 0
	})
}

// idle waits until no stage has anything to do: everything is delivered and acknowledged, and no attempt waits for its
// time unless that is expected.
func (s *site) idle(waiting bool) {
	s.tb.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(s.tb.Context(), patience)
	defer cancel()
	for _, st := range menu.Stages() {
		for _, name := range []string{streams.StageConsumer(st), streams.RequestConsumer(st), streams.RetryConsumer(st)} {
			for {
				consumer, err := streams.OpenConsumer(ctx, s.js, name)
				if err != nil {
					s.tb.Fatal(err)
				}
				info := consumer.CachedInfo()
				if info.NumPending == 0 && info.NumAckPending == 0 {
					break
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
					s.tb.Fatalf("%s has %d messages pending and %d not acknowledged", name, info.NumPending, info.NumAckPending)
				}
			}
		}
	}
	retries, err := s.js.Stream(ctx, streams.RetryStream)
	if err != nil {
		s.tb.Fatal(err)
	}
	if n := retries.CachedInfo().State.Msgs; n > 0 && !waiting {
		s.tb.Fatalf("%d attempts still wait", n)
	}
}

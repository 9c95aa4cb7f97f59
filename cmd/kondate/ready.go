package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kondate/handlers/httpapi"
	"kondate/handlers/sse"
	"kondate/handlers/stage"
	"kondate/projections"
	"kondate/streams"
)

const (
	// standstill is how long a part may get nothing done, with work before it, until it counts as not ready.
	standstill = 30 * time.Second
	// silence is how long no pull of a stage's consumer may succeed until it counts as not fetched.
	silence = 10 * time.Second
	// tailPause is the pause between two looks at the tail of the streams.
	tailPause = 50 * time.Millisecond
	// nearlyFull is the share of the log's room that is worth a word.
	nearlyFull = 0.9
)

var errStarting = httpapi.Unready(nil, "it has not begun yet")

// checkLogState is the check of the log: it takes appends, as far as its leader knows.
func (a *app) checkLogState(ctx context.Context) (httpapi.PartState, error) {
	s, err := streams.LookAtLog(ctx, a.js)
	for _, known := range []error{streams.ErrNotConnected, streams.ErrNoLeader} {
		if errors.Is(err, known) {
			return httpapi.PartState{}, httpapi.Unready(err, "%v", known)
		}
	}
	if err != nil {
		return httpapi.PartState{}, err
	}
	state := httpapi.PartState{State: httpapi.StateReady, Figures: map[string]float64{
		"last_sequence": float64(s.LastSeq), "messages": float64(s.Messages), "bytes": float64(s.Bytes), "max_bytes": float64(s.MaxBytes),
		"subjects": float64(s.Subjects), "replicas": float64(s.Replicas),
	}}
	note := func(format string, args ...any) { state.Notes = append(state.Notes, fmt.Sprintf(format, args...)) }
	if len(s.Offline) > 0 {
		note("copies of the log are away: %s", strings.Join(s.Offline, ", "))
	}
	if len(s.Lagging) > 0 {
		note("copies of the log are not up to date: %s", strings.Join(s.Lagging, ", "))
	}
	if s.MaxBytes > 0 && float64(s.Bytes) > nearlyFull*float64(s.MaxBytes) {
		note("the log has %d of %d bytes: raise nats.max_bytes or archive old sessions", s.Bytes, s.MaxBytes)
	}
	if s.Subjects > streams.MaxSubjects {
		note("the log has %d subjects, above %d the broker gets slow: archive old sessions", s.Subjects, streams.MaxSubjects)
	}
	return state, nil
}

// check is that of the projector: it works, or it could if the one that works went away.
func (w projectorWatch) check(ctx context.Context) (httpapi.PartState, error) {
	s := w.projector.Status()
	switch s.State {
	case projections.ProjectorStarting:
		return httpapi.PartState{}, errStarting
	case projections.ProjectorFailing:
		return httpapi.PartState{}, httpapi.Unready(s.Err, "it cannot work and tries again")
	case projections.ProjectorStandby, projections.ProjectorActive:
	}
	if !s.PageSince.IsZero() && time.Since(s.PageSince) > standstill {
		return httpapi.PartState{}, httpapi.Unready(nil, "one page has been at work for %s", time.Since(s.PageSince).Round(time.Second))
	}
	l, err := w.lag(ctx)
	if err != nil {
		return httpapi.PartState{}, err
	}
	if leads, err := w.projector.Leads(ctx); err != nil || !leads && s.State == projections.ProjectorActive {
		return httpapi.PartState{}, httpapi.Unready(err, "it lost its connection to Postgres, and with it the lead")
	}
	idle := time.Since(later(s.StateAt, s.WrittenAt))
	if s.State == projections.ProjectorActive && min(l.age, idle) > standstill {
		return httpapi.PartState{}, httpapi.Unready(nil, "the rows are %d events behind, and nothing was written for %s", l.events, idle.Round(time.Second))
	}
	return httpapi.PartState{State: string(s.State), Figures: map[string]float64{
		"checkpoint": float64(l.checkpoint), "lag_events": float64(l.events), "lag_seconds": l.age.Seconds(),
	}}, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// stagesWatch looks at the stages of this process.
type stagesWatch struct {
	engine     *stage.Engine
	deliveries jetstream.JetStream
}

// check is that of the stages: their consumers are there, and are asked for work. What somebody paused and a provider that
// is away hold dishes up, but a process that were restarted for it would do no better.
func (w stagesWatch) check(ctx context.Context) (httpapi.PartState, error) {
	backlogs, err := streams.ConsumerBacklogs(ctx, w.deliveries)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return httpapi.PartState{}, httpapi.Unready(nil, "%v", err) // it names the consumer, and nobody's address
	}
	if err != nil {
		return httpapi.PartState{}, err
	}
	pulls := w.engine.Pulls()
	state := httpapi.PartState{State: httpapi.StateReady, Figures: map[string]float64{}}
	for _, b := range backlogs {
		for _, consumer := range b.Consumers {
			pull, begun := pulls[consumer.Name]
			if err := fetched(consumer.Name, pull, begun); err != nil {
				return httpapi.PartState{}, err
			}
		}
		switch {
		case !b.Paused:
		case b.PausedUntil.IsZero():
			state.Notes = append(state.Notes, fmt.Sprintf("stage %s is paused until somebody resumes it", b.Stage))
		default:
			state.Notes = append(state.Notes, fmt.Sprintf("stage %s is paused until %s", b.Stage, b.PausedUntil.UTC().Format(time.RFC3339)))
		}
		state.Figures["pending"] += float64(b.Pending)
		state.Figures["in_hand"] += float64(b.InHand)
	}
	for _, r := range w.engine.Reports() {
		if r.Circuit != "" && r.Circuit != stage.CircuitClosed {
			state.Notes = append(state.Notes, fmt.Sprintf("stage %s: the circuit to the provider %s is %s", r.Stage, r.Provider, r.Circuit))
		}
	}
	return state, nil
}

// fetched says why a consumer is not asked for work.
func fetched(consumer string, p streams.Pull, begun bool) error {
	switch {
	case !begun, p.GoodAt.IsZero() && p.Err == nil:
		return httpapi.Unready(nil, "consumer %s: it has not been asked for work yet", consumer)
	case p.Busy, time.Since(p.GoodAt) < silence:
		return nil
	case p.Err != nil:
		return httpapi.Unready(p.Err, "consumer %s: it is asked for work in vain", consumer)
	}
	return httpapi.Unready(nil, "consumer %s: it was not asked for work for %s", consumer, time.Since(p.GoodAt).Round(time.Second))
}

// streamsWatch looks at the session streams of this process.
type streamsWatch struct {
	hub    *sse.Hub
	newest func(context.Context) (uint64, error) // event of the log
}

// check is that of the streams: they are taken, and their tail comes to where the log is.
func (w streamsWatch) check(ctx context.Context) (httpapi.PartState, error) {
	// Once and before the tail: under steady appends it is always a little behind the newest. The newest event and not the
	// last sequence: what was erased at the end is not waited for.
	newest, err := w.newest(ctx)
	if err != nil {
		return httpapi.PartState{}, err
	}
	for {
		state, head := w.hub.State()
		switch state {
		case sse.StateStarting:
			return httpapi.PartState{}, errStarting
		case sse.StateClosing:
			return httpapi.PartState{}, httpapi.Unready(nil, "they are being closed: the process stops")
		case sse.StateFollowing:
		}
		if head >= newest {
			stats := w.hub.Stats()
			return httpapi.PartState{State: string(state), Figures: map[string]float64{"head": float64(head), "open": float64(stats.Open), "max": float64(stats.Max)}}, nil
		}
		select {
		case <-time.After(tailPause):
		case <-ctx.Done():
			return httpapi.PartState{}, httpapi.Unready(nil, "their tail stands at event %d, the log at %d", head, newest)
		}
	}
}

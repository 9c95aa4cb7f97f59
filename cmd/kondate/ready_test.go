package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"kondate/domain/menu"
	"kondate/handlers/sse"
	"kondate/projections"
	"kondate/projections/pgtest"
	"kondate/projections/postgres"
	"kondate/streams"
	"kondate/streams/natstest"
)

// state returns that of a part; empty: the answer does not have it.
func (r readyAnswer) state(part string) string {
	for _, p := range r.Parts {
		if p.Name == part {
			return p.State
		}
	}
	return ""
}

// noted says whether a part says something.
func (r readyAnswer) noted(part, text string) bool {
	for _, p := range r.Parts {
		if p.Name == part && slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, text) }) {
			return true
		}
	}
	return false
}

// refuses says whether a part is named as not ready, for a reason with the text.
func (r readyAnswer) refuses(part, text string) bool {
	for _, e := range r.Errors {
		if e.Field == part && strings.Contains(e.Problem, text) {
			return true
		}
	}
	return false
}

// /readyz names the part that cannot work, in every role, and is well again when the part is. What somebody paused, a
// provider that is away and a standby are told of, and are ready.
func TestReadinessOfEachPart(t *testing.T) {
	t.Parallel()
	broker := natstest.NewWith(t, streams.ServerConfig{Listen: "127.0.0.1:0"})
	db, err := postgres.Start(t.Context(), postgres.Config{Dir: pgtest.Dir(t), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			_ = db.Stop(context.WithoutCancel(t.Context())) // the test has failed
		}
	})
	start := func(roles ...string) *system {
		return startSystemWith(t, roles, nil, "--nats-url", broker.URL(), "--database-url", db.URL(),
			"--stages-allergen-provider", "external", "--external-failures-to-open", "1", "--external-cooldown", "1h")
	}
	active := start(roleProjector)
	active.awaitReady(t, func(r readyAnswer, status int) bool { return isReady(r, status) && r.state("projector") == "active" })
	standby, stages, api := start(roleProjector), start(roleStages), start(roleAPI)
	standby.awaitReady(t, func(r readyAnswer, status int) bool { return isReady(r, status) && r.state("projector") == "standby" })
	all := []*system{active, standby, stages, api}
	for _, s := range all {
		r := s.awaitReady(t, isReady)
		if r.state("log") != "ready" || r.state("postgres") != "ready" || !strings.Contains(r.Durability, "copies of the log") {
			t.Errorf("%+v", r)
		}
	}
	if r := api.awaitReady(t, isReady); r.state("streams") != "following" || r.state("projector") != "" {
		t.Errorf("the api says %+v", r)
	}
	if n := active.scrape(t).value(t, "kondate_projector_active") + standby.scrape(t).value(t, "kondate_projector_active"); n != 1 {
		t.Errorf("%v projectors are active", n)
	}

	if err := streams.PauseStage(t.Context(), broker.JetStream(), menu.Task7, 0); err != nil {
		t.Fatal(err)
	}
	stages.awaitReady(t, func(r readyAnswer, status int) bool {
		return isReady(r, status) && r.noted("stages", "task7 is paused until somebody resumes it")
	})
	if _, err := api.client().submit(t.Context(), body(t, 1)); err != nil {
		t.Fatal(err)
	}
	stages.awaitReady(t, func(r readyAnswer, status int) bool {
		return isReady(r, status) && r.noted("stages", "allergen: the circuit to the provider external is open")
	})
	got := stages.scrape(t)
	for name, labels := range map[string][]string{
		"kondate_stage_circuit":          {"stage=allergen", "state=open"},
		"kondate_stage_consumer_paused":  {"stage=task7", "consumer=log"},
		"kondate_stage_consumer_pending": {"stage=task7", "consumer=log"},
	} {
		if v := got.value(t, name, labels...); v != 1 {
			t.Errorf("%s%v is %v", name, labels, v)
		}
	}

	broker.Stop()
	for _, s := range all {
		s.awaitReady(t, func(r readyAnswer, _ int) bool { return r.refuses("log", "no connection to NATS") })
		if s.ask(t, "/healthz", "").status != http.StatusOK {
			t.Error("the process is told to be dead because the broker is")
		}
	}
	if got := api.scrape(t); got.value(t, "kondate_log_up") != 0 || got.value(t, "kondate_nats_connected", "connection=api") != 0 || got["kondate_log_bytes"] != nil {
		t.Error("the metrics know better than the broker that is away")
	}
	broker.Restart()
	for _, s := range all {
		s.awaitReady(t, isReady)
	}
	if n := api.scrape(t).value(t, "kondate_nats_reconnects_total", "connection=append"); n != 1 {
		t.Errorf("%v reconnects", n)
	}

	consumer := streams.StageConsumer(menu.Task8)
	if err := broker.JetStream().DeleteConsumer(t.Context(), streams.EventStream, consumer); err != nil {
		t.Fatal(err)
	}
	stages.awaitReady(t, func(r readyAnswer, _ int) bool { return r.refuses("stages", consumer) })

	stopped = true
	if err := db.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		s.awaitReady(t, func(r readyAnswer, _ int) bool { return len(r.Errors) > 0 && r.refuses("postgres", "") })
	}
	active.awaitReady(t, func(r readyAnswer, _ int) bool { return r.refuses("projector", "") })
	if got := active.scrape(t); got.value(t, "kondate_projector_active") != 0 || got["kondate_projector_lag_events"] != nil {
		t.Error("the metrics know better than the database that is away")
	}
}

// Under steady appends the tail of the streams is always behind the newest event, and they are ready.
func TestReadinessUnderSteadyAppends(t *testing.T) {
	t.Parallel()
	s := startSystemWith(t, []string{roleAPI}, nil)
	store := s.log()
	hub, err := sse.NewHub(store, projections.NewQueries(s.pool), streams.NewChannel(s.js.Conn(), "sse"), sse.Config{
		MaxConnections: 1, KeepaliveInterval: time.Second, MaxEventSize: 1 << 20, ReconnectInterval: time.Second, Incarnation: "one",
		Tenant: func(*fiber.Ctx) menu.Tenant { return menu.DefaultTenant }, Now: time.Now, Logger: s.app.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	waitFor(t, func() bool { state, _ := hub.State(); return state == sse.StateFollowing })
	w := streamsWatch{hub, func(ctx context.Context) (uint64, error) { // each time it is asked, there is another one
		if _, err := s.client().submit(ctx, body(t, 1)); err != nil {
			return 0, err
		}
		return store.Newest(ctx)
	}}
	looking, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	if _, err := w.check(looking); err != nil {
		t.Error(err)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
	"kondate/handlers/stage/external"
	"kondate/streams"
)

// startWorker answers the allergen stage over a connection of its own until the test ends or stop is called.
func startWorker(t *testing.T, url string, options ...nats.Option) (stop func()) {
	t.Helper()
	nc, err := nats.Connect(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	_, err = nc.QueueSubscribe(streams.WorkFilter(menu.Allergen), streams.WorkQueue(menu.Allergen), func(m *nats.Msg) {
		var request struct {
			Items []menu.Item `json:"items"`
		}
		if err := json.Unmarshal(m.Data, &request); err != nil {
			t.Errorf("request %s: %v", m.Data, err)
		}
		var results []string
		for _, item := range request.Items {
			results = append(results, fmt.Sprintf(`{"menu_id":%q,"result":{"stage":"allergen","status":"unknown","provider":"their-worker",`+
				`"provider_version":"7","basis":"none","confidence":0,"data":{"allergens":[],"by_standard":{"jp":[],"eu":[],"us":[]},`+
				`"completeness":"unknown","declared_by_restaurant":[],"ask_staff":{"ja":"?","translated":"?"},"disclaimer":"theirs"}}}`, item.ID))
		}
		r := nats.NewMsg(m.Reply)
		r.Header.Set(external.HeaderFinal, external.FinalValue)
		r.Data = []byte(`{"results":[` + strings.Join(results, ",") + `]}`)
		_ = m.RespondMsg(r) // after the test
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return nc.Close
}

// A worker of another team answers one stage; while it is away its dishes wait, and none is parked.
func TestExternalWorker(t *testing.T) {
	t.Parallel()
	s := startSystem(t, nil, "--stages-allergen-provider", "external", "--nats-listen", "127.0.0.1:0",
		"--processing-retry-delay", "200ms", "--processing-retry-attempts", "50")
	const dishes = 5
	url := s.broker.URL()
	submit := func() string {
		answer, err := s.client().submit(t.Context(), body(t, dishes))
		if err != nil {
			t.Fatal(err)
		}
		return answer.SessionID
	}
	check := func(session string, attempts bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, err := follow(ctx, s.client(), "/v1/sessions/"+session+"/events"); err != nil {
			t.Fatal(err)
		}
		entries := logOf(t, s.log(), session)
		checkRows(t, s.client(), session, entries)
		rows, err := s.client().rows(t.Context(), session, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			state := r.Stages[menu.Allergen]
			if state.Provider != "their-worker" || (state.Attempts > 1) != attempts || !strings.Contains(string(*r.Columns[menu.Allergen]), `"theirs"`) {
				t.Errorf("dish %s: %+v", r.ID, state)
			}
			if other := r.Stages[menu.Ingredient].Provider; other != "local" {
				t.Errorf("dish %s: ingredient by %q", r.ID, other)
			}
		}
	}
	stop := startWorker(t, url)
	check(submit(), false)

	stop()
	away := submit()
	waitFor(t, func() bool {
		for _, e := range logOf(t, s.log(), away) {
			if f, ok := e.Event.(menu.StageAttemptFailed); ok {
				if f.Reason != external.ReasonNoResponders || f.Provider != external.Name {
					t.Errorf("failure %+v", f)
				}
				return true
			}
		}
		return false
	})
	startWorker(t, url)
	check(away, true)
	for _, e := range logOf(t, s.log(), away) {
		if _, parked := e.Event.(menu.StageFailed); parked {
			t.Errorf("parked: %+v", e.Event)
		}
	}
}

func TestConformCommand(t *testing.T) {
	t.Parallel()
	s := startSystem(t, nil, "--nats-listen", "127.0.0.1:0")
	conform := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := run(t.Context(), environment{
			args: append([]string{"stages", "conform"}, args...), getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: &out, stderr: &out,
		})
		return code, out.String()
	}
	if code, out := conform("allergen", "--data-dir", s.cfg.DataDir); code != exitFailed || !strings.Contains(out, "nobody listens on menu.work.public.allergen") {
		t.Errorf("without a worker: exit %d\n%s", code, out)
	}
	startWorker(t, s.broker.URL())
	if code, out := conform("allergen", "--data-dir", s.cfg.DataDir, "--timeout", "30s"); code != exitOK || strings.Count(out, "passed ") != 17 {
		t.Errorf("beside serve: exit %d\n%s", code, out)
	}
	code, out := conform("allergen", "--nats-url", s.broker.URL(), "--tenant", "acme", "--json")
	var report external.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitOK || !report.OK() || report.Subject != "menu.work.acme.allergen" {
		t.Errorf("by URL: exit %d, %v\n%s", code, err, out)
	}
	for want, args := range map[string][]string{
		"there is no stage": {"soup"}, "--tenant": {"allergen", "--tenant", "a.b"}, "--timeout": {"allergen", "--timeout", "0s"},
	} {
		if code, out := conform(args...); code != exitUsage || !strings.Contains(out, want) {
			t.Errorf("%v: exit %d\n%s", args, code, out)
		}
	}
	if code, out := conform("allergen", "--data-dir", t.TempDir()); code != exitFailed || !strings.Contains(out, "--nats-url") {
		t.Errorf("beside nothing: exit %d\n%s", code, out)
	}
}

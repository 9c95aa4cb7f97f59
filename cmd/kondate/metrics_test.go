package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"kondate/domain/menu"
	"kondate/handlers/stage"
	"kondate/handlers/stage/commons"
	"kondate/handlers/stage/external"
	"kondate/handlers/stage/openai"
)

// scrape is what GET /metrics says, by name.
type scrape map[string]*dto.MetricFamily

func (s *system) scrape(t *testing.T) scrape {
	t.Helper()
	got := s.ask(t, "/metrics", s.running.Key)
	if got.status != http.StatusOK {
		t.Fatalf("metrics: %+v", got)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(got.body))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// value adds up the samples of a metric that have the labels, given as name=value: values, or counts of observations.
func (s scrape) value(t *testing.T, name string, labels ...string) (sum float64) {
	t.Helper()
	found := false
	for _, m := range s[name].GetMetric() {
		has := map[string]bool{}
		for _, l := range m.GetLabel() {
			has[l.GetName()+"="+l.GetValue()] = true
		}
		if slices.ContainsFunc(labels, func(l string) bool { return !has[l] }) {
			continue
		}
		found = true
		sum += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount()) + float64(m.GetSummary().GetSampleCount())
	}
	if !found {
		t.Errorf("there is no %s with %v", name, labels)
	}
	return sum
}

// moody refuses the first dish of a menu for a reason of its own.
func moody() map[menu.Stage]stage.Provider {
	return everywhere(always{func(_ context.Context, r stage.Request) (menu.Result, error) {
		if r.Item.Position == 0 {
			return menu.Result{}, &stage.Error{Reason: "the cook is away until " + r.Item.Name, Permanent: true, Err: errors.New("asked in vain")}
		}
		return scriptedResult(r), nil
	}})
}

// What a server exports after a menu ran through is what happened, and what docs/metrics.md says that there is.
func TestMetrics(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "nats", time.Hour)
	s := startSystem(t, moody(), "--auth-mode", "keys", "--nats-tls-cert", cert, "--nats-tls-key", key)
	cl := s.client()
	const dishes = 3
	answer, err := cl.submit(t.Context(), body(t, dishes))
	if err != nil {
		t.Fatal(err)
	}
	seqs, err := follow(t.Context(), cl, answer.StreamURL)
	if err != nil {
		t.Fatal(err)
	}
	last := seqs[len(seqs)-1]
	if _, err := cl.rows(t.Context(), answer.SessionID, last); err != nil {
		t.Fatal(err)
	}
	s.ask(t, "/v1/nothing", s.running.Key)
	if _, err := s.pool.Exec(t.Context(), "select public.create_version('building', 'a rebuild that was stopped')"); err != nil {
		t.Fatal(err)
	}
	got := s.scrape(t)
	for _, want := range []struct {
		name   string
		labels []string
		value  float64
	}{
		{"kondate_build_info", nil, 1},
		{"kondate_role", nil, 3},
		{"kondate_tls_certificate_expiry_timestamp_seconds", []string{"setting=nats.tls_cert"}, float64(expiry(t, cert))},
		{"kondate_http_requests_total", []string{"method=POST", "route=/v1/sessions", "code=2xx"}, 1},
		{"kondate_http_requests_total", []string{"method=GET", "route=/v1/sessions/:id/events", "code=2xx"}, 1},
		{"kondate_http_requests_total", []string{"method=GET", "route=none", "code=4xx"}, 1},
		{"kondate_http_request_seconds", []string{"method=POST", "route=/v1/sessions"}, 1},
		{"kondate_nats_connected", nil, 5},
		{"kondate_nats_reconnects_total", nil, 0},
		{"kondate_log_info", []string{"broker=embedded", "sync=always"}, 1},
		{"kondate_log_up", nil, 1},
		{"kondate_log_messages", nil, float64(last)},
		{"kondate_log_last_sequence", nil, float64(last)},
		{"kondate_log_max_bytes", nil, 4 << 30},
		{"kondate_log_subjects", nil, 2 + 2*menu.StageCount},
		{"kondate_log_max_subjects", nil, 1_000_000},
		{"kondate_log_max_consumers", nil, 1000},
		{"kondate_log_replicas", nil, 1},
		{"kondate_log_replicas_offline", nil, 0},
		{"kondate_log_appends_total", []string{"part=api", "answer=committed"}, 1},
		{"kondate_log_appends_total", []string{"part=projector", "answer=committed"}, 1},
		{"kondate_log_appends_total", []string{"answer=committed"}, float64(last)},
		{"kondate_log_appends_total", []string{"answer=failed"}, 0},
		{"kondate_log_append_seconds", nil, float64(last)},
		{"kondate_log_append_events", nil, float64(last)},
		{"kondate_log_read_backs_total", nil, 0},
		{"kondate_projector_active", nil, 1},
		{"kondate_projector_checkpoint", nil, float64(last)},
		{"kondate_projector_lag_events", nil, 0},
		{"kondate_projector_lag_seconds", nil, 0},
		{"kondate_projector_completions_total", nil, 1},
		{"kondate_projector_errors_total", nil, 0},
		{"kondate_projector_last_error_timestamp_seconds", nil, 0},
		{"kondate_projector_rebuild_checkpoint", nil, 0},
		{"kondate_stage_calls_total", []string{"stage=allergen", "provider=scripted", "outcome=ok"}, dishes - 1},
		{"kondate_stage_calls_total", []string{"stage=allergen", "provider=scripted", "outcome=failed"}, 1},
		{"kondate_stage_call_duration_seconds", nil, dishes * menu.StageCount},
		{"kondate_stage_dishes_total", []string{"event=completed"}, (dishes - 1) * menu.StageCount},
		{"kondate_stage_dishes_total", []string{"event=failed"}, menu.StageCount},
		{"kondate_stage_dishes_total", []string{"event=attempt_failed"}, 0},
		{"kondate_stage_failures_total", []string{"reason=other"}, menu.StageCount},
		{"kondate_stage_circuit", []string{"state=closed"}, menu.StageCount},
		{"kondate_stage_circuit", []string{"state=open"}, 0},
		{"kondate_stage_in_flight", nil, 0},
		{"kondate_stage_queued", nil, 0},
		{"kondate_stage_consumer_pending", nil, 0},
		{"kondate_stage_consumer_paused", nil, 0},
		{"kondate_stage_retries_waiting", nil, 0},
		{"kondate_parked_dishes", []string{"reason=other"}, menu.StageCount},
		{"kondate_streams_max", nil, 1000},
		{"kondate_streams_opened_total", nil, 1},
		{"kondate_streams_resumed_total", nil, 0},
		{"kondate_streams_events_total", nil, float64(last)},
		{"kondate_streams_head", nil, float64(last)},
	} {
		if v := got.value(t, want.name, want.labels...); v != want.value {
			t.Errorf("%s%v is %v, want %v", want.name, want.labels, v, want.value)
		}
	}
	for _, name := range []string{"kondate_log_bytes", "kondate_log_consumers", "kondate_log_appended_bytes_total", "kondate_parked_oldest_seconds", "kondate_projector_page_seconds", "kondate_postgres_max_connections"} {
		if got.value(t, name) <= 0 {
			t.Errorf("%s is not above 0", name)
		}
	}
	if sum := got["kondate_projector_page_events"].GetMetric()[0].GetHistogram().GetSampleSum(); sum != float64(last) {
		t.Errorf("the projector's pages held %v events, want %d", sum, last)
	}
	documented(t, got)
}

// expiry reads from a file when its certificate expires.
func expiry(t *testing.T, file string) int64 {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate.NotAfter.Unix()
}

// documented holds the tables of docs/metrics.md against a scrape, both ways.
func documented(t *testing.T, got scrape) {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	row, name := regexp.MustCompile("(?m)^\\| `(kondate_[a-z_]+)` \\| ([a-z]+) \\| ([^|]+) \\|"), regexp.MustCompile("`([a-z]+)`")
	told := map[string]bool{}
	for _, r := range row.FindAllStringSubmatch(string(page), -1) {
		told[r[1]] = true
		family := got[r[1]]
		if family == nil {
			t.Errorf("docs/metrics.md tells of %s, which is not exported", r[1])
			continue
		}
		if kind := strings.ToLower(family.GetType().String()); kind != r[2] {
			t.Errorf("%s is a %s, docs/metrics.md says %s", r[1], kind, r[2])
		}
		var have, want []string
		for _, l := range family.GetMetric()[0].GetLabel() {
			have = append(have, l.GetName())
		}
		for _, l := range name.FindAllStringSubmatch(r[3], -1) {
			want = append(want, l[1])
		}
		slices.Sort(have)
		slices.Sort(want)
		if !slices.Equal(have, want) {
			t.Errorf("%s has the labels %v, docs/metrics.md says %v", r[1], have, want)
		}
	}
	for n := range got {
		if strings.HasPrefix(n, "kondate_") && !told[n] {
			t.Errorf("%s is exported, docs/metrics.md does not tell of it", n)
		}
	}
}

// Whatever a provider of this program gives as a reason is a class of its own.
func TestReasonsAreClasses(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{
		stage.ReasonError, stage.ReasonTimeout, stage.ReasonPanic, stage.ReasonInvalidResult, stage.ReasonTooLarge,
		commons.ReasonUnreachable, commons.ReasonRateLimited, external.ReasonNoResponders, external.ReasonIncomplete,
		openai.ReasonRateLimited, openai.ReasonQuota, openai.ReasonUnauthorized, openai.ReasonMisconfigured, openai.ReasonUnreachable,
		openai.ReasonServerError, openai.ReasonBadRequest, openai.ReasonTooLong, openai.ReasonRefused, openai.ReasonCut,
	} {
		if got := stage.ReasonClass(reason); got != reason {
			t.Errorf("%s counts as %s", reason, got)
		}
	}
	if got := stage.ReasonClass("the cook is away"); got != "other" {
		t.Errorf("a worker's own reason counts as %s", got)
	}
}

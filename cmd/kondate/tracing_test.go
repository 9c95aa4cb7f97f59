package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
	"kondate/projections/pgtest"
	"kondate/streams"
)

const (
	callersTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan   = "00f067aa0ba902b7"
	callersParent = "00-" + callersTrace + "-" + callersSpan + "-01"
)

// submitTraced posts a menu as part of a trace; of none for "".
func submitTraced(t *testing.T, base string, menu []byte, parent string) accepted {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/v1/sessions", bytes.NewReader(menu))
	if err != nil {
		t.Fatal(err)
	}
	if parent != "" {
		req.Header.Set("traceparent", parent)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Request-Id", "the-request")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusAccepted {
		t.Fatalf("%d, %v: %s", res.StatusCode, err, raw)
	}
	var answer accepted
	if err := json.Unmarshal(raw, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// finish follows a session to its end and waits for its rows.
func finish(t *testing.T, cl *client, answer accepted) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seqs, err := follow(ctx, cl, answer.StreamURL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cl.rows(ctx, answer.SessionID, slices.Max(seqs)); err != nil {
		t.Fatal(err)
	}
}

// clumsy answers for the first dish only when it is asked again; before that it panics.
func clumsy(_ context.Context, r stage.Request) (menu.Result, error) {
	if r.Stage == menu.Allergen && r.Attempt == 1 && r.Item.Position == 0 {
		panic("the knife slipped")
	}
	return scriptedResult(r), nil
}

// From one trace one sees the request, the append, the eight stages with a second attempt, and the rows that came of
// each event; the log, the history and the lines of the log have the ids.
func TestTrace(t *testing.T) {
	t.Parallel()
	for name, parent := range map[string]string{"OfTheCaller": callersParent, "Own": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			received, logged := startReceiver(t), &syncBuffer{}
			s := startLogged(t, newLogger(logged, slog.LevelDebug), allRoles(), everywhere(always{clumsy}),
				"--tracing-endpoint", received.url, "--processing-retry-delay", "50ms")
			answer := submitTraced(t, s.running.HTTPURL, body(t, 5), parent)
			finish(t, s.client(), answer)
			entries := logOf(t, s.log(), answer.SessionID)
			askForPicture(t, s, answer)
			history := map[uint64]string{}
			rows, err := s.pool.Query(t.Context(), "select seq, headers -> 'traceparent' ->> 0 from history where session_id = $1", answer.SessionID)
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				var seq uint64
				var header string
				if err := rows.Scan(&seq, &header); err != nil {
					t.Fatal(err)
				}
				history[seq] = header
			}
			if err := s.stop(); err != nil { // the rest of the spans is sent
				t.Fatal(err)
			}

			post := the(t, received.spans(""), "POST /v1/sessions")
			if parent != "" && (post.trace != callersTrace || post.parent != callersSpan) || parent == "" && post.parent != "" {
				t.Errorf("the request is %v in trace %s", post, post.trace)
			}
			spans := received.spans(post.trace)
			checkPicture(t, received.spans(""), spans)
			checkTree(t, spans, post, entries, history)
			checkPages(t, received.spans(""), spans)
			checkSecrets(t, received.spans(""), logged.String())
			checkLines(t, logged.String(), post.trace, answer.SessionID)
		})
	}
}

// checkTree holds the spans of a session's trace against its events.
func checkTree(t *testing.T, spans []receivedSpan, post receivedSpan, entries []eventstore.Entry, history map[uint64]string) {
	t.Helper()
	byID := map[string]receivedSpan{}
	for _, s := range spans {
		byID[s.id] = s
		if key := s.attributes["kondate.session_id"]; key != string(entries[0].Key.Session) && !strings.HasPrefix(s.name, "ask ") {
			t.Errorf("%v is about session %q", s, key)
		}
	}
	written := named(spans, "write rows")
	shown := func(appended string) bool {
		return slices.ContainsFunc(written, func(s receivedSpan) bool { return s.parent == appended || slices.Contains(s.links, appended) })
	}
	for _, e := range entries {
		header := e.TraceParent()
		if header != history[e.Seq] {
			t.Errorf("%s has %q in the log and %q in the history", e.Type, header, history[e.Seq])
		}
		appended, known := byID[strings.Split(header, "-")[2]]
		if !known || appended.name != "append "+string(e.Type) || appended.attributes["kondate.seq"] != fmt.Sprint(e.Seq) {
			t.Errorf("event %d, a %s, was caused by %q: %v", e.Seq, e.Type, header, appended)
		}
		if !shown(appended.id) {
			t.Errorf("no rows are shown of %v", appended)
		}
		cause, want := byID[appended.parent], "stage "+string(e.Type.Lane())
		switch e.Type {
		case "menu.submitted":
			want = "POST /v1/sessions"
		case "menu.completed":
			want = "write rows"
		}
		if cause.name != want {
			t.Errorf("%v is caused by %v, want %q", appended, cause, want)
		}
	}
	submitted := the(t, spans, "append menu.submitted")
	if submitted.parent != post.id {
		t.Errorf("%v is not under %v", submitted, post)
	}
	for _, st := range menu.Stages() {
		deliveries := named(spans, "stage "+st.String())
		if first := deliveries[0]; first.parent != submitted.id {
			t.Errorf("%v is not under %v", first, submitted)
		}
		if want := 1; st != menu.Allergen && len(deliveries) != want {
			t.Errorf("%d deliveries of %s", len(deliveries), st)
		}
	}
	if again := named(spans, "stage allergen"); len(again) != 2 || again[1].parent != again[0].id {
		t.Errorf("the second attempt: %v", again)
	}
	if asked := the(t, spans, "ask "); !asked.failed || byID[asked.parent].name != "stage allergen" || asked.attributes["kondate.menu_id"] == "" {
		t.Errorf("the call that failed: %+v", asked)
	}
}

// askForPicture asks for a picture, in a request that is part of no trace, and waits for it.
func askForPicture(t *testing.T, s *system, answer accepted) {
	t.Helper()
	if err := s.client().call(t.Context(), http.MethodPost, "/v1/menus/"+string(answer.Items[0].MenuID)+"/image", nil, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		entries := logOf(t, s.log(), answer.SessionID)
		return entries[len(entries)-1].Type == "image.completed"
	})
}

// checkPicture follows a request for a picture: it is a trace of its own that points to the submission's.
func checkPicture(t *testing.T, all, session []receivedSpan) {
	t.Helper()
	post := the(t, all, "POST /v1/menus/:id/image")
	if submitted := the(t, session, "append menu.submitted"); post.trace == submitted.trace || !slices.Contains(post.links, submitted.id) {
		t.Errorf("%v in trace %s points to %v", post, post.trace, post.links)
	}
	requested := the(t, all, "append image.requested")
	made := the(t, all, "make picture")
	if requested.parent != post.id || made.parent != requested.id || the(t, all, "append image.completed").parent != made.id {
		t.Errorf("the picture's spans: %v, %v", requested, made)
	}
}

// checkPages looks for the transactions that wrote the rows of a trace.
func checkPages(t *testing.T, all, spans []receivedSpan) {
	t.Helper()
	for _, rows := range named(spans, "write rows") {
		page := slices.IndexFunc(all, func(s receivedSpan) bool { return s.name == "write page" && slices.Contains(rows.links, s.id) })
		if page < 0 || all[page].trace == rows.trace || all[page].parent != "" || !slices.Contains(all[page].links, rows.parent) {
			t.Errorf("%v points to no page that points back", rows)
		}
	}
}

// checkSecrets looks for words of the menu where they have no business.
func checkSecrets(t *testing.T, spans []receivedSpan, logged string) {
	t.Helper()
	var sample submission
	if err := json.Unmarshal(sampleMenu, &sample); err != nil {
		t.Fatal(err)
	}
	told := fmt.Sprintf("%+v", spans) + logged
	for _, item := range sample.Items[:5] {
		if strings.Contains(told, item.Name) || strings.Contains(told, item.Category) {
			t.Errorf("%q of the menu is told to the log or the receiver", item.Name)
		}
	}
}

// checkLines looks for the ids in the lines of the log.
func checkLines(t *testing.T, logged, trace, session string) {
	t.Helper()
	want := map[string][]string{
		"request":           {"request_id", "method", "path", "status", "duration"},
		"provider panicked": {"stage", "menu_id", "provider"},
		"stream ended":      {"request_id"},
	}
	for line := range strings.Lines(logged) {
		var said map[string]any
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		msg, _ := said["msg"].(string)
		if msg == "request" && said["method"] != http.MethodPost {
			continue
		}
		keys, is := want[msg]
		if !is {
			continue
		}
		delete(want, msg)
		for _, key := range keys {
			if said[key] == nil {
				t.Errorf("no %s in %s", key, line)
			}
		}
		if said["tenant"] != "public" || said["session_id"] != session || (said["trace_id"] != trace) != (msg == "stream ended") {
			t.Errorf("tenant, session or trace is wrong: %s", line)
		}
		if strings.Count(line, `"session_id"`) != 1 || strings.Count(line, `"request_id"`) > 1 {
			t.Errorf("a key stands there twice: %s", line)
		}
	}
	if len(want) > 0 {
		t.Errorf("no lines %v in\n%s", want, logged)
	}
}

// The trace goes on after a kill in another process, and reaches the worker of another team.
func TestTraceSurvivesKill(t *testing.T) {
	t.Parallel()
	received, dir := startReceiver(t), pgtest.Dir(t)
	args := []string{
		"--tracing-endpoint", received.url, "--stages-allergen-provider", "external", "--stages-ack-wait", "2s",
		"--processing-retry-delay", "200ms", "--processing-retry-attempts", "100",
	}
	p := startProcess(t, dir, args...)
	answer := submitTraced(t, p.conn.HTTPURL, body(t, 3), callersParent)
	waitFor(t, func() bool { // until it was seen that the worker is away, and the receiver knows of it
		return len(named(received.spans(callersTrace), "stage allergen")) > 0
	})
	p.kill()
	p = startProcess(t, dir, args...)
	asked := make(chan string, 100)
	nc, err := nats.Connect(p.conn.NATSURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if _, err := nc.Subscribe(streams.WorkFilter(menu.Allergen), func(m *nats.Msg) { asked <- m.Header.Get("traceparent") }); err != nil {
		t.Fatal(err)
	}
	startWorker(t, p.conn.NATSURL)
	finish(t, p.client(), answer)
	entries := logOf(t, p.store(), answer.SessionID)
	p.end()

	spans := received.spans(callersTrace)
	processes := map[string]bool{}
	for _, s := range named(spans, "stage allergen") {
		processes[s.process["service.instance.id"]] = true
	}
	if len(processes) != 2 {
		t.Errorf("the stage's deliveries were in %d processes: %v", len(processes), spans)
	}
	header := <-asked
	if !slices.ContainsFunc(named(spans, "stage allergen"), func(s receivedSpan) bool {
		return header == "00-"+callersTrace+"-"+s.id+"-01"
	}) {
		t.Errorf("the worker was told %q", header)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.TraceParent(), "00-"+callersTrace) {
			t.Errorf("%s is in trace %q", e.Type, e.TraceParent())
		}
	}
}

// Who is not sampled leaves no spans, but still its ids: in the log of events, and in that of the program.
func TestTraceNotSampled(t *testing.T) {
	t.Parallel()
	const unsampled = "00-" + callersTrace + "-" + callersSpan + "-00"
	received := startReceiver(t)
	for name, test := range map[string]struct {
		args   []string
		parent string
		want   string // begins the header of every event
	}{
		"ByRatio":     {[]string{"--tracing-endpoint", received.url, "--tracing-sample-ratio", "0"}, "", "00-"},
		"ByTheCaller": {[]string{"--tracing-endpoint", received.url}, unsampled, "00-" + callersTrace},
		"Off":         {nil, callersParent, callersParent},
		"OffAndNone":  {nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSystem(t, nil, test.args...)
			answer := submitTraced(t, s.running.HTTPURL, body(t, 1), test.parent)
			finish(t, s.client(), answer)
			for _, e := range logOf(t, s.log(), answer.SessionID) {
				got := e.TraceParent()
				if !strings.HasPrefix(got, test.want) || (test.want == "") != (got == "") || len(test.args) > 0 && !strings.HasSuffix(got, "-00") {
					t.Errorf("%s has %q, want %q", e.Type, got, test.want)
				}
			}
			if err := s.stop(); err != nil {
				t.Fatal(err)
			}
			spans := slices.DeleteFunc(received.spans(""), func(s receivedSpan) bool { return s.attributes["kondate.session_id"] != answer.SessionID })
			// The stream and the rows are requests of their own, which begin a trace.
			if spans = slices.DeleteFunc(spans, func(s receivedSpan) bool { return strings.HasPrefix(s.name, "GET ") }); len(spans) > 0 {
				t.Errorf("spans %v", spans)
			}
		})
	}
}

// A receiver that is away costs nothing but its spans, and is named once.
func TestTraceReceiverAway(t *testing.T) {
	t.Parallel()
	logged := &syncBuffer{}
	s := startLogged(t, newLogger(logged, slog.LevelInfo), allRoles(), nil, "--tracing-endpoint", "http://"+freeAddress(t.Context(), "127.0.0.1:0"))
	finish(t, s.client(), submitTraced(t, s.running.HTTPURL, body(t, 1), ""))
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(logged.String(), "delivered"); n < 1 || n > 2 {
		t.Errorf("it was said %d times:\n%s", n, logged)
	}
}

// Nothing of OpenTelemetry's own variables reaches the spans or the way they go.
func TestTracingReadsNoOtherVariables(t *testing.T) { //nolint:paralleltest // it sets variables
	received := startReceiver(t)
	for name, value := range map[string]string{
		"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_SAMPLER": "always_off", "OTEL_SERVICE_NAME": "theirs", "OTEL_RESOURCE_ATTRIBUTES": "theirs=1",
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/x", "OTEL_EXPORTER_OTLP_HEADERS": "theirs=1",
		"OTEL_EXPORTER_OTLP_COMPRESSION": "none", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0",
		"OTEL_BSP_MAX_QUEUE_SIZE": "0", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
	} {
		t.Setenv(name, value)
	}
	a := &app{cfg: Config{Tracing: TracingConfig{Endpoint: received.url, SampleRatio: 1}}, log: slog.New(slog.DiscardHandler)}
	if err := a.openTracing(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, span := a.tracer.Start(t.Context(), "work")
	span.AddEvent("x")
	span.End()
	if err := a.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := the(t, received.spans(""), "work")
	if len(got.process) != 2 || got.process["service.name"] != "kondate" {
		t.Errorf("the process is described as %v", got.process)
	}
	if h := received.headers[0]; h.Get("theirs") != "" || h.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("sent with %v", h)
	}
}

func TestTracingSettings(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"tracing.endpoint":     {"--tracing-endpoint", "127.0.0.1:4318"},
		"tracing.sample_ratio": {"--tracing-sample-ratio", "1.5"},
		"--log-level":          {"--log-level", "loud"},
	} {
		var out bytes.Buffer
		code := run(t.Context(), environment{args: append([]string{"serve"}, args...), getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: &out, stderr: &out})
		if code != exitUsage || !strings.Contains(out.String(), want) {
			t.Errorf("%v: exit %d, %s", args, code, out.String())
		}
	}
}

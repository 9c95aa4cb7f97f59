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
	"time"

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
		fields := strings.Split(header, "-")
		if len(fields) != 4 {
			t.Errorf("event %d, a %s, has the header %q", e.Seq, e.Type, header)
			continue
		}
		appended, known := byID[fields[2]]
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
		if len(deliveries) == 0 {
			t.Fatalf("no delivery of stage %s is in %v", st, spans)
		}
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
	// Calls that take their time have a span too, and on a busy machine any of them may.
	calls := slices.DeleteFunc(named(spans, "ask "), func(s receivedSpan) bool { return !s.failed })
	if len(calls) != 1 {
		t.Fatalf("%d calls failed, want one: %+v", len(calls), calls)
	}
	if asked := calls[0]; byID[asked.parent].name != "stage allergen" || asked.attributes["kondate.menu_id"] == "" {
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
	if err := nc.Flush(); err != nil { // the server knows of it before there is a worker to ask
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
	var header string
	select {
	case header = <-asked:
	case <-time.After(patience):
		t.Fatal("no request to the worker was seen")
	}
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

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
	"kondate/projections/pgtest"
	"kondate/streams"
)

func recorded(entries []eventstore.Entry) []menu.Recorded {
	records := make([]menu.Recorded, len(entries))
	for i, e := range entries {
		records[i] = e.Recorded
	}
	return records
}

func TestDemo(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	for range 2 { // on a new data dir, and on one that has a history
		var out syncBuffer
		code := run(t.Context(), environment{
			args:   []string{"demo", "--data-dir", dir, "--http-addr", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--nats-max-bytes", "1GiB"},
			getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: &out, stderr: &out,
		})
		if code != exitOK || !strings.Contains(out.String(), "38 dishes × 8 stages: 304 results") {
			t.Fatalf("exit %d\n%s", code, out.String())
		}
	}
}

// TestDemoNextSteps runs the lines that the demo prints, as a second terminal would.
func TestDemoNextSteps(t *testing.T) {
	t.Parallel()
	stdin, enter := io.Pipe()
	var out syncBuffer
	code := make(chan int, 1)
	go func() {
		code <- run(context.Background(), environment{
			args: []string{
				"demo", "--hold", "--data-dir", pgtest.Dir(t), "--http-addr", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--nats-max-bytes", "1GiB",
			},
			getenv: func(string) string { return "" }, stdin: stdin, stdout: &out, stderr: &out,
		})
	}()
	waitFor(t, func() bool { return strings.Contains(out.String(), "press Enter") })
	text := out.String()
	line := func(label string) string {
		m := regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(label) + ` +(.*)$`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("the demo prints no line %q:\n%s", label, text)
		}
		return m[1]
	}
	rows, err := exec.CommandContext(t.Context(), "sh", "-c", line("rows (SQL)")).CombinedOutput()
	if err != nil || !strings.Contains(string(rows), "(38 rows)") {
		t.Errorf("psql: %v\n%s", err, rows)
	}
	events := regexp.MustCompile(`server (\S+), stream (\S+), subject (\S+)`).FindStringSubmatch(line("events (NATS)"))
	if events == nil {
		t.Fatalf("no events line:\n%s", text)
	}
	nc, err := nats.Connect(events[1])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events[2])
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(events[3]))
	if err != nil || len(info.State.Subjects) != 2+menu.StageCount {
		t.Errorf("subjects of the session: %v, %v; want submitted, completed and one for each stage", info.State.Subjects, err)
	}
	page, err := http.Get(line("the page")) //nolint:noctx // a test's request
	if err != nil || page.StatusCode != http.StatusOK {
		t.Fatalf("the page: %v, %v", page, err)
	}
	page.Body.Close() //nolint:errcheck // nothing was read
	if _, err := enter.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != exitOK {
		t.Fatalf("exit %d\n%s", got, out.String())
	}
}

// TestSubmitAndWatch uses the commands beside a running server, which they find by the data dir.
func TestSubmitAndWatch(t *testing.T) {
	t.Parallel()
	s := startSystem(t, nil)
	command := func(stdin string, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		code := run(t.Context(), environment{
			args: args, getenv: func(string) string { return "" }, stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs,
		})
		if code != exitOK {
			t.Fatalf("kondate %s: exit %d\n%s%s", strings.Join(args, " "), code, out.String(), errs.String())
		}
		return out.String()
	}
	text := command("# 丼\n親子丼 850円\nカツ丼\n", "submit", "-", "--follow", "--data-dir", s.cfg.DataDir)
	if !strings.Contains(text, "2 dishes accepted") || !strings.Contains(text, "16 of 16 results, 2 of 2 dishes finished") {
		t.Fatalf("submit printed\n%s", text)
	}
	id := regexp.MustCompile(`session (\S+):`).FindStringSubmatch(text)[1]
	lines := strings.Split(strings.TrimSpace(command("", "watch", id, "--json", "--data-dir", s.cfg.DataDir)), "\n")
	var last storedEvent
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Type != "menu.completed" || last.SessionID != id {
		t.Fatalf("the last line is %q, %v", lines[len(lines)-1], err)
	}
}

// TestResumeFiftyCuts cuts a session's stream at random bytes while it runs and resumes each time: what comes together
// is exactly the session's log.
func TestResumeFiftyCuts(t *testing.T) {
	t.Parallel()
	const cuts = 50
	s := startSystem(t, slowProviders(20*time.Millisecond))
	answer, err := s.client().submit(t.Context(), body(t, 60))
	if err != nil {
		t.Fatal(err)
	}
	var seqs []uint64
	last, ended := "", false
	connections := 0
	for !ended {
		limit := int64(1 << 40)
		if connections < cuts {
			limit = rand.Int64N(4 << 10)
		}
		connections++
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.running.HTTPURL+answer.StreamURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if last != "" {
			req.Header.Set("Last-Event-ID", last)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("connection %d: %s", connections, resp.Status)
		}
		for b, err := range frames(io.LimitReader(resp.Body, limit)) {
			if err != nil {
				t.Fatal(err)
			}
			if b.event == "reset" {
				t.Fatalf("connection %d was reset: %s", connections, b.data)
			}
			if b.id != "" {
				last = b.id
			}
			e, ok, err := b.stored()
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				seqs = append(seqs, e.Seq)
			}
			ended = ended || b.event == "end"
		}
		resp.Body.Close() //nolint:errcheck // it was cut on purpose
	}
	var logged []uint64
	for _, e := range logOf(t, s.log(), answer.SessionID) {
		logged = append(logged, e.Seq)
	}
	if connections < cuts || !slices.Equal(seqs, logged) {
		t.Fatalf("%d connections gave %v, the log holds %v", connections, seqs, logged)
	}
	t.Logf("%d connections, %d events", connections, len(seqs))
}

// TestChannel publishes on a session's live channel, as any program on NATS can.
func TestChannel(t *testing.T) {
	t.Parallel()
	s := startSystem(t, slowProviders(time.Second), "--nats-listen", "127.0.0.1:0")
	answer, err := s.client().submit(t.Context(), body(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(s.running.NATSURL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	got := make(chan frame, 100)
	followed := make(chan error, 1)
	go func() {
		f := &follower{client: s.client(), url: answer.StreamURL, pause: time.Millisecond, attempts: 3, out: func(string, ...any) {}}
		followed <- f.run(t.Context(), func(fr frame) error { got <- fr; return nil })
	}()
	for fr := range got {
		if fr.event == "caught-up" {
			break
		}
	}
	subject := "sse.public." + answer.SessionID + "."
	for _, m := range [][2]string{{"note", `{"from":"kitchen"}`}, {"note", "plain\r\ntext"}, {"allergen.completed", `{}`}, {"end", `{}`}, {"note", `{"last":true}`}} {
		if err := nc.Publish(subject+m[0], []byte(m[1])); err != nil {
			t.Fatal(err)
		}
	}
	var notes []string
	for fr := range got {
		if fr.event == "end" {
			t.Fatal("somebody else ended the stream")
		}
		if fr.event == "note" {
			notes = append(notes, fr.data)
		}
		if strings.Contains(fr.data, "last") {
			break
		}
	}
	want := []string{`{"from":"kitchen"}`, `{"raw_message":"plain\r\ntext"}`, `{"last":true}`}
	if !slices.Equal(notes, want) {
		t.Fatalf("live messages = %q, want %q", notes, want)
	}
	go func() {
		for range got { // the rest of the stream is of no interest
		}
	}()
	if err := <-followed; err != nil {
		t.Fatal(err)
	}
	close(got)
}

// TestNothingLeaks runs 200 sessions and connects and leaves 500 times: goroutines, connections and consumers are
// back where they were.
func TestNothingLeaks(t *testing.T) { //nolint:paralleltest // it counts the goroutines of the process
	const sessions, connects = 200, 500
	s := startSystem(t, nil)
	one, err := s.client().submit(t.Context(), body(t, 5)) // everything has run once before the count
	if err != nil {
		t.Fatal(err)
	}
	if _, err := follow(t.Context(), s.client(), one.StreamURL); err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	consumers := consumerCount(t, s)
	goroutines := runtime.NumGoroutine()

	cl := s.client()
	var urls []string
	for range sessions {
		answer, err := cl.submit(t.Context(), body(t, 5))
		if err != nil {
			t.Fatal(err)
		}
		urls = append(urls, answer.StreamURL)
	}
	var wg sync.WaitGroup
	for i := range connects {
		wg.Go(func() {
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.running.HTTPURL+urls[i%sessions], nil)
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := cl.http.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()                            //nolint:errcheck // left on purpose
			_, _ = bufio.NewReader(resp.Body).ReadString('\n') // left in the middle
		})
	}
	wg.Wait()
	for _, url := range urls {
		if _, err := follow(t.Context(), cl, url); err != nil {
			t.Fatal(err)
		}
	}
	cl.http.CloseIdleConnections()
	waitFor(t, func() bool { return runtime.NumGoroutine() <= goroutines+5 })
	if now := consumerCount(t, s); now != consumers {
		t.Errorf("%d consumers, %d before", now, consumers)
	}
	waitFor(t, func() bool { return s.pool.Stat().AcquiredConns() <= 2 }) // the projector's, and the listener's
}

func consumerCount(t *testing.T, s *system) int {
	t.Helper()
	stream, err := s.js.Stream(t.Context(), streams.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Consumers
}

// TestHundredDishes is the original specification's bound: 100 dishes stored well under five seconds.
func TestHundredDishes(t *testing.T) {
	t.Parallel()
	s := startSystem(t, nil)
	began := time.Now()
	answer, err := s.client().submit(t.Context(), body(t, 100))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.client().rows(t.Context(), answer.SessionID, answer.Seq)
	if err != nil || len(rows) != 100 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	took := time.Since(began)
	t.Logf("100 dishes accepted and stored in %s", took)
	if took > 5*time.Second {
		t.Errorf("100 dishes took %s", took)
	}
}

// slowProviders answer like the local ones, each dish after a pause.
func slowProviders(pause time.Duration) map[menu.Stage]stage.Provider {
	providers := map[menu.Stage]stage.Provider{}
	for _, s := range menu.Stages() {
		providers[s] = pausing{s, pause}
	}
	return providers
}

// pausing is a provider that knows nothing, and takes its time to say so.
type pausing struct {
	stage menu.Stage
	pause time.Duration
}

func (p pausing) Name() string    { return "pausing" }
func (p pausing) Version() string { return "1" }

func (p pausing) Answer(ctx context.Context, _ stage.Request) (menu.Result, error) {
	if p.pause > 0 {
		select {
		case <-time.After(p.pause):
		case <-ctx.Done():
			return menu.Result{}, context.Cause(ctx)
		}
	}
	return menu.Result{Stage: p.stage, Status: menu.StatusUnknown, Provider: p.Name(), ProviderVersion: p.Version(), Basis: menu.BasisNone, Data: json.RawMessage(`{}`)}, nil
}

// waitFor is eventually for a condition that has no reason to give.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	eventually(t, "a condition", func() error {
		if !done() {
			return errors.New("it is false")
		}
		return nil
	})
}

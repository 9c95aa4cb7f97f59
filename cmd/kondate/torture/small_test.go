package torture_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// smallWait bounds each step of a small run on a busy machine.
const smallWait = 2 * time.Minute

// small is the whole program in one process, with everything embedded.
type small struct {
	base    string
	nc      *nats.Conn
	sources sources
}

// startSmall runs serve on a folder of its own. The stage task8 is answered by a worker of the test.
func startSmall(t *testing.T) *small {
	t.Helper()
	dir, err := os.MkdirTemp("", "kondate-checker-") //nolint:usetesting // its Postgres may run as another user, who has to pass
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // the machine's temporary folder clears itself
	var stderr bytes.Buffer
	cmd := exec.Command(program(t, "kondate"), "serve", "--data-dir", dir, "--http-addr", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", //nolint:noctx // the test ends it
		"--nats-max-bytes", "1GiB", "--stages-task8-provider", "external", "--processing-batch-size", "3", "--processing-retry-attempts", "2", "--processing-retry-delay", "200ms")
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "kondate is ready") {
				close(ready)
			}
		}
		_ = cmd.Wait() // how it ended is in its state
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		select {
		case <-done:
		case <-time.After(smallWait):
			_ = cmd.Process.Kill()
			<-done
		}
		if t.Failed() {
			said := stderr.String()
			t.Logf("serve ended with %s:\n%s", cmd.ProcessState, said[max(0, len(said)-4000):])
		}
	})
	select {
	case <-ready:
	case <-done:
		t.Fatalf("serve ended before it was ready")
	case <-time.After(smallWait):
		t.Fatalf("serve is not ready")
	}
	return connectSmall(t, dir)
}

// connectSmall finds the parts of the process by the file that it leaves for commands beside it.
func connectSmall(t *testing.T, dir string) *small {
	t.Helper()
	var at struct {
		HTTP     string `json:"http_url"`
		NATS     string `json:"nats_url"`
		Database string `json:"database_url"`
	}
	raw, err := os.ReadFile(filepath.Join(dir, "connection.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &at); err != nil {
		t.Fatal(err)
	}
	s := &small{base: at.HTTP}
	if s.nc, err = nats.Connect(at.NATS); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.nc.Close)
	js, err := jetstream.New(s.nc)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), at.Database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s.sources = sources{JetStream: js, Postgres: pool, HTTP: at.HTTP, RetryAttempts: 2}
	return s
}

// work answers the stage task8 for a dish in three ways by its position: at once, at the second attempt, and not at all
// before somebody asks for a retry.
func (s *small) work(t *testing.T) {
	t.Helper()
	_, err := s.nc.QueueSubscribe("menu.work.*.task8", "work-task8", func(m *nats.Msg) {
		var ask struct {
			Epoch, Attempt int
			Items          []struct {
				ID       string `json:"menu_id"`
				Position int
			}
		}
		if json.Unmarshal(m.Data, &ask) != nil || len(ask.Items) == 0 {
			return
		}
		reply := nats.NewMsg(m.Reply)
		reply.Header.Set("Kondate-Final", "1")
		var results []any
		for _, item := range ask.Items {
			if way := item.Position % 7; ask.Epoch == 0 && (way == 2 && ask.Attempt == 1 || way == 3) {
				reply.Data = []byte(`{"error":{"reason":"overloaded"}}`)
				_ = m.RespondMsg(reply) // a lost reply is asked for again
				return
			}
			results = append(results, map[string]any{"menu_id": item.ID, "result": map[string]any{
				"stage": "task8", "status": "partial", "provider": "torture", "basis": "glossary", "confidence": 0.25, "data": map[string]any{
					"kind": "taste", "spiciness": 1, "taste": []string{"salty"}, "texture": []string{}, "pairing": []string{}, "nutrition": nil,
					"price": map[string]any{"printed": nil, "amount": nil, "currency": nil, "tax_included": nil, "market_price": false},
				},
			}})
		}
		reply.Data, _ = json.Marshal(map[string]any{"results": results}) // it is made of strings and numbers
		_ = m.RespondMsg(reply)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// poison publishes past the program what nobody can read, what nobody knows, and copies of what was recorded.
func (s *small) poison(ctx context.Context, t *testing.T, session string) {
	t.Helper()
	publish := func(kind, subject string, header nats.Header, data []byte) {
		msg := &nats.Msg{Subject: subject, Header: header, Data: data}
		msg.Header.Set(foreignHeader, kind)
		msg.Header.Set("Nats-Msg-Id", "foreign-"+kind)
		if _, err := s.sources.JetStream.PublishMsg(ctx, msg); err != nil {
			t.Fatalf("publish %s: %v", kind, err)
		}
	}
	log, err := readLog(ctx, s.sources.JetStream)
	if err != nil {
		t.Fatal(err)
	}
	subject := "menu.evt.public." + session + "."
	i := slices.IndexFunc(log, func(m logged) bool { return m.Subject == subject+"allergen.completed" })
	if i < 0 {
		t.Fatalf("the log has no allergen.completed of session %s", session)
	}
	header := func(change func(nats.Header)) nats.Header {
		h := nats.Header{}
		for name, values := range log[i].Header {
			h[name] = slices.Clone(values)
		}
		change(h)
		return h
	}
	same := func(nats.Header) {}
	publish("copy", log[i].Subject, header(same), log[i].Data)
	publish("bad-json", log[i].Subject, header(same), []byte(`{"stage":`))
	publish("twice", log[i].Subject, header(func(h nats.Header) { h.Add("ce-id", "twice") }), log[i].Data)
	publish("version", log[i].Subject, header(func(h nats.Header) { h.Set("Kondate-Schema", "99") }), []byte(`{"later":true}`))
	publish("type", subject+"allergen.dreamt", header(same), []byte("{\"a\":\n1}"))
	publish("guard", subject+"menu.submitted", header(same), []byte(`[1]`))
}

// runSmall submits four menus, has them followed, asks for a retry, a picture and an erasure, and publishes poison.
func runSmall(t *testing.T) (*small, *ledger) {
	t.Helper()
	s := startSmall(t)
	s.work(t)
	ctx, cancel := context.WithTimeout(t.Context(), smallWait)
	defer cancel()
	c := startClients(ctx, t, func() []string { return []string{s.base} }, clientsConfig{
		Seed: 8, Submitters: 1, Followers: 4, MaxMenus: 4, MaxDishes: 24, Pause: 20 * time.Millisecond,
	})
	menus := awaitMenus(ctx, t, c, 4)
	r := c.random('x', 0)
	await(ctx, t, "a stage is parked", func() bool {
		q := &request{Ref: "x-retry", Kind: askRetry}
		if !c.parked(r, q) || q.Session == menus[3].Session {
			return false
		}
		c.ledger.add(q)
		c.ask(r, q)
		return q.Status == http.StatusAccepted
	})
	for _, q := range []*request{
		{Ref: "x-image", Kind: askImage, Session: menus[0].Session, Dish: menus[0].IDs[0]},
		{Ref: "x-erase", Kind: askErase, Session: menus[3].Session},
	} {
		c.ledger.add(q)
		c.ask(r, q)
		if q.Status != http.StatusAccepted {
			t.Fatalf("%s was answered with %d", q.Ref, q.Status)
		}
	}
	await(ctx, t, "quiet", func() bool { return quiet(ctx, s.sources) == nil })
	s.poison(ctx, t, menus[0].Session)
	// One more follower from the first event, which sees the unknown ones.
	last := &transcript{Ref: "x-follow", Session: menus[0].Session, From: "start"}
	c.ledger.add(last)
	c.follow(ctx, r, last)
	if err := c.wait(ctx); err != nil {
		t.Fatal(err)
	}
	if err := awaitQuiet(ctx, s.sources); err != nil {
		t.Fatal(err)
	}
	return s, c.ledger
}

// awaitMenus returns the first n accepted menus.
func awaitMenus(ctx context.Context, t *testing.T, c *clients, n int) []accepted {
	t.Helper()
	var menus []accepted
	await(ctx, t, fmt.Sprintf("%d menus are accepted", n), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		menus = slices.Clone(c.accepted)
		return len(menus) >= n
	})
	return menus
}

// await tries until it is so.
func await(ctx context.Context, t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

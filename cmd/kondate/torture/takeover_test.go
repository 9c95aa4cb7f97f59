//go:build linux

package torture_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

const (
	// takeoverBound is how long nobody may project: two seconds, and what a machine that is busy with other tests adds.
	takeoverBound = 10 * time.Second
	// reconnectBound is how long a deploy may leave a client without its stream: a try or two of the client, and what a busy
	// machine adds.
	reconnectBound = 10 * time.Second
	// faultTime is how long a process is paused or cut off.
	faultTime = 3 * time.Second
	// idle is how long a client bears a stream without a byte: a process that stands still closes none.
	idle = 4 * time.Second
	// tryTime is how long one api may take for an answer before the other one is asked.
	tryTime = 2 * time.Second
)

// steps are who is broken, and how if there is little time: -every breaks each in each way.
var steps = []struct {
	who   string
	kinds []string
}{
	{"broker that leads", []string{faultKill, faultHole}},
	{"broker that follows", []string{faultKill, faultPause}},
	{"api", []string{faultKill, faultPause}},
	{"stages", []string{faultKill, faultHole}},
	{"projector that leads", []string{faultKill, faultPause, faultHole}},
	{"postgres", []string{faultKill, faultHole}},
}

// TestFleet breaks each kind of process in each way while clients submit and follow. Whatever is broken, a menu that
// comes meanwhile is taken in and completes; in the end everything is held against each other.
func TestFleet(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	worker := newWorker(t, f.brokers, 1)
	worker.kind.Store(true)
	clients := startClients(t.Context(), t, f.urls, clientsConfig{Seed: 1, Submitters: 1, Followers: 3, Pause: time.Second, Idle: idle})
	for _, step := range steps {
		for _, kind := range []string{faultKill, faultPause, faultHole} {
			if !*every && !slices.Contains(step.kinds, kind) {
				continue
			}
			if !t.Run(step.who+" "+kind, func(t *testing.T) { f.survives(t, clients.ledger, step.who, kind) }) { // one after the other, on one fleet
				return
			}
		}
	}
	t.Run("rolling restart", func(t *testing.T) { f.rolls(t, clients, worker) })
	f.holds(t, clients)
}

// pick returns a process by the part that it has at the moment.
func (f *fleet) pick(t *testing.T, who string) target {
	t.Helper()
	leader, followers, err := f.streamLeader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	projector, _, err := f.leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f.target(map[string]string{
		"broker that leads": leader.name, "broker that follows": followers[0].name, "api": f.apis[0].name,
		"stages": f.stages[0].name, "projector that leads": projector.name, "postgres": f.db.name,
	}[who])
}

// survives breaks a process and mends it.
func (f *fleet) survives(t *testing.T, l *ledger, who, kind string) {
	t.Helper()
	broken := f.pick(t, who)
	begin := time.Now()
	since := func() time.Duration { return time.Since(begin).Round(time.Millisecond) }
	if err := broken.harm(t.Context(), kind); err != nil {
		t.Fatal(err)
	}
	taken := make(chan error, 1)
	go func() {
		if who != "projector that leads" {
			taken <- nil
			return
		}
		takenOver, err := f.takenOver(t.Context(), broken.name)
		t.Logf("another projector had the lead after %s and wrote its first page after %s", takenOver.lead.Sub(begin).Round(time.Millisecond), takenOver.page.Sub(begin).Round(time.Millisecond))
		if err == nil && takenOver.page.Sub(begin) > takeoverBound {
			err = fmt.Errorf("the standby needed longer than %s", takeoverBound)
		}
		taken <- err
	}()
	takenIn, completed := make(chan error, 1), make(chan error, 1)
	go func() {
		session, err := f.submit(t.Context(), l)
		takenIn <- err
		if err == nil {
			t.Logf("a menu was taken in after %s", since())
			err = f.completes(t.Context(), session)
			t.Logf("and complete after %s", since())
		}
		completed <- err
	}()
	if err := <-taken; err != nil {
		t.Error(err)
	}
	if kind != faultKill {
		<-time.After(time.Until(begin.Add(faultTime)))
	}
	if who != "postgres" { // without which nothing is taken in
		if err := <-takenIn; err != nil {
			t.Error(err)
		}
	}
	if err := broken.mend(t.Context(), kind); err != nil {
		t.Fatal(err)
	}
	t.Logf("whole again after %s", since())
	if err := <-completed; err != nil {
		t.Error(err)
	}
	if err := f.whole(t.Context()); err != nil {
		t.Error(err)
	}
	f.fellNone(t)
}

// fellNone fails if a process ended by itself.
func (f *fleet) fellNone(t *testing.T) {
	t.Helper()
	for _, p := range f.all() {
		if p.fell() {
			t.Errorf("%s ended by itself (%s): %s", p.name, p.cmd.ProcessState, p.tail())
		}
	}
}

// rolls restarts every process of the program, one after the other, as a deploy does. Each api has a stream open when it is
// stopped, and no stream is cut for longer than its client takes to come back.
func (f *fleet) rolls(t *testing.T, c *clients, w *worker) {
	t.Helper()
	deploy := time.Now()
	for _, m := range f.members() {
		var open *transcript
		if slices.Contains(f.apis, m) {
			open = f.unfinished(t, c, w, m)
		}
		begin := time.Now()
		if err := f.target(m.name).harm(t.Context(), faultStop); err != nil {
			t.Error(err)
		}
		stopped := time.Since(begin)
		if err := m.restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s stopped in %s and was back after %s", m.name, stopped.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
		w.away.Store(false)
		if open != nil && !c.ledger.wasCut(open) {
			t.Errorf("%s stopped, and the stream that it had open was not cut", m.name)
		}
	}
	session, err := f.submit(t.Context(), c.ledger)
	if err == nil {
		err = f.completes(t.Context(), session)
	}
	if err != nil {
		t.Error(err)
	}
	longest, cuts := c.ledger.longestCut(deploy)
	t.Logf("%d streams were cut, for %s at most", cuts, longest.Round(time.Millisecond))
	if longest > reconnectBound {
		t.Errorf("a stream was cut for %s; want %s at most", longest, reconnectBound)
	}
}

// unfinished opens a stream on an api to a session that does not end before the worker is back.
func (f *fleet) unfinished(t *testing.T, c *clients, w *worker, m *member) *transcript {
	t.Helper()
	w.away.Store(true)
	session, err := f.submit(t.Context(), c.ledger)
	if err != nil {
		t.Fatal(err)
	}
	open := &transcript{Ref: "roll-" + m.name, Session: session, From: "start", on: m.url}
	c.ledger.add(open)
	c.group.Go(func() { c.follow(c.all, c.random('r', len(open.Ref)), open) })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := until(ctx, m.name+" has a stream open", func(context.Context) (err error) {
		c.ledger.change(func() {
			if len(open.Connections) != 1 || len(open.Connections[0].Frames) == 0 {
				err = errors.New("it has none")
			}
		})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return open
}

// takeover is when another projector had the lead, and when its first page was in the rows.
type takeover struct{ lead, page time.Time }

// takenOver waits until another projector than the broken one works.
func (f *fleet) takenOver(ctx context.Context, broken string) (at takeover, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var after uint64 // the sequence at which it took over, as it says itself
	err = until(ctx, "another projector leads", func(ctx context.Context) error {
		var name string
		if err := f.pool.QueryRow(ctx, leading).Scan(&name); err != nil {
			return err
		}
		if name == broken {
			return errors.New("the broken one has the lead")
		}
		at.lead = time.Now()
		after, err = f.target(name).tookOver()
		return err
	})
	if err != nil {
		return at, err
	}
	return at, until(ctx, "another projector writes", func(ctx context.Context) error {
		var now uint64
		if err := f.pool.QueryRow(ctx, "select seq from public.progress").Scan(&now); err != nil {
			return err
		}
		if at.page = time.Now(); now <= after {
			return errors.New("the rows stand still")
		}
		return nil
	})
}

// tookOver returns the sequence after which a projector last took the lead.
func (p *process) tookOver() (uint64, error) {
	raw, err := os.ReadFile(p.log)
	if err != nil {
		return 0, err
	}
	i := bytes.LastIndex(raw, []byte(`"msg":"projector leads"`))
	if i < 0 {
		return 0, errors.New("it does not say that it leads")
	}
	var line struct{ After uint64 }
	start := bytes.LastIndexByte(raw[:i], '\n') + 1
	end := i + bytes.IndexByte(raw[i:], '\n')
	if end < i {
		return 0, errors.New("it has not said it all yet")
	}
	err = json.Unmarshal(raw[start:end], &line)
	return line.After, err
}

// submit has a menu taken in by whichever api can, and writes it down.
func (f *fleet) submit(ctx context.Context, l *ledger) (session string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ref := "probe-" + uuid.NewString()
	s := &submission{Ref: ref, Key: ref, Items: []dish{{Name: "親子丼"}, {Name: "味噌ラーメン"}}}
	l.add(s)
	body, err := json.Marshal(map[string]any{"title": ref, "items": s.Items})
	if err != nil {
		return "", err
	}
	return session, until(ctx, "a menu is taken in", func(ctx context.Context) error {
		l.note(s, func() { s.Attempts++ })
		var answer struct {
			Session string `json:"session_id"`
			Seq     uint64
			Items   []struct {
				ID string `json:"menu_id"`
			}
		}
		ctx, cancel := context.WithTimeout(ctx, tryTime)
		defer cancel()
		url := f.urls()[s.Attempts%len(f.apis)] + "/v1/sessions"
		err := ask(ctx, http.MethodPost, url, string(body), ref, http.StatusAccepted, &answer)
		l.note(s, func() {
			if err != nil {
				s.Unclear++
				return
			}
			a := accepted{Session: answer.Session, Seq: answer.Seq}
			for _, item := range answer.Items {
				a.IDs = append(a.IDs, item.ID)
			}
			s.Accepted = append(s.Accepted, a)
		})
		session = answer.Session
		return err
	})
}

// completes waits until a session is complete.
func (f *fleet) completes(ctx context.Context, session string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tries := 0
	return until(ctx, "session "+session+" is complete", func(ctx context.Context) error {
		tries++
		var answer struct{ Status string }
		ctx, cancel := context.WithTimeout(ctx, tryTime)
		defer cancel()
		err := ask(ctx, http.MethodGet, f.urls()[tries%len(f.apis)]+"/v1/sessions/"+session, "", "", http.StatusOK, &answer)
		if err == nil && answer.Status != "completed" {
			err = fmt.Errorf("it is %s", answer.Status)
		}
		return err
	})
}

// ask sends one request and reads its answer.
func ask(ctx context.Context, method, url, body, key string, want int, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != want {
		return fmt.Errorf("%s %s: %d: %s", method, url, resp.StatusCode, raw)
	}
	return json.Unmarshal(raw, into)
}

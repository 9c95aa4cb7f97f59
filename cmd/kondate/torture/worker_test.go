//go:build linux

package torture_test

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// worker is another team's process: it answers the stages task6 and task7, not always well. What it does to a dish
// follows from the seed, the dish and the attempt, whenever the request comes.
type worker struct {
	seed uint64
	kind atomic.Bool // it answers everything well
	away atomic.Bool // it answers nothing

	mu     sync.Mutex // guards failed
	failed map[string]int
}

// moods are the ways to answer badly, each with how many of a thousand requests get it.
var moods = []struct {
	name string
	per  int
}{{"temporary", 30}, {"permanent", 5}, {"hangs", 5}, {"late", 50}, {"invalid", 5}, {"nonsense", 5}}

// newWorker starts a worker on the brokers. It ends with the test.
func newWorker(tb testing.TB, brokers []*broker, seed uint64) *worker {
	tb.Helper()
	w := &worker{seed: seed, failed: map[string]int{}}
	nc := connect(tb, brokers).Conn()
	for _, stage := range []string{"task6", "task7"} {
		if _, err := nc.QueueSubscribe("menu.work.*."+stage, "work-"+stage, func(m *nats.Msg) { w.answer(stage, m) }); err != nil {
			tb.Fatal(err)
		}
	}
	return w
}

func (w *worker) answer(stage string, m *nats.Msg) {
	var request struct {
		Epoch, Attempt int
		Items          []struct {
			ID string `json:"menu_id"`
		}
	}
	if err := json.Unmarshal(m.Data, &request); err != nil || len(request.Items) == 0 {
		return // a request of nobody we know
	}
	if w.away.Load() {
		return
	}
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, stage, request.Items[0].ID, request.Epoch, request.Attempt)
	r := rand.New(rand.NewPCG(w.seed, h.Sum64()))
	mood := ""
	at := r.IntN(1000)
	for _, m := range moods {
		if at >= 0 && at < m.per && !w.kind.Load() {
			mood = m.name
		}
		at -= m.per
	}
	w.count(mood)
	var results []string
	for _, item := range request.Items {
		results = append(results, fmt.Sprintf(`{"menu_id":%q,"result":{"stage":%q,"status":"unknown","provider":"torture","basis":"none","confidence":0,"data":null}}`, item.ID, stage))
	}
	body := `{"results":[` + strings.Join(results, ",") + `]}`
	switch mood {
	case "temporary":
		body = `{"error":{"reason":"torture_busy","permanent":false}}`
	case "permanent":
		body = `{"error":{"reason":"torture_never","permanent":true}}`
	case "invalid":
		body = strings.ReplaceAll(body, `"confidence":0`, `"confidence":7`)
	case "nonsense":
		body = "\x00{"
	case "hangs":
		return
	case "late":
		time.AfterFunc(time.Duration(r.IntN(1500))*time.Millisecond, func() { reply(m, body) })
		return
	}
	reply(m, body)
}

func (w *worker) count(mood string) {
	if mood == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed[mood]++
}

func (w *worker) counts() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.failed)
}

func reply(m *nats.Msg, body string) {
	r := nats.NewMsg(m.Reply)
	r.Header.Set("Kondate-Final", "1")
	r.Data = []byte(body)
	_ = m.RespondMsg(r) // a lost reply is asked for again
}

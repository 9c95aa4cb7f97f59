package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kondate/cmd/kondate/bench"
	"kondate/domain/menu"
	"kondate/handlers/sse/load"
	"kondate/projections/pgtest"
)

// A soak looks at its server while menus come, and judges by what it saw.
func TestBenchSoak(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	out, errs, code := runBench(t, "soak", "--duration=5s", "--load=0.3", "--nats-sync=100ms", "--data-dir", dir, "--json")
	var r soakReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v, exit %d: %s%s", err, code, out, errs)
	}
	want, said := exitOK, ""
	if len(r.Grown) > 0 { // five seconds are too short to be flat
		want, said = exitFailed, "grew"
	}
	if code != want || !strings.Contains(errs, said) {
		t.Errorf("exit %d, grown %v: %s", code, r.Grown, errs)
	}
	if len(r.Looks) != soakLooks || r.Menus < 1 || r.Resumed < 1 || r.Capacity <= 0 || r.Dishes <= 0 {
		t.Errorf("%d looks, %d menus, %d clients cut; %.0f of %.0f dishes/s", len(r.Looks), r.Menus, r.Resumed, r.Dishes, r.Capacity)
	}
	for _, l := range r.Looks {
		if l.Resident < 1 || l.Heap < 1 || l.Handles < 1 || l.Goroutines < 1 || l.Consumers < 1 || l.Subjects < 1 {
			t.Errorf("the server held %+v", l)
		}
	}
	nothingLeft(t, dir)
}

func TestSoakTellsGrowth(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		at   func(i int) load.Held // of soakLooks
		want []string
	}{
		"Flat": {func(i int) load.Held {
			return load.Held{Resident: 100 + i%2, Heap: 50, Handles: 9, Goroutines: 30, Consumers: 11}
		}, nil},
		"WarmingUp": {func(i int) load.Held {
			return load.Held{Resident: min(100, 10+10*i), Heap: 5, Handles: 9, Goroutines: 30, Consumers: 11}
		}, nil},
		"Memory":   {func(i int) load.Held { return load.Held{Resident: 100 + i, Heap: 50 + i, Handles: 9, Goroutines: 30} }, []string{"resident memory, bytes", "Go's heap, bytes"}},
		"Leaks":    {func(i int) load.Held { return load.Held{Resident: 100, Handles: 9 + i/10, Goroutines: 30 + i} }, []string{"goroutines", "open files and sockets"}},
		"Consumer": {func(i int) load.Held { return load.Held{Resident: 100, Consumers: 100 + i/30} }, []string{"consumers of the log"}},
	} {
		s := &soak{}
		for i := range soakLooks {
			s.looks = append(s.looks, soaked{Held: test.at(i), Seconds: float64(i + 1), Menus: 2, P50: 10, P99: 20})
		}
		r := newSoakReport(s, 100, benchSoakCommand{Load: 0.7})
		if !slices.Equal(r.Grown, append([]string{}, test.want...)) || r.Menus != 2*soakLooks || r.Dishes != 40 {
			t.Errorf("%s: %v grew, want %v; %d menus, %.0f dishes/s", name, r.Grown, test.want, r.Menus, r.Dishes)
		}
		var table strings.Builder
		if err := r.print(&table); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(table.String(), "GREW") != (test.want != nil) || !strings.Contains(table.String(), "40 dishes/s for 40s, 40 % of the 100/s") {
			t.Errorf("%s:\n%s", name, table.String())
		}
	}
}

// What a server does not show is neither flat nor grown.
func TestSoakNeedsToKnow(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]load.Held{
		"resident": {Resident: -1}, "heap": {Heap: -1}, "goroutines": {Goroutines: -1}, "files": {Handles: -1}, "consumers": {Consumers: -1},
	} {
		if err := known(h); !errors.Is(err, errUnknown) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := known(load.Held{}); err != nil {
		t.Error(err)
	}
}

// stuck is a server that takes menus and never says anything of them.
func stuck(t *testing.T, stream http.HandlerFunc) *soak {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/sessions", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, `{"session_id":"s","stream_url":"/stream"}`)
	})
	mux.HandleFunc("GET /stream", stream)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &soak{benched: &benched{conn: connection{HTTPURL: server.URL}}, began: time.Now()}
}

// A server that falls behind ends a soak at once, though clients still wait for their menus.
func TestSoakEndsBehindPace(t *testing.T) {
	t.Parallel()
	s := stuck(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush() // the client waits then
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := s.send(ctx, []byte("{}"), 5000, time.Minute)
	if !errors.Is(err, errPace) || !strings.Contains(err.Error(), "500 menus are under way") {
		t.Errorf("a server that completes nothing: %v", err)
	}
}

// A fault in what a client has already been sent is told also if the client just cuts its connection.
func TestSoakTellsTornStreams(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	s := stuck(t, func(w http.ResponseWriter, _ *http.Request) {
		connections.Add(1)
		w.Header().Set("Content-Type", "text/event-stream")
		for _, seq := range []int{7, 7} {
			fmt.Fprintf(w, "id: %d\nevent: menu.submitted\ndata: {\"type\":\"menu.submitted\",\"seq\":%d,\"data\":{}}\n\n", seq, seq)
		}
	})
	if err := s.menu(t.Context(), s.client(), []byte("{}"), true); !errors.Is(err, errTorn) || !strings.Contains(err.Error(), "event 7 after 7") || connections.Load() != 1 {
		t.Errorf("an event came twice on one of %d connections: %v", connections.Load(), err)
	}
}

// A dish that was parked, or whose results were delivered twice, is no fault of a stream; one that is missing is.
func TestSoakCountsDishes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		missing, parked, twice int // dishes of the first stage
		torn                   bool
	}{
		"All":     {},
		"Parked":  {parked: 2},
		"Twice":   {twice: 3},
		"Missing": {missing: 1, torn: true},
		"Hidden":  {missing: 1, twice: 1, torn: true}, // the number of results is right
	} {
		seen := newStreamSeen("s")
		seq := uint64(0)
		take := func(e menu.Event) {
			data, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			seq++
			stored, err := json.Marshal(storedEvent{Type: e.Type(), Seq: seq, Data: data})
			if err != nil {
				t.Fatal(err)
			}
			if err := seen.take(frame{event: string(e.Type()), data: string(stored)}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		id := func(i int) menu.DishID { return menu.DishID(fmt.Sprintf("d%d", i)) }
		for _, stage := range menu.Stages() {
			from := 0
			if stage == menu.Stages()[0] {
				from = test.missing + test.parked
				for i := range test.parked {
					take(menu.StageFailed{Stage: stage, IDs: []menu.DishID{id(test.missing + i)}})
				}
			}
			e := menu.StageCompleted{Stage: stage}
			for i := from; i < bench.Dishes; i++ {
				e.Results = append(e.Results, menu.DishResult{ID: id(i)})
			}
			take(e)
			if stage == menu.Stages()[0] && test.twice > 0 {
				take(menu.StageCompleted{Stage: stage, Results: e.Results[:test.twice]})
			}
		}
		take(menu.Completed{})
		if err := seen.whole(); errors.Is(err, errTorn) != test.torn || len(seen.parked) != test.parked {
			t.Errorf("%s: %v, %d parked", name, err, len(seen.parked))
		}
	}
}

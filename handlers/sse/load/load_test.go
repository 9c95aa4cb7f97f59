package load_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/sse/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// streams serves a log in memory as session streams. spoil may change what a client of a session gets.
func streams(log *eventstore.Memory, spoil func(frames []string) []string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/sessions/{id}/events", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, "retry: 5000\n\nid: i.0\n\nevent: caught-up\ndata: {}\n\n")
		w.(http.Flusher).Flush() //nolint:forcetypeassert // the server's writers are
		key := menu.Key{Tenant: menu.DefaultTenant, Session: menu.SessionID(r.PathValue("id"))}
		_ = log.Follow(r.Context(), 0, func(_ context.Context, page []eventstore.Entry) error {
			var frames []string
			for _, e := range page {
				if e.Key == key {
					data := eventstore.Envelope{Seq: e.Seq, ID: e.ID, Key: e.Key, Type: e.Type, Version: e.Version, Time: e.Time, Data: e.Data}.Append(nil)
					frames = append(frames, fmt.Sprintf("id: i.%d\nevent: %s\ndata: %s\n\n", e.Seq, e.Type, data))
				}
			}
			_, err := fmt.Fprint(w, strings.Join(spoil(frames), ""))
			w.(http.Flusher).Flush() //nolint:forcetypeassert // as above
			return err
		})
	})
	return mux
}

// measure runs one scenario on a server that spoils its streams.
func measure(t *testing.T, scenario string, size load.Size, spoil func([]string) []string) []load.Measure {
	t.Helper()
	log := eventstore.NewMemory(0)
	server := httptest.NewUnstartedServer(streams(log, spoil))
	// The clients read a stream as it is on the wire, without chunks.
	server.Config.Handler = http10(server.Config.Handler)
	server.Start()
	defer server.Close()
	s := &load.Server{Address: server.Listener.Addr().String(), Log: log, Raw: raw(t)}
	var measures []load.Measure
	for _, sc := range load.Scenarios() {
		if sc.Name == scenario {
			if err := sc.Run(t.Context(), s, size, func(m load.Measure) { measures = append(measures, m) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	return measures
}

// http10 answers as to a client that knows no chunks.
func http10(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Transfer-Encoding", "identity")
		next.ServeHTTP(w, r)
	})
}

// raw serves the limit until the test ends.
func raw(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- load.ServeRaw(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

var small = load.Size{Clients: 6, Sessions: 3, Rate: 60, Duration: 500 * time.Millisecond}

func TestFanoutCountsWhatClientsGet(t *testing.T) {
	t.Parallel()
	measures := measure(t, "fanout", small, func(frames []string) []string { return frames })
	if len(measures) != 3 {
		t.Fatalf("%d measures", len(measures))
	}
	for _, m := range measures {
		if !m.Sound() || m.Clients != 6 || m.PerSecond <= 0 || m.Ratio <= 0 {
			t.Errorf("%+v", m)
		}
	}
	// 30 events, and a last one for each session, to two clients each.
	if m := measures[0]; m.Deliveries < 2*(25+3) || m.Deliveries > 2*(31+3) || m.P50 <= 0 || m.P99 < m.P50 || m.RawP99 <= 0 {
		t.Errorf("%s: %+v", m.Name, m)
	}
	if m := measures[2]; m.RawPerSecond <= 0 || m.P99 != 0 {
		t.Errorf("%s: %+v", m.Name, m)
	}
}

// A stream that leaves something out, says it twice or in another order is caught.
func TestFanoutCountsFaults(t *testing.T) {
	t.Parallel()
	third := func(change func(frame string, kept []string) []string) func([]string) []string {
		return func(frames []string) []string {
			var out []string
			for _, f := range frames {
				if strings.Contains(f, `"attempt":3,`) && strings.Contains(f, "tick") {
					out = change(f, out)
				} else {
					out = append(out, f)
				}
			}
			return out
		}
	}
	for name, test := range map[string]struct {
		spoil func([]string) []string
		count func(load.Measure) int
	}{
		"Missing": {third(func(_ string, kept []string) []string { return kept }), func(m load.Measure) int { return m.Missing }},
		"Doubled": {third(func(f string, kept []string) []string { return append(kept, f, f) }), func(m load.Measure) int { return m.Doubled }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := measure(t, "fanout", small, test.spoil)[0]
			if m.Sound() || test.count(m) != 6 || m.Missing+m.Doubled+m.Reordered != 6 {
				t.Errorf("six clients saw one fault each, counted %+v", m)
			}
		})
	}
	t.Run("Reordered", func(t *testing.T) {
		t.Parallel()
		held := make(chan string, 100)
		m := measure(t, "fanout", load.Size{Clients: 1, Sessions: 1, Rate: 60, Duration: 500 * time.Millisecond}, func(frames []string) []string {
			var out []string
			for _, f := range frames {
				switch {
				case strings.Contains(f, `"attempt":3,`):
					held <- f
				case strings.Contains(f, `"attempt":4,`):
					out = append(out, f, <-held)
				default:
					out = append(out, f)
				}
			}
			return out
		})[0]
		if m.Reordered != 1 || m.Missing+m.Doubled != 0 {
			t.Errorf("one event came late, counted %+v", m)
		}
	})
}

// A stream that ends, or that is none, is an error and not a figure.
func TestFanoutRefuses(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"Closing": "HTTP/1.1 200 OK\r\n\r\nevent: closing\ndata: {}\n\n",
		"Reset":   "HTTP/1.1 200 OK\r\n\r\nevent: reset\ndata: {}\n\n",
		"Full":    "HTTP/1.1 503 Service Unavailable\r\n\r\n",
		"Nothing": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close() //nolint:errcheck // it was only a door
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Write([]byte(answer))
					_ = conn.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // it was accepted as one
					defer conn.Close()                   //nolint:errcheck // its client has all
				}
			}()
			s := &load.Server{Address: listener.Addr().String(), Log: eventstore.NewMemory(0)}
			err = load.Scenarios()[0].Run(t.Context(), s, small, func(m load.Measure) { t.Errorf("a figure: %+v", m) })
			if err == nil {
				t.Error("no error")
			}
		})
	}
}

// Package load measures session streams from outside, as their clients see them: raw TCP connections, one goroutine
// each, every client's sequence of events checked against what was appended, latencies from the moment at which an
// event was due. The same clients are then served by [ServeRaw], which writes the same frames with neither log nor hub
// between: what a figure is worth, its ratio to that limit tells.
//
// Client and server share the machine, so it also notes what others took of its processors meanwhile.
package load

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// Log takes the events that clients are measured with.
type Log interface {
	// Append records events of a session's stages; see [eventstore.JetStream.Append].
	Append(ctx context.Context, key menu.Key, events ...eventstore.Proposed) (eventstore.Receipt, error)
	// AppendMenu records a session's submission; see [eventstore.JetStream.AppendMenu].
	AppendMenu(ctx context.Context, key menu.Key, expected uint64, events ...eventstore.Proposed) (eventstore.Receipt, error)
}

// Server is what is measured.
type Server struct {
	Address string // host:port of its HTTP
	PID     int    // 0: it runs elsewhere, and what it takes is not seen
	Log     Log
	Raw     string // host:port of [ServeRaw], in a process of its own

	// Consumers counts those on the log's stream; nil: unknown.
	Consumers func(context.Context) (int, error)
	// Restart ends the server and starts it again on the same data, so that nothing is in its memory; nil: it is not ours.
	// It sets Address, PID and Log.
	Restart func(context.Context) error

	sessions []menu.Key // that were made
}

// Size is how much of everything a scenario uses. Zero values are the scenario's own; see [Scenarios].
type Size struct {
	Clients  int           // connections
	Sessions int           // that they are spread over
	Rate     float64       // events a second, over all sessions
	Duration time.Duration // of appending
	Payload  int           // bytes of an event's data, about
}

func (s Size) orElse(other Size) Size {
	if s.Clients == 0 {
		s.Clients = other.Clients
	}
	if s.Sessions == 0 {
		s.Sessions = other.Sessions
	}
	if s.Rate == 0 {
		s.Rate = other.Rate
	}
	if s.Duration == 0 {
		s.Duration = other.Duration
	}
	if s.Payload == 0 {
		s.Payload = other.Payload
	}
	return s
}

const defaultPayload = 256

// Measure is one figure, or some that belong together. A zero value was not measured.
type Measure struct {
	Scenario string  `json:"scenario"`
	Name     string  `json:"name"`
	Clients  int     `json:"clients"`
	Sessions int     `json:"sessions"`
	Rate     float64 `json:"events_per_second,omitempty"` // appended

	Deliveries int     `json:"deliveries,omitempty"`
	Seconds    float64 `json:"seconds,omitempty"`
	PerSecond  float64 `json:"deliveries_per_second,omitempty"`
	P50        float64 `json:"p50_ms,omitempty"` // latency of a delivery, from when its event was due
	P99        float64 `json:"p99_ms,omitempty"`
	Max        float64 `json:"max_ms,omitempty"`

	RawPerSecond float64 `json:"raw_deliveries_per_second,omitempty"`
	RawSeconds   float64 `json:"raw_seconds,omitempty"`
	RawP50       float64 `json:"raw_p50_ms,omitempty"`
	RawP99       float64 `json:"raw_p99_ms,omitempty"`
	RawResident  int     `json:"raw_bytes_per_connection,omitempty"`
	Ratio        float64 `json:"ratio,omitempty"` // ours by raw: of deliveries per second, else of p99, seconds or bytes

	Missing   int `json:"missing"`
	Doubled   int `json:"doubled"`
	Reordered int `json:"reordered"`

	ServerCores    float64 `json:"server_cores,omitempty"`
	CPUPerDelivery float64 `json:"cpu_us_per_delivery,omitempty"` // of the server
	Resident       int     `json:"bytes_per_connection,omitempty"`
	ServerResident int     `json:"server_bytes,omitempty"`
	Foreign        float64 `json:"foreign_cores"`    // what neither server nor clients took
	Note           string  `json:"note,omitempty"`   // other figures, in words
	Failed         string  `json:"failed,omitempty"` // what was not as it has to be
}

// Sound says whether every client got every event once and in order, and everything else was as it has to be.
func (m Measure) Sound() bool {
	return m.Missing == 0 && m.Doubled == 0 && m.Reordered == 0 && m.Failed == ""
}

// Scenario is one way of loading a server.
type Scenario struct {
	Name string
	Run  func(ctx context.Context, s *Server, size Size, report func(Measure)) error
}

// Scenarios returns all of them, in the order in which they run by default.
func Scenarios() []Scenario {
	return []Scenario{{"fanout", fanout}, {"replay", replay}, {"churn", churn}, {"slow", slow}, {"idle", idle}}
}

// submit makes n sessions that no stage works on and that never end: each promises a dish and has none.
func (s *Server) submit(ctx context.Context, n int) ([]menu.Key, error) {
	prefix := fmt.Sprintf("bench-%x", time.Now().UnixNano())
	keys := make([]menu.Key, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxWriters)
	for i := range keys {
		keys[i] = menu.Key{Tenant: menu.DefaultTenant, Session: menu.SessionID(fmt.Sprintf("%s-%d", prefix, i))}
		g.Go(func() error {
			submitted := menu.Submitted{Title: "bench", SourceLanguage: "ja", TargetLanguage: "en", ItemCount: 1, Chunk: 1, Chunks: 1, Items: []menu.Item{}}
			_, err := s.Log.AppendMenu(ctx, keys[i], 0, eventstore.Proposed{Event: submitted, Time: time.Now()})
			return err
		})
	}
	s.sessions = append(s.sessions, keys...)
	return keys, g.Wait()
}

// Erase takes everything that was measured with out of a server's log and rows.
func (s *Server) Erase(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for _, key := range s.sessions {
		g.Go(func() error {
			status, _, err := s.call(ctx, http.MethodDelete, "/v1/sessions/"+string(key.Session))
			if err == nil && status >= http.StatusBadRequest && status != http.StatusNotFound {
				err = fmt.Errorf("erase session %s: status %d", key.Session, status)
			}
			return err
		})
	}
	return g.Wait()
}

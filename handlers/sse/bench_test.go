package sse_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/sse"
	"kondate/streams"
	"kondate/streams/natstest"
)

// counter reads a stream and counts the stored events in it, with as little work as a client can do.
type counter struct {
	conn net.Conn
	r    io.Reader
	buf  []byte
	rest []byte
	n    int
}

// until reads until n events have come.
func (c *counter) until(n int) error {
	if c.buf == nil {
		c.buf = make([]byte, 8<<10)
	}
	for c.n < n {
		got, err := c.r.Read(c.buf)
		if err != nil {
			return err
		}
		text := append(c.rest, c.buf[:got]...) //nolint:gocritic // rest is replaced below
		c.n += bytes.Count(text, []byte("\nevent: task6."))
		c.rest = append(c.rest[:0], text[max(0, len(text)-13):]...)
	}
	return nil
}

// listen opens n streams over some sessions and waits until they are live.
func listen(b *testing.B, s *server, n, sessions int) []*counter {
	b.Helper()
	clients := make([]*counter, n)
	for i := range clients {
		c := s.get(eventsPath(fmt.Sprintf("s%d", i%sessions)))
		c.until("caught-up")
		_ = c.conn.SetDeadline(time.Time{})
		clients[i] = &counter{conn: c.conn, r: c.r}
	}
	return clients
}

// pagedLog hands its follower pages that were made before, so that a benchmark measures what comes after the log.
type pagedLog struct {
	*eventstore.Memory
	pages chan []eventstore.Entry
}

func (l *pagedLog) Follow(ctx context.Context, _ uint64, fn func(context.Context, []eventstore.Entry) error) error {
	for {
		select {
		case page := <-l.pages:
			if err := fn(ctx, page); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// smallEvents are n events of some 500 bytes, by turns of some sessions, with sequences after first.
func smallEvents(b *testing.B, n, sessions int, first uint64) []eventstore.Entry {
	b.Helper()
	entries := make([]eventstore.Entry, n)
	for i := range entries {
		p := eventstore.Proposed{Time: time.Now(), Event: menu.StageAttemptFailed{
			Stage: menu.Task6, IDs: []menu.DishID{"d"}, Attempt: i, Reason: strings.Repeat("x", 128),
		}}
		msg, err := eventstore.Encode(key(fmt.Sprintf("s%d", i%sessions)), p)
		if err != nil {
			b.Fatal(err)
		}
		entries[i] = eventstore.Decode(msg.Subject, first+uint64(i)+1, p.Time, msg.Header, msg.Data)
	}
	return entries
}

// BenchmarkFanOut hands events to the hub and lets clients read them over sockets; raw writes the same bytes to as
// many sockets, one write each, with nothing in between. ratio is the one's deliveries by the other's.
func BenchmarkFanOut(b *testing.B) {
	for _, shape := range []struct{ clients, sessions, page int }{{200, 1, 1}, {200, 100, 100}, {1000, 100, 100}, {1000, 1, 1}} {
		b.Run(fmt.Sprintf("clients=%d,sessions=%d", shape.clients, shape.sessions), func(b *testing.B) {
			log := &pagedLog{Memory: eventstore.NewMemory(0), pages: make(chan []eventstore.Entry)}
			s := start(b, bare, onLog(log), configured(func(c *sse.Config) { // the log does not hold what it hands over
				c.Window = sse.Window{Events: b.N + 10, TotalEvents: b.N + 200, Bytes: 1 << 30, TotalBytes: 1 << 30}
			}))
			for i := range shape.sessions {
				s.submit(fmt.Sprintf("s%d", i), 1)
			}
			last, err := log.Last(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			caughtUp, err := log.LoadPage(b.Context(), key("s0"), 0, 1)
			if err != nil {
				b.Fatal(err)
			}
			caughtUp[0].Seq = last
			log.pages <- caughtUp
			clients := listen(b, s, shape.clients, shape.sessions)
			events := smallEvents(b, b.N, shape.sessions, last)
			wire := sse.EncodeEntry(events[0], incarnation)
			b.ResetTimer()
			began := time.Now()
			var readers sync.WaitGroup
			deliveries := 0
			for i, c := range clients {
				want := (b.N - i%shape.sessions + shape.sessions - 1) / shape.sessions
				deliveries += want
				readers.Go(func() {
					if err := c.until(want); err != nil {
						b.Error(err)
					}
				})
			}
			for page := range slices.Chunk(events, shape.page) {
				log.pages <- page
			}
			readers.Wait()
			ours := float64(deliveries) / time.Since(began).Seconds()
			b.StopTimer()
			raw := rawWrites(b, wire, shape.clients, deliveries)
			b.ReportMetric(ours, "deliveries/s")
			b.ReportMetric(raw, "raw/s")
			b.ReportMetric(ours/raw, "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func bare(s *setup) {
	s.bare, s.fiber.WriteTimeout, s.fiber.ReadTimeout = true, 0, 0
	s.cfg.MaxConnections = 20_000
}

// rawWrites sends a frame to each of n sockets in turn, one write each, until there were so many deliveries; the other
// ends read as the clients of streams do. It returns deliveries per second.
func rawWrites(b *testing.B, frame []byte, n, deliveries int) float64 {
	b.Helper()
	listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // it was only a door
	each := max(1, deliveries/n)
	var wg sync.WaitGroup
	conns := make([]net.Conn, n)
	clients := make([]*counter, n)
	for i := range conns {
		c := dial(b, listener.Addr().String())
		defer c.Close() //nolint:errcheck // it was only read
		if conns[i], err = listener.Accept(); err != nil {
			b.Fatal(err)
		}
		defer conns[i].Close() //nolint:errcheck // everything was read
		clients[i] = &counter{conn: c, r: c}
	}
	began := time.Now()
	for i := range conns {
		wg.Go(func() {
			if err := clients[i].until(each); err != nil {
				b.Error(err)
			}
		})
		wg.Go(func() {
			for range each {
				if _, err := conns[i].Write(frame); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(each*n) / time.Since(began).Seconds()
}

// BenchmarkLatency sends events at a fixed pace through a real broker and reports how long they take from the append
// to a client, in milliseconds.
func BenchmarkLatency(b *testing.B) {
	for _, shape := range []struct{ clients, sessions, perSecond int }{{1000, 100, 200}, {1000, 1, 10}} {
		b.Run(fmt.Sprintf("clients=%d,sessions=%d,rate=%d", shape.clients, shape.sessions, shape.perSecond), func(b *testing.B) {
			broker := natstest.New(b)
			log := eventstore.NewJetStream(broker.JetStream(), eventstore.Config{Logger: slog.New(slog.DiscardHandler)})
			s := start(b, bare, onLog(log), func(set *setup) { set.channel = streams.NewChannel(broker.Conn(), "sse") })
			for i := range shape.sessions {
				s.submit(fmt.Sprintf("s%d", i), 1)
			}
			clients := listen(b, s, shape.clients, shape.sessions)
			var mu sync.Mutex
			var took []time.Duration
			sent := make([]time.Time, b.N+1)
			var readers sync.WaitGroup
			for i, c := range clients {
				own := (b.N - i%shape.sessions + shape.sessions - 1) / shape.sessions
				readers.Go(func() {
					var mine []time.Duration
					for n := range own {
						if err := c.until(n + 1); err != nil {
							b.Error(err)
							return
						}
						mu.Lock()
						at := sent[n*shape.sessions+i%shape.sessions]
						mu.Unlock()
						mine = append(mine, time.Since(at))
					}
					mu.Lock()
					defer mu.Unlock()
					took = append(took, mine...)
				})
			}
			pace := time.NewTicker(time.Second / time.Duration(shape.perSecond))
			defer pace.Stop()
			b.ResetTimer()
			for i := range b.N {
				<-pace.C
				e := menu.StageAttemptFailed{Stage: menu.Task6, IDs: []menu.DishID{"d"}, Attempt: i, Reason: strings.Repeat("x", 128)}
				mu.Lock()
				sent[i] = time.Now()
				mu.Unlock()
				if _, err := log.Append(b.Context(), key(fmt.Sprintf("s%d", i%shape.sessions)), eventstore.Proposed{Event: e, Time: time.Now()}); err != nil {
					b.Fatal(err)
				}
			}
			readers.Wait()
			slices.Sort(took)
			for _, q := range []float64{0.5, 0.99} {
				i := min(int(float64(len(took))*q), len(took)-1)
				b.ReportMetric(float64(took[i].Microseconds())/1000, fmt.Sprintf("p%v-ms", q*100))
			}
		})
	}
}

// BenchmarkReplay lets 100 clients at once read 1,000 old events each from Postgres, while nothing is in the window.
func BenchmarkReplay(b *testing.B) {
	const clients, events = 100, 1000
	for _, sessions := range []int{1, clients} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			log := eventstore.NewMemory(0)
			s := start(b, bare, onLog(log), projected(b, log), configured(func(c *sse.Config) { c.Window = sse.Window{Events: 1, TotalEvents: 1} }))
			for i := range sessions {
				session := fmt.Sprintf("s%d", i)
				s.submit(session, 1)
				for n := range events {
					s.tell(session, n)
				}
			}
			last, err := log.Last(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
			defer cancel()
			if err := eventually(ctx, func() bool { return s.hub.Stats().Head == last }); err != nil {
				b.Fatal(err)
			}
			s.waitProjected(last)
			b.ResetTimer()
			for range b.N {
				var wg sync.WaitGroup
				for i := range clients {
					wg.Go(func() {
						c := s.get(eventsPath(fmt.Sprintf("s%d", i%sessions)))
						if err := (&counter{conn: c.conn, r: c.r}).until(events); err != nil {
							b.Error(err)
						}
						_ = c.conn.Close()
					})
				}
				wg.Wait()
			}
			b.ReportMetric(float64(b.N*clients*events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkIdle reports what an idle connection costs: the growth of the process's resident memory and of the
// runtime's own figures, by connection. The clients are in the same process: their sockets are in it.
func BenchmarkIdle(b *testing.B) {
	const clients = 5000
	for range b.N {
		s := start(b, bare, configured(func(c *sse.Config) { c.MaxConnections = clients + 1 }))
		s.submit("s0", 1)
		before, rss := inUse(), resident(b)
		conns := make([]net.Conn, clients)
		for i := range conns {
			c := s.get(eventsPath("s0"))
			c.until("caught-up")
			conns[i] = c.conn
		}
		b.ReportMetric(float64(inUse()-before)/clients, "heap+stack-B/conn")
		b.ReportMetric(float64(resident(b)-rss)/clients, "rss-B/conn")
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func resident(b *testing.B) int64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

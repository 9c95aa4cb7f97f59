package load

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of processor time in /proc, on every Linux.
const ticksPerSecond = 100

// usage is processor time taken so far, in ticks.
type usage struct {
	at                  time.Time
	server, ours, total int // of the server and its children; of it and of this process and its; of everything
}

// use reads /proc. Where there is none, everything is zero.
func (s *Server) use() usage {
	u := usage{at: time.Now()}
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	for i, field := range strings.Fields(line)[1:] {
		if n, err := strconv.Atoi(field); err == nil && i < 8 && i != 3 && i != 4 { // but idle and iowait
			u.total += n
		}
	}
	parents, ticks := processes()
	for pid, n := range ticks {
		server := s.PID > 0 && descends(pid, s.PID, parents)
		if server {
			u.server += n
		}
		if server || descends(pid, os.Getpid(), parents) {
			u.ours += n
		}
	}
	return u
}

// processes returns the parent and the processor time of every process.
func processes() (parents, ticks map[int]int) {
	parents, ticks = map[int]int{}, map[int]int{}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		raw, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// The name, in brackets, may hold anything. After it: state, parent, 9 others, user and system time,
		// and those of its children that have ended.
		fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
		if len(fields) < 15 {
			continue
		}
		parents[pid], _ = strconv.Atoi(fields[1])
		for _, field := range fields[11:15] {
			n, _ := strconv.Atoi(field)
			ticks[pid] += n
		}
	}
	return parents, ticks
}

// CPU returns the processor time that a process has taken so far, and that of those below it, which have ended included.
func CPU(pid int) (own, below time.Duration) {
	parents, ticks := processes()
	for p, n := range ticks {
		switch took := time.Duration(n) * time.Second / ticksPerSecond; {
		case p == pid:
			own = took
		case descends(p, pid, parents):
			below += took
		}
	}
	return own, below
}

func descends(pid, from int, parents map[int]int) bool {
	for ; pid > 1; pid = parents[pid] {
		if pid == from {
			return true
		}
	}
	return false
}

// account puts into a measure what was used since.
func (s *Server) account(m *Measure, since usage) {
	now := s.use()
	seconds := now.at.Sub(since.at).Seconds()
	m.ServerCores = float64(now.server-since.server) / ticksPerSecond / seconds
	m.Foreign = max(0, float64(now.total-since.total-now.ours+since.ours)/ticksPerSecond/seconds)
	if m.Deliveries > 0 {
		m.CPUPerDelivery = float64(now.server-since.server) / ticksPerSecond / float64(m.Deliveries) * 1e6
	}
	m.ServerResident = Resident(s.PID)
}

// Resident returns the bytes of memory that a process has, 0 if it cannot be seen.
func Resident(pid int) int {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1])
	return pages * os.Getpagesize()
}

// handles returns how many files and sockets a process has open, 0 if it cannot be seen.
func handles(pid int) int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries)
}

// Held is what a server holds at a moment; -1 where it is unknown.
type Held struct {
	Resident   int `json:"resident_bytes"`
	Heap       int `json:"heap_bytes"` // at which Go collects next: twice what lives
	Handles    int `json:"handles"`    // open files and sockets
	Goroutines int `json:"goroutines"`
	Consumers  int `json:"consumers"` // on the log's stream
}

// Held looks at what the server holds.
func (s *Server) Held(ctx context.Context) (h Held, err error) {
	h = Held{Resident: cmp.Or(Resident(s.PID), -1), Handles: cmp.Or(handles(s.PID), -1), Consumers: -1}
	if h.Goroutines, err = s.metric(ctx, "go_goroutines"); err != nil {
		return h, err
	}
	if h.Heap, err = s.metric(ctx, "go_memstats_next_gc_bytes"); err == nil && s.Consumers != nil {
		h.Consumers, err = s.Consumers(ctx)
	}
	return h, err
}

// open returns how many streams the server has open, -1 if it does not say.
func (s *Server) open(ctx context.Context) (int, error) { return s.metric(ctx, "kondate_streams_open") }

// untilOpen waits until the server has at most n streams open, and returns how long it took; 0 if it does not say.
func (s *Server) untilOpen(ctx context.Context, n int, limit time.Duration) (took time.Duration, err error) {
	var now int
	took, late := until(ctx, limit, func() bool {
		now, err = s.open(ctx)
		return err != nil || now <= n
	})
	switch {
	case err != nil:
		return 0, err
	case now < 0:
		return 0, nil
	case late != nil:
		return took, fmt.Errorf("%d streams are open %.1f s later, want %d: %w", now, took.Seconds(), n, errKept)
	}
	return took, nil
}

// errKept says that a server keeps streams that have to end.
var errKept = errors.New("streams do not end")

// metric reads one number of GET /metrics, -1 if it is not there.
func (s *Server) metric(ctx context.Context, name string) (int, error) {
	status, body, err := s.call(ctx, http.MethodGet, "/metrics")
	if err != nil || status != http.StatusOK {
		return -1, err
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return int(n), err
		}
	}
	return -1, nil
}

// call asks the server something, on a connection of its own.
func (s *Server) call(ctx context.Context, method, path string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.Address+path, http.NoBody)
	if err != nil {
		return 0, nil, fmt.Errorf("make the request %s %s: %w", method, path, err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("ask the server: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// until polls what nothing signals, and returns how long it took.
func until(ctx context.Context, limit time.Duration, condition func() bool) (time.Duration, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for !condition() {
		select {
		case <-every.C:
		case <-ctx.Done():
			return time.Since(began), context.Cause(ctx)
		}
	}
	return time.Since(began), nil
}

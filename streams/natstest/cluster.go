package natstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
)

// stepDownTimeout is how long a leader may take to say that it steps down: without one nobody answers.
const stepDownTimeout = time.Second

// clusterPatience is how long a cluster may take to agree on something.
const clusterPatience = 30 * time.Second

// nodeEnv tells a test binary to be one server of a cluster; see [RunNode].
const nodeEnv = "KONDATE_TEST_NATS_NODE"

// node says what a server of a cluster is.
type node struct {
	Name          string
	Client, Route int // ports
	Routes        []string
	Dir           string
}

// RunNode makes this process a server of another test's cluster, if it was started as one, and then returns true when it
// has ended. A package that uses [NewCluster] calls it first in its TestMain.
//
// The servers are processes of their own so that they can be killed, and because the broker's code for replicated streams
// has data races that would fail a test under the race detector.
func RunNode() bool {
	raw := os.Getenv(nodeEnv)
	if raw == "" {
		return false
	}
	var n node
	if err := json.Unmarshal([]byte(raw), &n); err != nil {
		panic(err) // the parent's defect
	}
	s, err := server.NewServer(&server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Client, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: n.Dir, MaxPayload: streams.MinPayload, JetStreamMaxStore: 8 << 30, JetStreamMaxMemory: 1 << 30,
		Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: n.Route},
		Routes:  server.RoutesFromStr(strings.Join(n.Routes, ",")),
	})
	if err != nil {
		panic(err) // as above
	}
	s.Start()
	_, _ = io.Copy(io.Discard, os.Stdin) // it ends with the parent
	s.Shutdown()
	s.WaitForShutdown()
	return true
}

// Cluster is three servers of one test, with the log in three copies.
type Cluster struct {
	tb    testing.TB
	nodes []node

	mu        sync.Mutex // guards processes
	processes []*exec.Cmd
}

// NewCluster starts three servers with the topology of the log. They end with the test.
func NewCluster(tb testing.TB) *Cluster {
	tb.Helper()
	const size = 3
	c := &Cluster{tb: tb, processes: make([]*exec.Cmd, size)}
	free := FreePorts(tb, 2*size)
	clients, routes := free[:size], free[size:]
	urls := make([]string, size)
	for i, port := range routes {
		urls[i] = fmt.Sprintf("nats://127.0.0.1:%d", port)
	}
	dir := tb.TempDir()
	for i := range size {
		name := fmt.Sprintf("s%d", i+1)
		c.nodes = append(c.nodes, node{Name: name, Client: clients[i], Route: routes[i], Routes: urls, Dir: filepath.Join(dir, name)})
		c.Start(i)
	}
	tb.Cleanup(func() {
		for i := range size {
			c.Kill(i)
		}
	})
	js := c.JetStream()
	c.eventually("the cluster to take the log", func() error {
		return streams.Ensure(tb.Context(), js, streams.Topology{Replicas: size, MaxBytes: 1 << 30, AckWait: AckWait})
	})
	return c
}

// Start starts one of the servers, which was killed.
func (c *Cluster) Start(i int) {
	c.tb.Helper()
	raw, err := json.Marshal(c.nodes[i])
	if err != nil {
		c.tb.Fatal(err)
	}
	cmd := exec.Command(os.Args[0]) //nolint:noctx // the test itself; it ends with the test
	cmd.Env = append(os.Environ(), nodeEnv+"="+string(raw))
	if _, err := cmd.StdinPipe(); err != nil { // closed when this process ends
		c.tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.tb.Fatal(err)
	}
	c.mu.Lock()
	c.processes[i] = cmd
	c.mu.Unlock()
	c.eventually("a server to take connections", func() error {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.nodes[i].Client)) //nolint:noctx // closed at once
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}

// Kill ends one of the servers as a power cut would. Killing twice is harmless.
func (c *Cluster) Kill(i int) {
	c.mu.Lock()
	cmd := c.processes[i]
	c.processes[i] = nil
	c.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
}

// Conn returns a connection to any of the servers, which finds another one when that is gone. It closes with the test.
func (c *Cluster) Conn() *nats.Conn {
	c.tb.Helper()
	urls := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		urls[i] = fmt.Sprintf("nats://127.0.0.1:%d", n.Client)
	}
	nc, err := nats.Connect(strings.Join(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		c.tb.Fatal(err)
	}
	c.tb.Cleanup(nc.Close)
	return nc
}

// JetStream returns a JetStream context on a connection that closes with the test.
func (c *Cluster) JetStream() jetstream.JetStream {
	c.tb.Helper()
	js, err := jetstream.New(c.Conn())
	if err != nil {
		c.tb.Fatal(err)
	}
	return js
}

// StepDown makes the leader of the log hand over to another server. There may be none at the moment, which is an error.
func (c *Cluster) StepDown(nc *nats.Conn) error {
	reply, err := nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+streams.EventStream, nil, stepDownTimeout)
	if err != nil {
		return fmt.Errorf("ask the leader to step down: %w", err)
	}
	if !strings.Contains(string(reply.Data), `"success":true`) {
		return errors.New("the leader does not step down: " + string(reply.Data))
	}
	return nil
}

// eventually tries something until it succeeds.
func (c *Cluster) eventually(what string, try func() error) {
	c.tb.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(clusterPatience)
	defer late.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late.C:
			c.tb.Fatalf("waited in vain for %s: %v", what, err)
		}
	}
}

// FreePorts returns ports of 127.0.0.1 that nobody has, and that the system gives to nobody who asks for any port or makes
// a connection: a server that is stopped finds its own free when it starts again.
func FreePorts(tb testing.TB, n int) []int {
	tb.Helper()
	const first, last = 10_000, 32_000
	var found []int
	for range 100 * n {
		port := first + rand.IntN(last-first)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)) //nolint:noctx // it is closed at once
		if err != nil {
			continue // somebody has it
		}
		defer l.Close() //nolint:errcheck // all are held until the last one is chosen, so that they differ
		if found = append(found, port); len(found) == n {
			return found
		}
	}
	tb.Fatalf("of %d ports between %d and %d hardly one is free", 100*n, first, last)
	return nil
}

package natstest

import (
	"errors"
	"fmt"
	"net"
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

// clusterPatience is how long a cluster may take to agree on something.
const clusterPatience = 30 * time.Second

// Cluster is three servers of one test, in this process, with the log in three copies.
type Cluster struct {
	tb      testing.TB
	options []*server.Options

	mu      sync.Mutex // guards servers
	servers []*server.Server
}

// NewCluster starts three servers with the topology of the log. They end with the test.
func NewCluster(tb testing.TB) *Cluster {
	tb.Helper()
	const size = 3
	c := &Cluster{tb: tb, servers: make([]*server.Server, size)}
	clients, routes := ports(tb, size), ports(tb, size)
	urls := make([]string, size)
	for i, port := range routes {
		urls[i] = fmt.Sprintf("nats://127.0.0.1:%d", port)
	}
	dir := tb.TempDir()
	for i := range size {
		c.options = append(c.options, &server.Options{
			ServerName: fmt.Sprintf("s%d", i+1), Host: "127.0.0.1", Port: clients[i], NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: filepath.Join(dir, fmt.Sprint(i+1)), MaxPayload: streams.MinPayload,
			JetStreamMaxStore: 8 << 30, JetStreamMaxMemory: 1 << 30,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: routes[i]},
			Routes:  server.RoutesFromStr(strings.Join(urls, ",")),
		})
	}
	for i := range size {
		c.Start(i)
	}
	tb.Cleanup(func() {
		for i := range size {
			c.Stop(i)
		}
	})
	js := c.JetStream()
	c.eventually("the cluster to take the log", func() error {
		return streams.Ensure(tb.Context(), js, streams.Topology{Replicas: size, MaxBytes: 1 << 30, AckWait: AckWait})
	})
	return c
}

// Start starts one of the servers, which is stopped.
func (c *Cluster) Start(i int) {
	c.tb.Helper()
	s, err := server.NewServer(c.options[i].Clone())
	if err != nil {
		c.tb.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(clusterPatience) {
		c.tb.Fatalf("server %d takes no connections", i+1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servers[i] = s
}

// Stop stops one of the servers. Stopping twice is harmless.
func (c *Cluster) Stop(i int) {
	c.mu.Lock()
	s := c.servers[i]
	c.servers[i] = nil
	c.mu.Unlock()
	if s != nil {
		s.Shutdown()
		s.WaitForShutdown()
	}
}

// Conn returns a connection to any of the servers, which finds another one when that is gone. It closes with the test.
func (c *Cluster) Conn() *nats.Conn {
	c.tb.Helper()
	urls := make([]string, len(c.options))
	for i, o := range c.options {
		urls[i] = fmt.Sprintf("nats://127.0.0.1:%d", o.Port)
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
	reply, err := nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+streams.EventStream, nil, clusterPatience)
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

// ports returns free ports. They are all held while they are chosen, so that none is given twice.
func ports(tb testing.TB, n int) []int {
	tb.Helper()
	var found []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed at once
		if err != nil {
			tb.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // it was only held
		addr, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			tb.Fatalf("%s is no TCP address", l.Addr())
		}
		found = append(found, addr.Port)
	}
	return found
}

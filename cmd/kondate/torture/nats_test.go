//go:build linux

package torture_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// broker is one of the three NATS servers.
type broker struct {
	*process

	addr   string  // for clients, past every link
	store  string  // folder of its streams
	disk   bool    // store is a disk of its own
	routes []*link // from it to the other servers
}

// brokerConfig is a server of a cluster. It names no server to its clients, and none to the other servers: they would go
// around the links.
const brokerConfig = `server_name: %s
listen: %q
max_payload: 4MB
jetstream { store_dir: %q, max_file_store: 8GB, max_memory_store: 256MB, sync_interval: always }
cluster { name: torture, listen: %q, no_advertise: true, routes: [%s] }
`

// newBrokers prepares three servers that reach each other over links.
func newBrokers(tb testing.TB, dir string) []*broker {
	tb.Helper()
	const size = 3
	ports := freePorts(tb, 2*size)
	brokers := make([]*broker, size)
	for i := range brokers {
		name := fmt.Sprintf("nats-%d", i+1)
		b := &broker{addr: loopback(ports[i]), store: filepath.Join(dir, name)}
		var routes []string
		for j := range size {
			if j != i {
				l := newLink(tb, linkName(name, fmt.Sprintf("nats-%d", j+1)), loopback(ports[size+j]))
				b.routes = append(b.routes, l)
				routes = append(routes, fmt.Sprintf("%q", "nats://"+l.addr))
			}
		}
		file := filepath.Join(dir, name+".conf")
		config := fmt.Sprintf(brokerConfig, name, b.addr, b.store, loopback(ports[size+i]), strings.Join(routes, ", "))
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			tb.Fatal(err)
		}
		path := program(tb, "nats-server")
		b.process = &process{
			name: name, log: filepath.Join(dir, name+".log"),
			command: func() *exec.Cmd { return exec.Command(path, "-c", file) }, //nolint:noctx // the fleet ends it
			answers: func(ctx context.Context) error {
				conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", b.addr)
				if err == nil {
					err = conn.Close()
				}
				return err
			},
		}
		brokers[i] = b
	}
	brokers[size-1].smallDisk(tb)
	return brokers
}

// connect returns a JetStream context on the servers themselves, past every link. It closes with the test.
func connect(tb testing.TB, brokers []*broker) jetstream.JetStream {
	tb.Helper()
	urls := make([]string, len(brokers))
	for i, b := range brokers {
		urls[i] = "nats://" + b.addr
	}
	nc, err := nats.Connect(strings.Join(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.PingInterval(time.Second), nats.RetryOnFailedConnect(true))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	return js
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// freePorts returns ports that nobody has, and that the system gives to nobody who asks for any port or makes a
// connection: a process that comes back must come back to its own. natstest has the same; nothing of the program is imported here.
func freePorts(tb testing.TB, n int) []int {
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

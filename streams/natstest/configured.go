package natstest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// Configured starts a nats-server of somebody's own from a configuration file of this text, which may include others of
// its folder. It listens on a free port and ends with the test.
func Configured(tb testing.TB, dir, config string) *server.Server {
	tb.Helper()
	file := filepath.Join(dir, "nats-server.conf")
	if err := os.WriteFile(file, []byte("listen: 127.0.0.1:-1\nmax_payload: 4MB\njetstream: {store_dir: \""+filepath.Join(dir, "js")+"\"}\n"+config), 0o600); err != nil {
		tb.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	ns, err := server.NewServer(opts)
	if err != nil {
		tb.Fatal(err)
	}
	ns.Start()
	tb.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(clusterPatience) {
		tb.Fatal("the server does not start")
	}
	return ns
}

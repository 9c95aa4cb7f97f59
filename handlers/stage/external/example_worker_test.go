package external_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"kondate/domain/menu"
	"kondate/handlers/stage/external"
	"kondate/streams"
	"kondate/streams/natstest"
)

// The examples of docs/workers.md run as they stand there, and keep the contract.
func TestExampleWorkers(t *testing.T) {
	t.Parallel()
	prepare := map[string]func(t *testing.T) *exec.Cmd{
		"Go": func(t *testing.T) *exec.Cmd {
			t.Helper()
			program := filepath.Join(t.TempDir(), "worker")
			must(t, exec.CommandContext(t.Context(), "go", "build", "-o", program, "./testdata/worker-go"))
			return exec.Command(program) //nolint:noctx // it is stopped in order
		},
		"Node": func(t *testing.T) *exec.Cmd {
			t.Helper()
			if _, err := exec.LookPath("npm"); err != nil {
				t.Fatal("node and npm are not installed here: .ci/need node, which make test calls, installs them")
			}
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS("testdata/worker-node")); err != nil {
				t.Fatal(err)
			}
			install := exec.CommandContext(t.Context(), "npm", "install", "--no-package-lock", "--no-audit", "--no-fund")
			install.Dir = dir
			must(t, install)
			return exec.Command("node", filepath.Join(dir, "worker.mjs")) //nolint:noctx // as above
		},
	}
	for name, command := range prepare {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := natstest.NewWith(t, streams.ServerConfig{Listen: "127.0.0.1:0"})
			cmd := command(t)
			cmd.Env = append(os.Environ(), "NATS_URL="+server.URL())
			cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
				if err := cmd.Wait(); err != nil {
					t.Errorf("the worker ends with %v", err)
				}
			})
			nc := server.Conn()
			options := external.Options{Stage: menu.Allergen, Tenant: menu.DefaultTenant, Timeout: 20 * time.Second}
			for late := time.Now().Add(time.Minute); ; {
				r, err := external.Conform(t.Context(), nc, options)
				if err != nil {
					t.Fatal(err)
				}
				if r.Checks[0].Verdict == external.Failed && time.Now().Before(late) {
					<-time.After(50 * time.Millisecond) // it is not connected yet
					continue
				}
				if got := ended(r, external.Passed); len(got) != len(r.Checks) {
					t.Errorf("%+v", r)
				}
				return
			}
		})
	}
}

func must(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

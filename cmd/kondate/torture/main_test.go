package torture_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// patience is how long the tests wait for what must happen before they fail.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(programs) // the machine's temporary folder clears itself
	os.Exit(code)
}

// programs is the folder that built makes; empty before.
var programs string

// built makes the two programs at the first call and returns their folder: the program under the race detector, and the
// module's own NATS server without it, whose code for replicated streams has data races.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kondate-fleet-bin-")
	if err != nil {
		return "", err
	}
	programs = dir
	for _, args := range [][]string{
		{"build", "-race", "-o", filepath.Join(dir, "kondate"), "kondate/cmd/kondate"},
		{"build", "-o", filepath.Join(dir, "nats-server"), "github.com/nats-io/nats-server/v2"},
	} {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return dir, fmt.Errorf("go %v: %w\n%s", args, err, out)
		}
	}
	return dir, nil
})

// program returns the path of one of the built programs.
func program(tb testing.TB, name string) string {
	tb.Helper()
	dir, err := built()
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// onThread does something on one thread that never ends. Commands are started there: the kernel kills a child when the
// thread that started it ends, and so the fleet goes with the test, whatever ends that.
var onThread = sync.OnceValue(func() func(do func() error) error {
	type job struct {
		do  func() error
		err chan error
	}
	jobs := make(chan job)
	go func() {
		runtime.LockOSThread()
		for j := range jobs {
			j.err <- j.do()
		}
	}()
	return func(do func() error) error {
		j := job{do, make(chan error, 1)}
		jobs <- j
		return <-j.err
	}
})

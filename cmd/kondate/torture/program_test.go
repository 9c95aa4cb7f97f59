package torture_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// built is the folder with the program, made at the first call.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kondate-checker-bin-")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-race", "-o", filepath.Join(dir, "kondate"), "kondate/cmd/kondate").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return dir, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := built(); err == nil {
		_ = os.RemoveAll(dir) // the machine's temporary folder clears itself
	}
	os.Exit(code)
}

// program returns the path of the built program.
func program(tb testing.TB, name string) string {
	tb.Helper()
	dir, err := built()
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(dir, name)
}

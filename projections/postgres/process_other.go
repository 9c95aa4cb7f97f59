//go:build unix && !linux

package postgres

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// locale is the one that every system has.
const locale = "C"

// endWithParent can do nothing here: a server whose parent was killed runs on until the next Start.
func endWithParent(*syscall.SysProcAttr) {}

// arguments returns the command line of a living process, split at blanks.
func arguments(ctx context.Context, pid int) []string {
	out, err := exec.CommandContext(ctx, "ps", "-ww", "-o", "args=", "-p", strconv.Itoa(pid)).Output() //nolint:gosec // a number
	if err != nil {
		return nil
	}
	return strings.Fields(string(out))
}

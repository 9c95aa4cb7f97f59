package postgres

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"syscall"
)

// locale sorts by code point and knows the letters of every script.
const locale = "C.UTF-8"

// endWithParent has the kernel ask the child for a fast shutdown when we die, kill -9 included.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }

// arguments returns the command line of a living process; none for one that has
// ended, even if nobody has collected it yet.
func arguments(_ context.Context, pid int) []string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	var args []string
	for arg := range bytes.SplitSeq(bytes.TrimRight(raw, "\x00"), []byte{0}) {
		args = append(args, string(arg))
	}
	return args
}

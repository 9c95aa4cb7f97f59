package postgres

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is a running child and the goroutine that waits for it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has ended, after err is set
	err  error
}

// startProcess runs a program of PostgreSQL as the account, its output going to
// out. The child outlives ctx: who starts it ends it.
func startProcess(ctx context.Context, acct account, out *os.File, path string, args ...string) (*process, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, args...) //nolint:gosec // running the installed server is the point
	cmd.Env = childEnv()
	cmd.Dir = "/" // ours may be closed to the account
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: acct.credential(),
		Setpgid:    true, // Ctrl-C on the terminal is for us, who stop it in order
	}
	endWithParent(cmd.SysProcAttr)

	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel takes the end of the thread that forked for the end of the
		// parent, so this goroutine keeps its thread as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("run %s as user %s: %w", path, acct.name, err)
	}
	return p, nil
}

// signal reports nothing: the only likely failure is that the child has ended, which done tells.
func (p *process) signal(sig os.Signal) { _ = p.cmd.Process.Signal(sig) }

// kill ends the child and its children, and waits for the child.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// end has the server drop everything (an immediate shutdown), and kills it if it cannot even do that.
func (p *process) end(ctx context.Context) {
	p.signal(syscall.SIGQUIT)
	if !p.endsWithin(context.WithoutCancel(ctx), politeBound) {
		p.kill()
	}
}

// endsWithin waits for the end of the child, for the bound and ctx at most.
func (p *process) endsWithin(ctx context.Context, bound time.Duration) bool {
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	select {
	case <-p.done: // both at once
		return true
	default:
		return false
	}
}

func ending(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// childEnv keeps our secrets and a person's PG… variables from the server, and its messages in English.
func childEnv() []string {
	env := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// openLog opens the log file to append to. One that has grown large makes room
// for a new one first and stays as .old.
func openLog(path string) (*os.File, error) {
	const large = 8 << 20
	if fi, err := os.Stat(path); err == nil && fi.Size() > large {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, fmt.Errorf("rotate the log: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // the caller's own folder
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return f, nil
}

// logTail returns what a file says from offset on, at most its last ten lines.
func logTail(path string, offset int64) string {
	const lines, most = 10, 8 << 10
	f, err := os.Open(path) //nolint:gosec // the caller's own folder
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	if fi, err := f.Stat(); err == nil {
		offset = max(offset, fi.Size()-most)
	}
	text, err := io.ReadAll(io.NewSectionReader(f, offset, most))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(string(bytes.TrimSpace(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

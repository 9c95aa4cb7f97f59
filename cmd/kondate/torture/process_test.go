//go:build linux

package torture_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is one program of the fleet, which is started, broken and started again under the same name and on the same data.
// Its methods are called by one goroutine at a time.
type process struct {
	name    string
	command func() *exec.Cmd                // made anew for each start
	answers func(ctx context.Context) error // whether it does what it is for; nil: it says so itself, see sayReady
	log     string                          // file of all that it ever wrote
	ask     syscall.Signal                  // asks it to end; 0: SIGTERM

	cmd    *exec.Cmd
	done   chan struct{} // closed when it has ended
	said   chan struct{} // closed when it said that it is ready
	paused bool
	meant  bool // its end was our doing
}

// sayReady is what the program prints when it takes work.
const sayReady = "kondate is ready"

// start starts the process, which must not be running, and does not wait.
func (p *process) start() error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	cmd := p.command()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	p.said = make(chan struct{})
	cmd.Stdout, cmd.Stderr = &lookout{to: out, text: sayReady, seen: p.said}, out
	if err := onThread()(cmd.Start); err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", p.name, err), out.Close())
	}
	done := make(chan struct{})
	p.cmd, p.done, p.paused, p.meant = cmd, done, false, false
	go func() {
		_ = cmd.Wait() // how it ended is in its state
		_ = out.Close()
		close(done)
	}()
	return nil
}

// ready waits until a started process takes work.
func (p *process) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if p.answers == nil {
		select {
		case <-p.said:
			return nil
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready: %s", p.name, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %s", p.name, p.tail())
		}
	}
	return until(ctx, p.name+" answers", p.answers)
}

// running reports whether the process is there, paused or not.
func (p *process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// fell reports whether the process ended though nobody told it to.
func (p *process) fell() bool { return p.cmd != nil && !p.running() && !p.meant }

// kill ends the process and its children as a power cut would. Killing twice is harmless.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	p.meant = true
	p.signal(syscall.SIGKILL)
	<-p.done
}

// stop asks the process to end and waits until it has.
func (p *process) stop(ctx context.Context) error {
	if !p.running() {
		return nil
	}
	p.meant = true
	_ = p.cmd.Process.Signal(cmp.Or(p.ask, syscall.SIGTERM)) // it may just have ended
	select {
	case <-p.done:
	case <-ctx.Done():
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it says where everybody waits
		<-p.done
		return fmt.Errorf("%s does not stop: %s", p.name, p.tail())
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("%s stopped with %s: %s", p.name, p.cmd.ProcessState, p.tail())
	}
	return nil
}

// pause stops the process and its children where they stand; their connections stay open.
func (p *process) pause() {
	p.paused = true
	p.signal(syscall.SIGSTOP)
}

func (p *process) resume() {
	p.paused = false
	p.signal(syscall.SIGCONT)
}

// signal reaches the children too: a Postgres is a process per connection.
func (p *process) signal(s syscall.Signal) {
	if !p.running() {
		return
	}
	children := children(p.cmd.Process.Pid)
	_ = p.cmd.Process.Signal(s) // it may just have ended
	for _, pid := range children {
		_ = syscall.Kill(pid, s) // the same
	}
}

func children(pid int) []int {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil // it has just ended
	}
	var pids []int
	for field := range strings.FieldsSeq(string(raw)) {
		if child, err := strconv.Atoi(field); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}

// tail is the end of what the process wrote, and where the rest is.
func (p *process) tail() string {
	const most = 4 << 10
	raw, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if len(raw) > most {
		raw = raw[len(raw)-most:]
	}
	return fmt.Sprintf("the end of %s:\n%s", p.log, raw)
}

// wrote says how often the process wrote a text.
func (p *process) wrote(text string) int {
	raw, err := os.ReadFile(p.log)
	if err != nil {
		return 0
	}
	return bytes.Count(raw, []byte(text))
}

// lookout passes on what is written, and tells when a line with a text came by.
type lookout struct {
	to   io.Writer
	text string
	seen chan struct{}
	once sync.Once
	line []byte
}

func (l *lookout) Write(p []byte) (int, error) {
	l.line = append(l.line, p...)
	if bytes.Contains(l.line, []byte(l.text)) {
		l.once.Do(func() { close(l.seen) })
	}
	if i := bytes.LastIndexByte(l.line, '\n'); i >= 0 {
		l.line = l.line[i+1:]
	}
	return l.to.Write(p)
}

// until tries again until what it waits for is true or ctx ends.
func until(ctx context.Context, what string, try func(context.Context) error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, err)
		}
	}
}

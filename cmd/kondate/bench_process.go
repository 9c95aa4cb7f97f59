package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"kondate/handlers/sse/load"
)

const (
	// benchConnections are those that a server takes that is started for a measurement, unless more are asked for.
	benchConnections = 5000
	// benchLogBytes is how large its log may become.
	benchLogBytes = "64GiB"
	// benchStop is how long the processes of a measurement may take to stop.
	benchStop = 15 * time.Second
)

// benched is the server that is measured, and the processes that were started for it.
type benched struct {
	*load.Server

	env     environment
	sync    string
	roles   []string
	noop    bool   // its stages cost nothing
	clients int    // that are going to read its streams at once
	profile string // what the files of its profiles begin with; empty: none are taken
	foreign bool   // it runs without us
	dir     string
	conn    connection
	log     *app // the connection to the server's log
	own     *child
	raw     *child
}

// child is a process of this program.
type child struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	log    bytes.Buffer  // to be read when it has ended
	ended  chan struct{} // closed when it has
	err    error         // how it ended
}

// program is a command line of this program, without the settings of our environment: they must neither lead to
// somebody's data nor change what is measured. When ctx ends it is asked to end, and killed if it does not.
func program(ctx context.Context, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, args...) //nolint:gosec // it is this program
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, envName("")) })
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = benchStop
	return cmd, nil
}

// spawn starts this program again and returns when it has said a line that begins with ready; line is what it said.
func spawn(ctx context.Context, ready string, args ...string) (c *child, line string, err error) {
	c = &child{ended: make(chan struct{})}
	running, stop := context.WithCancel(ctx)
	c.cancel = stop
	if c.cmd, err = program(running, args...); err != nil {
		stop()
		return nil, "", err
	}
	out, in := io.Pipe()
	c.cmd.Stdout, c.cmd.Stderr = in, &c.log
	if err := c.cmd.Start(); err != nil {
		stop()
		return nil, "", fmt.Errorf("start kondate %s: %w", args[0], err)
	}
	go func() {
		c.err = c.cmd.Wait()
		_ = in.Close() // a pipe's writer closes without an error
		close(c.ended)
	}()
	said := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), ready) {
				said <- lines.Text()
				break
			}
		}
		_, _ = io.Copy(io.Discard, out) // what it says then is of no interest, but a full pipe would hold it up
	}()
	select {
	case line := <-said:
		return c, line, nil
	case <-c.ended:
		stop()
		return nil, "", fmt.Errorf("kondate %s ended before it was ready: %w\n%s", args[0], errors.Join(c.err, ctx.Err()), c.log.Bytes())
	}
}

// stop ends the process in order. One that does not end is killed.
func (c *child) stop() error {
	if c == nil {
		return nil
	}
	c.cancel()
	<-c.ended
	if c.cmd.ProcessState.ExitCode() != exitOK {
		return fmt.Errorf("stop kondate %s: %w\n%s", c.cmd.Args[1], c.err, c.log.Bytes())
	}
	return nil
}

// benchDir makes a folder to measure in, in another one or (empty) the system's temporary one.
func benchDir(in string) (string, error) {
	dir, err := os.MkdirTemp(in, "kondate-bench-")
	if err == nil {
		err = os.Chmod(dir, 0o711) //nolint:gosec // Postgres passes as an unprivileged user when the caller is root
	}
	if err != nil {
		return "", fmt.Errorf("make a folder to measure in: %w", err)
	}
	return dir, nil
}

// startOwn starts a server on a data dir that is thrown away afterwards.
func (b *benched) startOwn(ctx context.Context, in string) (err error) {
	if b.dir, err = benchDir(in); err != nil {
		return err
	}
	b.Restart = func(ctx context.Context) error {
		if err := b.own.stop(); err != nil {
			return err
		}
		return b.serve(ctx)
	}
	return b.serve(ctx)
}

func (b *benched) data() string { return filepath.Join(b.dir, "data") }

func (b *benched) serve(ctx context.Context) (err error) {
	b.own, _, err = spawn(
		ctx, "kondate is ready", "bench", "serve", "--data-dir="+b.data(), "--http-addr=127.0.0.1:0",
		"--nats-max-bytes="+benchLogBytes, "--nats-sync="+b.sync, "--roles="+strings.Join(b.roles, ","),
		"--sse-max-connections="+strconv.Itoa(max(benchConnections, 2*b.clients)), "--processing-session-ttl=24h", "--sse-event-history-ttl=0",
		"--noop="+strconv.FormatBool(b.noop), "--profile="+b.profile,
	)
	if err != nil {
		return err
	}
	conn, err := readConnection(b.data())
	if err != nil {
		return err
	}
	return b.use(ctx, conn)
}

func (b *benched) startRaw(ctx context.Context) (err error) {
	b.raw, b.Raw, err = spawn(ctx, "127.", "bench", "raw")
	return err
}

// kondate runs a command beside the server, in a process of its own, and returns how long it took.
func (b *benched) kondate(ctx context.Context, args ...string) (seconds float64, err error) {
	cmd, err := program(ctx, append(args, "--data-dir="+b.data(), "--json")...)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("kondate %s %s: %w\n%s", args[0], args[1], err, out)
	}
	return time.Since(began).Seconds(), nil
}

func (b *benched) closeLog(ctx context.Context) {
	if b.log != nil {
		_ = b.log.close(ctx) // it only closes a connection
		b.log = nil
	}
}

// stop ends everything that was started, and removes what was made.
func (b *benched) stop(ctx context.Context) error {
	var errs []error
	if b.foreign && b.log != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), benchStop)
		defer cancel()
		errs = append(errs, b.Erase(ctx))
	}
	b.closeLog(ctx)
	errs = append(errs, b.raw.stop(), b.own.stop())
	if b.dir != "" {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	return errors.Join(errs...)
}

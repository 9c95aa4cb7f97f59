package main

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
)

// subscriber is one of the programs of docs/subscribe.md.
type subscriber struct {
	name    string
	command func() *exec.Cmd
	tells   func(session, dish string) string // what it prints of a dish

	running *exec.Cmd
	out     *syncBuffer // of all its lives
	errs    *syncBuffer
}

// subscribers builds and installs the programs. The Python one runs only where its client library is installed.
func subscribers(t *testing.T) []*subscriber {
	t.Helper()
	dir := t.TempDir()
	prepare := func(in, name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = in
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
	}
	program := func(args ...string) func() *exec.Cmd {
		return func() *exec.Cmd { return exec.Command(args[0], args[1:]...) } //nolint:noctx // the test ends it
	}
	line := func(session, dish string) string { return session + " " + dish + " " }
	raw := func(_, dish string) string { return `"menu_id":"` + dish + `"` }

	goBinary := filepath.Join(dir, "subscriber")
	prepare("testdata/subscriber-go", "go", "build", "-o", goBinary, ".")
	prepare("testdata/subscriber-cli", "go", "build", "-o", filepath.Join(dir, "nats"), "github.com/nats-io/natscli/nats")
	node := filepath.Join(dir, "node")
	if err := os.CopyFS(node, os.DirFS("testdata/subscriber-node")); err != nil {
		t.Fatal(err)
	}
	prepare(node, "npm", "ci", "--no-audit", "--no-fund")
	list := []*subscriber{
		{name: "Go", command: program(goBinary), tells: line},
		{name: "Node", command: program("node", filepath.Join(node, "subscriber.mjs")), tells: line},
		{name: "CLI", command: func() *exec.Cmd {
			cmd := program("sh", "testdata/subscriber-cli/subscriber.sh")()
			cmd.Env = append(cmd.Environ(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"), "XDG_CONFIG_HOME="+dir)
			return cmd
		}, tells: raw},
	}
	python := filepath.Join(dir, "subscriber.py")
	if err := os.CopyFS(dir, os.DirFS("testdata/subscriber-python")); err != nil {
		t.Fatal(err)
	}
	prepare(dir, "python3", "-m", "py_compile", python)
	if exec.CommandContext(t.Context(), "python3", "-c", "import nats.js").Run() == nil {
		list = append(list, &subscriber{name: "Python", command: program("python3", python), tells: line})
	} else {
		t.Log("the Python program was only compiled, NOT RUN: python3 has no module nats here (pip install nats-py)")
	}
	for _, s := range list {
		s.out, s.errs = &syncBuffer{}, &syncBuffer{}
	}
	return list
}

// start runs the program in a process group of its own: a shell has children.
func (s *subscriber) start(t *testing.T, url string) {
	t.Helper()
	s.running = s.command()
	s.running.Env = append(s.running.Environ(), "NATS_URL="+url)
	s.running.Stdout, s.running.Stderr = s.out, s.errs
	s.running.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.running.Start(); err != nil {
		t.Fatal(err)
	}
}

func (s *subscriber) end(t *testing.T, by syscall.Signal) {
	t.Helper()
	if s.running == nil {
		return
	}
	if err := syscall.Kill(-s.running.Process.Pid, by); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Error(err)
	}
	_ = s.running.Wait() // it was killed
	s.running = nil
}

// The programs of docs/subscribe.md miss nothing: not while the server restarts, and not while they are themselves.
func TestExampleSubscribers(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"npm", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is not installed here: .ci/need node python, which make test calls, installs it", tool)
		}
	}
	list := subscribers(t)
	listen := listenAddress(t)
	url := "nats://" + listen
	dir := t.TempDir()
	serve := func() *process { return startProcess(t, dir, "--nats-listen", listen) }
	p := serve()
	submit := func() accepted {
		t.Helper()
		answer, err := p.client().submit(t.Context(), body(t, 3))
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	await := func(of accepted) {
		t.Helper()
		for _, s := range list {
			for _, item := range of.Items {
				want := s.tells(of.SessionID, string(item.MenuID))
				t.Logf("%s has to tell %q", s.name, want) // the last one of a failed test is the reason
				waitFor(t, func() bool { return strings.Contains(s.out.String(), want) })
			}
		}
	}
	start := func() {
		for _, s := range list {
			s.start(t, url)
		}
	}
	t.Cleanup(func() {
		for _, s := range list {
			s.end(t, syscall.SIGKILL)
			if t.Failed() {
				t.Logf("%s said\n%s\nand\n%s", s.name, s.out, s.errs)
			}
		}
	})

	before := submit()
	start()
	await(before)

	for _, s := range list {
		s.acked(t, p.conn.NATSURL) // what is not would come again only after half a minute
	}
	p.end()
	p = serve()
	second := submit()
	await(second)

	told := map[string]int{}
	count := func(s *subscriber) int {
		return strings.Count(s.out.String(), s.tells(second.SessionID, string(second.Items[0].MenuID)))
	}
	for _, s := range list {
		s.acked(t, p.conn.NATSURL)
		told[s.name] = count(s)
		s.end(t, syscall.SIGKILL)
	}
	missed := submit()
	if _, err := follow(t.Context(), p.client(), missed.StreamURL); err != nil {
		t.Fatal(err)
	}
	start()
	await(missed)
	for _, s := range list {
		if n := count(s); n != told[s.name] {
			t.Errorf("the program in %s tells what it has acked again: %d times, then %d", s.name, told[s.name], n)
		}
	}

	if err := p.client().call(t.Context(), http.MethodDelete, "/v1/sessions/"+missed.SessionID, nil, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.name != "CLI" { // which follows results alone
			waitFor(t, func() bool { return strings.Contains(s.out.String(), "erased "+missed.SessionID+"\n") })
		}
	}
}

// acked waits until the broker has every ack of the program.
func (s *subscriber) acked(t *testing.T, url string) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.Consumer(t.Context(), streams.EventStream, "team-example-"+strings.ToLower(s.name))
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		info, err := c.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.NumAckPending == 0 && info.NumPending == 0
	})
}

// listenAddress returns an address that a server can listen on, again after it was restarted.
func listenAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nobody connected
	return l.Addr().String()
}

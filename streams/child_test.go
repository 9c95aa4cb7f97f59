package streams_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"kondate/streams"
)

// A test that kills a server, or counts its system calls, runs it in a process of its own: the test binary, told by these
// variables what to be.
const (
	childRole = "KONDATE_TEST_CHILD"
	childDir  = "KONDATE_TEST_DIR"
)

// childBatch is how many messages a batch of a child has.
const childBatch = 200

// child is the process's life as a child; it returns the exit code.
func child(role, dir string) int {
	ctx := context.Background()
	listen := ""
	if role == "trace" {
		listen = "127.0.0.1:0" // so that an acknowledgement is a system call
	}
	server, err := streams.StartServer(ctx, streams.ServerConfig{StoreDir: dir, Sync: always(), Listen: listen, Logger: discard()})
	if err != nil {
		return say(err)
	}
	nc, err := server.Connect()
	if listen != "" {
		nc, err = nats.Connect(server.URL())
	}
	if err != nil {
		return say(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return say(err)
	}
	if err := streams.EnsureStream(ctx, js, streams.Topology{Replicas: 1, MaxBytes: 1 << 30}); err != nil {
		return say(err)
	}
	switch role {
	case "batches":
		err = publishBatches(ctx, js)
	case "trace":
		err = publishTraced(ctx, js)
	case "full":
		err = publishUntilFull(ctx, server, js)
	}
	return say(err)
}

func say(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// tell writes a line for whoever started the child.
func tell(words ...any) {
	_, _ = fmt.Fprintln(os.Stdout, words...) // nobody may listen any more
}

func always() streams.SyncPolicy {
	p, err := streams.ParseSync("always")
	if err != nil {
		panic(err) // a constant
	}
	return p
}

// kilobyte is a message of about that size on one of the log's subjects.
func kilobyte(session string, n int) *nats.Msg {
	return &nats.Msg{Subject: "menu.evt.public." + session + ".menu.submitted", Header: nats.Header{}, Data: fmt.Appendf(nil, "%-1000d", n)}
}

func batch(session string) []*nats.Msg {
	msgs := make([]*nats.Msg, childBatch)
	for i := range msgs {
		msgs[i] = kilobyte(session, i)
	}
	return msgs
}

// publishBatches publishes one batch after the other until it is killed, and says which were acknowledged.
func publishBatches(ctx context.Context, js jetstream.JetStream) error {
	for n := 0; ; n++ {
		session := fmt.Sprintf("%d-%d", os.Getpid(), n)
		if _, err := jetstreamext.PublishMsgBatch(ctx, js, batch(session)); err != nil {
			return err
		}
		tell("acked", session)
	}
}

// publishTraced publishes a message and a batch, between marks that a tracer of system calls sees.
func publishTraced(ctx context.Context, js jetstream.JetStream) error {
	for range 3 { // the first one makes files
		if _, err := js.PublishMsg(ctx, kilobyte("warm", 0)); err != nil {
			return err
		}
	}
	tell("mark single")
	if _, err := js.PublishMsg(ctx, kilobyte("single", 0)); err != nil {
		return err
	}
	tell("mark batch")
	if _, err := jetstreamext.PublishMsgBatch(ctx, js, batch("batch")); err != nil {
		return err
	}
	tell("mark end")
	return nil
}

// publishUntilFull publishes until the disk is full, says what was acknowledged, and what the server's watch says then,
// though there is room again.
func publishUntilFull(ctx context.Context, server *streams.Server, js jetstream.JetStream) error {
	signal.Ignore(syscall.SIGXFSZ) // a full disk is an error of a write and not a signal
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	full := before
	full.Cur = 100 << 10
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
		return err
	}
	for n := 0; ; n++ {
		publish, cancel := context.WithTimeout(ctx, 2*time.Second)
		ack, err := js.PublishMsg(publish, kilobyte("full", n), jetstream.WithRetryAttempts(0))
		cancel()
		if err != nil {
			tell("refused", n, err)
			break
		}
		tell("acked", n, ack.Sequence)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	tell("watch:", server.Watch(ctx))
	return nil
}

// startChild runs a child on a folder, below a command if one is given, and returns its standard output line by line.
func startChild(t *testing.T, role, dir string, below ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	args := append(below, os.Args[0]) //nolint:gocritic // a new slice is wanted
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childRole+"="+role, childDir+"="+dir)
	errs := &strings.Builder{}
	cmd.Stderr = errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(errs.String())
		}
	})
	return cmd, bufio.NewScanner(out)
}

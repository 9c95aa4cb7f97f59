package streams

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// maxSocketPath is the longest path of a unix socket in bytes, on every system that the program runs on.
const maxSocketPath = 103

// socketDial bounds the wait for a server on a socket to take a connection.
const socketDial = 2 * time.Second

// Socket is the path of a unix socket behind which a [Server] takes the connections of other programs of its user. It
// is how a command finds the broker inside a running server that opens no port.
type Socket string

// Usable says whether the path is short enough for a socket.
func (s Socket) Usable() bool { return len(s) <= maxSocketPath }

// Connect returns a connection to the server behind the socket. The caller closes it.
func (s Socket) Connect(opts ...nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect("", append(opts, nats.InProcessServer(s))...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS on the socket %s: %w", string(s), err)
	}
	return nc, nil
}

// InProcessConn makes the socket a [nats.InProcessConnProvider].
func (s Socket) InProcessConn() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), socketDial) //nolint:forbidigo // the interface has no context
	defer cancel()
	return (&net.Dialer{}).DialContext(ctx, "unix", string(s))
}

// Listen opens a unix socket for [Server.Serve]. Whoever may enter the socket's folder may do everything, so it belongs
// into one that only the owner may enter.
func (s Socket) Listen(ctx context.Context) (net.Listener, error) {
	// What lies there is of a server that was killed: nobody else opens a server's socket while that one runs.
	if err := os.Remove(string(s)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("make way for the socket of the embedded NATS: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", string(s))
	if err != nil {
		return nil, fmt.Errorf("listen on the socket of the embedded NATS: %w", err)
	}
	return listener, nil
}

// Serve takes connections on a listener until ctx ends, and then ends them and closes the listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	context.AfterFunc(ctx, func() { _ = listener.Close() }) // a second close changes nothing
	var clients sync.WaitGroup
	defer clients.Wait()
	defer stop()
	for {
		client, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("take a connection on the socket of the embedded NATS: %w", err)
		}
		clients.Go(func() { s.proxy(ctx, client) })
	}
}

// proxy carries bytes between a client and the server until one of them is gone or ctx ends.
func (s *Server) proxy(ctx context.Context, client net.Conn) {
	server, err := s.ns.InProcessConn()
	if err != nil { // it is shutting down
		_ = client.Close()
		return
	}
	closeBoth := sync.OnceFunc(func() {
		_ = client.Close() // an error of a connection that is given up says nothing
		_ = server.Close()
	})
	stop := context.AfterFunc(ctx, closeBoth)
	defer stop()
	var copies sync.WaitGroup
	for _, ends := range [][2]net.Conn{{client, server}, {server, client}} {
		copies.Go(func() {
			_, _ = io.Copy(ends[0], ends[1]) // the end of one side is the end of both
			closeBoth()
		})
	}
	copies.Wait()
}

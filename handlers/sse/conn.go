package sse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// pieceBytes is what one write hands to the connection at most, and has the write timeout for: an event of a megabyte
// reaches a slow client as long as the client takes something.
const pieceBytes = 64 << 10

// sendBuffer bounds what the kernel takes for a client that reads nothing: left alone, it would take megabytes each.
const sendBuffer = 128 << 10

// errDeparted says that the client has left.
var errDeparted = errors.New("the client left")

// conn writes one stream. Its client's departure ends the context that watch returns.
type conn struct {
	net.Conn
	timeout time.Duration
	written int64
	pool    *sync.Pool // of *[]byte, cap ≥ pieceBytes
}

// limitBuffer bounds the kernel's share of the connection, where there is one.
func limitBuffer(nc net.Conn) {
	if secured, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = secured.NetConn()
	}
	// Not *net.TCPConn: the server's listener may hand out connections that embed one.
	if tcp, ok := nc.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = tcp.SetWriteBuffer(sendBuffer) // the default works too
	}
}

// watch returns a context that ends when the client leaves, and stop, which the stream calls at its end.
//
// Nothing else tells: with no event to write, a departure would be noticed only at the second or third keepalive.
// A client has nothing to say on this connection; what it sends is read and dropped.
func (c *conn) watch(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		var b [1]byte
		for {
			if _, err := c.Read(b[:]); err != nil {
				cancel(errDeparted)
				return
			}
		}
	})
	// A context that ended interrupts the write that waits for a client.
	interrupt := context.AfterFunc(ctx, func() { c.interrupt() })
	return ctx, func() {
		interrupt()
		c.interrupt()
		watcher.Wait()
		cancel(nil)
	}
}

// interrupt makes every read and write return.
func (c *conn) interrupt() {
	_ = c.SetDeadline(time.Unix(1, 0)) // it fails on a connection that is closed already
}

// send writes parts one after the other, in as few writes as there are pieces.
func (c *conn) send(ctx context.Context, parts [][]byte) error {
	if len(parts) == 1 {
		return c.write(ctx, parts[0])
	}
	buffer, ok := c.pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, 0, pieceBytes)
		buffer = &fresh
	}
	defer c.pool.Put(buffer)
	b := (*buffer)[:0]
	for _, part := range parts {
		if len(b)+len(part) > pieceBytes {
			if err := c.write(ctx, b); err != nil {
				return err
			}
			b = b[:0]
		}
		if len(part) > pieceBytes {
			if err := c.write(ctx, part); err != nil {
				return err
			}
			continue
		}
		b = append(b, part...)
	}
	return c.write(ctx, b)
}

func (c *conn) write(ctx context.Context, b []byte) error {
	for len(b) > 0 {
		// Deadline first, then the context: if it ends in between, its interrupt comes after this deadline.
		if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
			return fmt.Errorf("set the write deadline: %w", err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := c.Write(b[:min(len(b), pieceBytes)])
		c.written += int64(n)
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("write to the client: %w", err)
		}
		b = b[n:]
	}
	return nil
}

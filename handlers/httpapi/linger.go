package httpapi

import (
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
)

const (
	// lingerTime and lingerBytes bound what is still read of a request that was refused before it was read.
	lingerTime  = 3 * time.Second
	lingerBytes = 256 << 20
)

// Linger wraps the listener of the app, so that a client hears why its body was refused. The HTTP server closes the
// connection of a body that is too large at once; the client, still sending, would get a reset instead of the 413.
// Such a connection is closed for writing first, and what comes is thrown away for a moment.
func Linger(l net.Listener) net.Listener { return lingerListener{l} }

type lingerListener struct{ net.Listener }

// Accept waits for the next connection.
func (l lingerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		return &lingerConn{TCPConn: tcp}, nil
	}
	return conn, err
}

type lingerConn struct {
	*net.TCPConn

	refused atomic.Bool
}

// Close ends the connection, after the client had time to read the answer if its request was refused.
func (c *lingerConn) Close() error {
	if c.refused.Swap(false) && c.CloseWrite() == nil && c.SetDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, c.TCPConn, lingerBytes) // whatever ends it, the connection is done
	}
	return c.TCPConn.Close()
}

// linger makes the connection of a refused request end gently.
func linger(c *fiber.Ctx) {
	conn := c.Context().Conn()
	if secured, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secured.NetConn()
	}
	if conn, ok := conn.(*lingerConn); ok {
		conn.refused.Store(true)
	}
}
